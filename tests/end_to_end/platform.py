"""`tunesmith up` as its user starts it, in a process of its own, and ways to harm it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from sqlalchemy import select

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Model
from tunesmith.platform.supervisor.ports import free_port

FINAL = ("succeeded", "failed", "cancelled")
START_SECONDS = 300.0
JOB_SECONDS = 240.0

PARTS = {
    "engine": "vllm.entrypoints.openai.api_server",
    "dispatcher": "tunesmith.workers.dispatcher",
    "evaluator": "tunesmith.workers.evaluator",
    "gateway": "tunesmith.gateway",
    "trainer": "ray::CohortActor",
}


class Platform:
    """A platform that runs in a home folder."""

    def __init__(self, home: Path, environment: dict[str, str] | None = None) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_key = ""
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
        self._environment |= {"TUNESMITH_LEASE_SECONDS": "6"} | (environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> Path:
        return self.home / "up.txt"

    def start(self) -> None:
        """Start, and wait until it says that it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                self.command("up", "--port", str(self.port)),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        until(self._is_ready, START_SECONDS, self.output.read_text)
        shown = re.search(r"(sk-ts-\w+)", self.output.read_text())
        if shown:
            self.admin_key = shown.group(1)

    def _is_ready(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"`tunesmith up` ended with {code}:\n{self.output.read_text()}"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def kill(self) -> None:
        """End it whatever state it is in."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("tunesmith")), *words, "--home", str(self.home)]

    def cli(self, *words: str, key: str | None = None) -> Any:
        """What a `--json` command answers."""
        environment = self._environment | ({"TUNESMITH_API_KEY": key} if key else {})
        done = subprocess.run(
            [*self.command(*words), "--json"],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    @staticmethod
    def command_line(environment: dict[str, str], *words: str) -> str:
        """What a command that needs no running platform prints, with variables of its own."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("tunesmith")), *words],
            capture_output=True,
            text=True,
            env=os.environ | environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def tenant(self, name: str) -> OpenAI:
        """The official client with the first key of a new tenant."""
        return self.client(self.cli("tenants", "create", name)["key"])

    def client(self, key: str, **options: Any) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, **options)

    def processes(self, part: str) -> list[psutil.Process]:
        """The part's processes of this home."""
        found = []
        for process in psutil.process_iter():
            try:
                command = " ".join(process.cmdline())
                if PARTS[part] in command and self._is_ours(process):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        return bool(process.environ().get("TUNESMITH_HOME") == str(self.home))

    def kill_part(self, part: str) -> None:
        """Kill -9, and wait until that very process is gone."""
        processes = self.processes(part)
        assert processes, f"no {part} runs"
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def all_processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if self._is_ours(process) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    def engine_url(self) -> str:
        (engine,) = [p for p in self.processes("engine") if "--port" in p.cmdline()]
        command = engine.cmdline()
        return f"http://127.0.0.1:{command[command.index('--port') + 1]}"

    def digest(self, model: str, database_url: str | None = None) -> str:
        """The digest behind a model's name."""
        database = Database(database_url or f"sqlite:///{self.home / 'tunesmith.db'}")
        with database.reading() as session:
            digest = session.scalars(select(Model.adapter_digest).where(Model.name == model)).one()
        database.dispose()
        return digest


@contextmanager
def running(home: Path, environment: dict[str, str] | None = None) -> Iterator[Platform]:
    """A platform that is up, and is gone afterwards."""
    platform = Platform(home, environment)
    try:
        platform.start()
        yield platform
    finally:
        platform.kill()


def until(
    condition: Callable[[], bool], seconds: float, explain: Callable[[], str] = lambda: ""
) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s. {explain()}"
        time.sleep(0.1)


def finished(client: OpenAI, job_id: str, seconds: float = JOB_SECONDS) -> FineTuningJob:
    """The job, once it has ended."""
    until(
        lambda: client.fine_tuning.jobs.retrieve(job_id).status in FINAL,
        seconds,
        lambda: "\n".join(messages(client, job_id)),
    )
    return client.fine_tuning.jobs.retrieve(job_id)


def succeeded(client: OpenAI, job_id: str, seconds: float = JOB_SECONDS) -> FineTuningJob:
    job = finished(client, job_id, seconds)
    assert job.status == "succeeded", "\n".join(messages(client, job_id))
    return job


def messages(client: OpenAI, job_id: str) -> list[str]:
    """The job's events of type message, oldest first."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=100)
    return [f"{e.level}: {e.message}" for e in reversed(list(events)) if e.type == "message"]


def step(client: OpenAI, job_id: str) -> int:
    """The last step that was reported."""
    newest = client.fine_tuning.jobs.list_events(job_id, limit=50).data
    return max((int(e.data["step"]) for e in newest if e.type == "metrics"), default=0)  # type: ignore[index]


def wait_for_step(client: OpenAI, job_id: str, wanted: int) -> None:
    """Until a job has trained this far; it fails if the job ends before."""

    def reached() -> bool:
        status = client.fine_tuning.jobs.retrieve(job_id).status
        assert status not in FINAL, f"the job is {status} already"
        return step(client, job_id) >= wanted

    until(reached, JOB_SECONDS, lambda: "\n".join(messages(client, job_id)))
