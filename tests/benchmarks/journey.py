"""Section 4: from a job's creation to the first tuned token, on the running platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from openai import OpenAI
from tests.end_to_end.platform import FINAL, Platform, running

from tunesmith.platform.supervisor.ports import free_port

from .figures import Figure, Section, alternate, ratios
from .machine import ROOT
from .plan import Hyperparameters, RunFailed
from .sides import Bench

EXAMPLES = 100
QUESTION = [{"role": "user", "content": "My parcel? It came two days late."}]
WAIT_S = 300.0
# What the peer's script trains with, and the job by its hyperparameters; alpha 32 is the
# platform's own. No validation split: it would take rows from the training.
HYPERPARAMETERS = Hyperparameters(rank=32, n_epochs=3, batch_size=4)


def measure(bench: Bench) -> Section:
    """Warm, medians of alternating rounds; the platform stays up while the script runs."""
    count = 12 if bench.quick else EXAMPLES
    rounds = 1 if bench.quick else bench.repeats
    section = Section(4, f"Job creation to first tuned token, {count} short examples, warm")
    home = bench.folder / "platform-home"
    subprocess.run(["rm", "-rf", str(home)], check=True)
    with running(home) as platform, VllmServer(bench) as server:
        client = platform.tenant("bench")
        lines = [json.dumps(example) for example in bench.workload.examples(count, seed=0)]
        file = client.files.create(
            file=("short.jsonl", "\n".join(lines).encode()), purpose="fine-tune"
        ).id
        warm_up = on_platform(client, file, seed=0)
        server.start(None)
        runs = alternate(
            rounds,
            {
                "platform": lambda number: on_platform(client, file, seed=number + 1),
                "script": lambda number: by_script(bench, server, platform, count, number),
            },
        )
    ours, script = runs["platform"], runs["script"]
    section.held_equal = {
        "model": "pocket base, float32 on CPU",
        "data": f"the same {count} examples",
        "rank": HYPERPARAMETERS.rank,
        "batch": HYPERPARAMETERS.batch_size,
        "epochs": HYPERPARAMETERS.n_epochs,
        "steps": [ours[0]["steps"], script[0]["trl"]["jobs"][0]["steps"]],
        "threads": bench.threads,
        "engine": "vLLM on CPU, eager",
        "not equal": "learning rate and warm-up, which change no time",
    }
    section.figures = [
        Figure.of(
            "TRL and a vLLM restart, over the platform",
            ratios([each["seconds"] for each in script], [each["seconds"] for each in ours]),
            "x",
            target=10.0,
        ),
        Figure.of(
            "platform overhead, everything that is not a training step",
            [each["overhead"] for each in ours],
            "s",
            target=3.0,
            higher_is_better=False,
            note="seconds to the first token less the sum of the job's own steps' seconds",
        ),
        Figure.of("platform, creation to first token", [e["seconds"] for e in ours], "s"),
        Figure.of("platform, sum of the steps", [e["step_seconds"] for e in ours], "s"),
        Figure.of("script, start to first token", [e["seconds"] for e in script], "s"),
        Figure.of("script, TRL's part", [e["train_seconds"] for e in script], "s"),
        Figure.of(
            "script, vLLM's restart and first token", [e["serve_seconds"] for e in script], "s"
        ),
        Figure.of(
            "cores the idle platform took meanwhile",
            [e["platform_cores"] for e in script],
            "cores",
            higher_is_better=False,
            note="it stays up beside the script; what it takes slows the script down",
        ),
    ]
    section.method = [
        "Platform: `tunesmith up`, one job before to warm it; from the request that creates a job,",
        "its file uploaded, through the official client, to the first streamed token of the ft:",
        "model. The client polls every 50 ms. Script: a TRL process, then the vLLM server that",
        "runs is stopped and started with --lora-modules, then the first streamed token.",
    ]
    section.runs = {"warm-up": [warm_up], **runs}
    return section


def on_platform(client: OpenAI, file: str, seed: int) -> dict[str, Any]:
    """One job through the API, and the first token of its model.

    Raises:
        RunFailed: the job did not succeed.
    """
    untyped: Any = client  # our extensions of the hyperparameters are in no type of the client's
    base = next(model.id for model in client.models.list() if not model.id.startswith("ft:"))
    wanted = {
        "n_epochs": HYPERPARAMETERS.n_epochs,
        "batch_size": HYPERPARAMETERS.batch_size,
        "lora_rank": HYPERPARAMETERS.rank,
        "validation_split": 0,
    }
    began = time.time()
    job = untyped.fine_tuning.jobs.create(
        model=base,
        training_file=file,
        seed=seed,
        method={"type": "supervised", "supervised": {"hyperparameters": wanted}},
    )
    while job.status not in FINAL:
        if time.time() > began + WAIT_S:
            raise RunFailed(f"the job {job.id} is {job.status} after {WAIT_S:.0f} s")
        time.sleep(0.05)
        job = client.fine_tuning.jobs.retrieve(job.id)
    if job.status != "succeeded":
        raise RunFailed(f"the job {job.id} {job.status}: {job.error}")
    succeeded = time.time()
    first_token(client, str(job.fine_tuned_model))
    seconds = time.time() - began
    steps = step_seconds(client, job.id)
    return {
        "seconds": seconds,
        "succeeded_after": succeeded - began,
        "step_seconds": sum(steps),
        "steps": len(steps),
        "overhead": seconds - sum(steps),
        "trained_tokens": job.trained_tokens,
    }


def step_seconds(client: OpenAI, job_id: str) -> list[float]:
    """Seconds of each training step, by the job's own events.

    Raises:
        RunFailed: no events, or some without the figures.
    """
    events = client.fine_tuning.jobs.list_events(job_id, limit=100)  # pages by itself
    seconds = {}
    for event in events:
        if event.type == "metrics":
            data: Any = event.data
            try:
                seconds[data["step"]] = data["tokens"] / data["tokens_per_second"]
            except (KeyError, TypeError) as error:
                raise RunFailed(f"a metrics event of {job_id} lacks {error}: {data}") from error
    if not seconds:
        raise RunFailed(f"the job {job_id} has no metrics events")
    return list(seconds.values())


def by_script(
    bench: Bench, server: VllmServer, platform: Platform, count: int, number: int
) -> dict[str, Any]:
    """TRL, then vLLM stopped and started with the new adapter."""
    rows = bench.workload.file(count, seed=0)
    name = f"script-{number}"
    before = _cpu_seconds(platform)
    began = time.time()
    run = bench.trl({"jobs": [bench.job(name, rows, HYPERPARAMETERS, "script")]})
    trained = time.time()
    server.stop()
    server.start(bench.folder / "adapters" / "script" / name)
    first_token(OpenAI(base_url=f"{server.url}/v1", api_key="none"), "tuned")
    ended = time.time()
    return {
        "seconds": ended - began,
        "train_seconds": trained - began,
        "serve_seconds": ended - trained,
        "platform_cores": (_cpu_seconds(platform) - before) / (ended - began),
        "trl": run.raw(),
    }


def first_token(client: OpenAI, model: str) -> None:
    """Wait for the first token of a streamed answer.

    Raises:
        RunFailed: the answer had none.
    """
    untyped: Any = client
    with untyped.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, max_tokens=4, stream=True
    ) as chunks:
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                return
    raise RunFailed(f"{model} answered without a token")


class VllmServer:
    """vLLM as a user without a platform runs it: restarted for each new adapter."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._log = bench.folder / "vllm.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> VllmServer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self, adapter: Path | None) -> None:
        """Start it, with an adapter named "tuned" if there is one, and wait until it is ready.

        Raises:
            RunFailed: it ended, or was not ready in time.
        """
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable, "-m", "vllm.entrypoints.openai.api_server",
            "--model", str(self._bench.workload.model), "--served-model-name", "base",
            "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "1024",
            "--enable-lora", "--max-lora-rank", str(HYPERPARAMETERS.rank),
            "--dtype", "float32", "--enforce-eager",
        ]  # fmt: skip
        if adapter is not None:
            command += ["--lora-modules", f"tuned={adapter}"]
        environment = {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_PLUGINS": "",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(self._bench.threads),
        }
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **environment}, start_new_session=True,
            )  # fmt: skip
        self._wait(self._is_ready)

    def stop(self) -> None:
        """End it and its engine process."""
        if self._process is None:
            return
        family = [*psutil.Process(self._process.pid).children(recursive=True)]
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in psutil.wait_procs(family, timeout=10)[1]:
            process.kill()
        self._process = None

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _wait(self, ready: Callable[[], bool]) -> None:
        assert self._process is not None
        deadline = time.monotonic() + WAIT_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace")[-2000:]
                raise RunFailed(f"vLLM did not get ready; {self._log}:\n{tail}")
            time.sleep(0.05)


def _cpu_seconds(platform: Platform) -> float:
    """CPU seconds that the platform's living processes have used."""
    total = 0.0
    for process in platform.all_processes():
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
