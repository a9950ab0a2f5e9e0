"""A Ray cluster as KubeRay makes one: a head without CPUs, and workers that come and go."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tunesmith.platform.supervisor.ports import free_port

_MEMORY = 100 * 1024 * 1024


class RayCluster:
    """Processes of `ray start` on this machine; `token` is what its parts know each other by."""

    def __init__(self, token: str | None) -> None:
        # Sockets' paths may have 107 characters: pytest's folders are too deep.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.gcs_port, self.client_port = free_port(), free_port()
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._workers: dict[subprocess.Popen[bytes], tuple[str, ...]] = {}
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TUNESMITH_", "RAY_"))},
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        if token is not None:
            self.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}

    @property
    def client_address(self) -> str:
        return f"ray://127.0.0.1:{self.client_port}"

    def start_head(self) -> None:
        self.head = self._start(
            "--head", "--num-cpus=0", f"--port={self.gcs_port}", "--node-ip-address=127.0.0.1",
            f"--ray-client-server-port={self.client_port}", "--include-dashboard=false",
            f"--temp-dir={self.folder}",
        )  # fmt: skip

    def start_worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        address = f"--address=127.0.0.1:{self.gcs_port}"
        node = self._start(address, "--num-cpus=1", *arguments)
        self._workers[node] = arguments
        return node

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"node-{len(self._nodes)}.log").open("ab") as output:
            node = subprocess.Popen(
                [
                    sys.executable, "-m", "ray.scripts.scripts", "start", "--block",
                    f"--object-store-memory={_MEMORY}", "--disable-usage-stats",
                    "--dashboard-agent-listen-port=0", *arguments,
                ],
                env=self.environment, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self._nodes.append(node)
        return node

    def tend(self) -> bool:
        """Start nodes again that gave up, as Kubernetes would: a busy machine is slow."""
        if self.head.poll() is not None:
            self.kill(self.head)
            self.start_head()
        for node, arguments in list(self._workers.items()):
            if node.poll() is not None:
                self.kill(node)
                self.start_worker(*arguments)
        return True

    def logs(self) -> str:
        texts = [path.read_text(errors="replace") for path in self.folder.glob("node-*.log")]
        return "\n".join(re.sub(r"\x1b\[[0-9;]*m", "", text) for text in texts)

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """A node dies as in a power cut, all of its processes at once."""
        try:
            processes = psutil.Process(node.pid).children(recursive=True)
            os.killpg(node.pid, signal.SIGKILL)
        except (psutil.NoSuchProcess, ProcessLookupError):
            processes = []
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=20)
        node.wait()
        self._nodes.remove(node)
        self._workers.pop(node, None)

    def listens(self) -> bool:
        """Whether clients can come."""
        self.tend()
        try:
            with socket.create_connection(("127.0.0.1", self.client_port), timeout=1):
                return True
        except OSError:
            return False

    def kill_workers(self) -> None:
        """All workers die at once."""
        for node in list(self._workers):
            self.kill(node)

    def stop(self) -> None:
        for node in list(self._nodes):
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def ray_cluster(token: str | None = None) -> Iterator[RayCluster]:
    cluster = RayCluster(token)
    try:
        cluster.start_head()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def worker_process(
    module: str, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m MODULE`, killed at the end if it still runs."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env=dict(environment), stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
