"""The sides of the benchmark as programs, and the options of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.environment import LOCK, TORCH_INDEX, requirement

from .figures import Figure
from .machine import ROOT
from .plan import Hyperparameters, Run, carry_out, job
from .workload import Workload

PEER_LOCK = Path(__file__).with_name("trl-lock.txt")


class PeerUnavailable(Exception):
    """TRL's environment could not be made; the message has the end of pip's output."""


@dataclass(frozen=True)
class Bench:
    """Options of one run of the benchmark.

    Attributes:
        folder: for rows, plans, accounts and adapters.
        peer: TRL's Python.
        repeats: rounds of each comparison.
        epochs: passes over the rows of sections 1 and 2; None for each section's own.
        threads: of every process.
        quick: a smoke run, whose figures mean nothing.
    """

    folder: Path
    peer: Path
    repeats: int = 5
    epochs: int | None = None
    threads: int = 2
    quick: bool = False
    say: Any = field(default=print)

    @property
    def workload(self) -> Workload:
        return Workload(self.folder / "rows")

    def ours(self, plan: dict[str, Any]) -> Run:
        """Our cohort in a process of its own."""
        command = [sys.executable, "-m", "tests.benchmarks.our_process"]
        return carry_out(command, self._complete(plan), self.folder / "ours")

    def trl(self, plan: dict[str, Any]) -> Run:
        """TRL in a process of its own."""
        command: list[str | Path] = [self.peer, Path(__file__).with_name("trl_process.py")]
        # Without our source folders: TRL's environment sees its own packages only.
        return carry_out(
            command, self._complete(plan), self.folder / "trl", {"PYTHONPATH": "", **_QUIET}
        )

    def job(
        self, name: str, rows: Path, hyperparameters: Hyperparameters, side: str
    ) -> dict[str, Any]:
        return job(name, rows, self.folder / "adapters" / side / name, hyperparameters)

    def held_equal(self, hyperparameters: Hyperparameters, **others: Any) -> dict[str, Any]:
        """What every comparison with TRL shares."""
        return {
            "model": f"pocket base ({self.workload.model.parent.name}, 4 layers of 256)",
            "type": "float32 on CPU",
            "threads": self.threads,
            **vars(hyperparameters),
            "targets": "every linear layer but the output embedding",
            "optimizer": "AdamW, no decay, linear schedule without warm-up, clipping at 1",
            "loss": "assistant tokens only, mean over the batch's learned tokens",
            "rows": "the same token rows and labels, tokenised before",
            **others,
        }

    def _complete(self, plan: dict[str, Any]) -> dict[str, Any]:
        return {"model": str(self.workload.model), "threads": self.threads, **plan}


_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_TELEMETRY": "1"}


def peer_environment(folder: Path, say: Any = print) -> Path:
    """TRL's Python in a virtual environment made from trl-lock.txt; made once.

    torch comes first, as the CPU build that the project's own lock pins: nothing can pull the
    CUDA build in after it.

    Raises:
        PeerUnavailable: pip failed.
    """
    python = folder / "bin" / "python"
    stamp = folder / ".lock"
    lock = PEER_LOCK.read_text()
    if python.exists() and stamp.exists() and stamp.read_text() == lock:
        return python
    say(f"bench: making {folder.relative_to(ROOT)} with TRL (a few minutes, once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _pip([sys.executable, "-m", "venv", "--clear", folder])
    only_torch = folder / "torch.txt"
    only_torch.write_text(requirement(LOCK.read_text(), "torch"))
    install: list[str | Path] = [
        python, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps",
    ]  # fmt: skip
    try:
        _pip([*install, "-r", only_torch])
    except PeerUnavailable:
        _pip([*install, "--extra-index-url", TORCH_INDEX, "-r", only_torch])
    _pip([*install, "-r", PEER_LOCK])
    _pip([python, "-m", "compileall", "-q", "-j", "0", folder / "lib"], check=False)
    stamp.write_text(lock)
    return python


def _pip(command: Sequence[str | Path], *, check: bool = True) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise PeerUnavailable(
            f"{' '.join(map(str, command))} failed:\n{(done.stderr or done.stdout)[-2000:]}"
        )


def loss_agreement(ours: float, theirs: float) -> Figure:
    """The sanity line: both sides learned the same."""
    return Figure(
        "final loss, TRL over ours",
        theirs / ours,
        "x",
        note=(
            f"ours {ours:.4f}, TRL {theirs:.4f} nats per learned token over all training rows, "
            "scored by stock PEFT; the sides draw other initial weights and orders, so a few "
            "percent either way are expected"
        ),
    )
