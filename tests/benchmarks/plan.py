"""The work that both sides are given, and the account that they give of it: plain JSON.

The two programs that carry it out (`our_process.py`, `trl_process.py`) run in different
environments and share nothing but these files.

A plan: {"model", "threads", "mode"?, "arrival_gap"?, "jobs": [job]}; a job: {"name", "rows",
"output", "rank", "alpha", "learning_rate", "n_epochs", "batch_size", "seed"}. `rows` names a JSON
file of {"input_ids", "labels"} per row, -100 where nothing is learned.

An account: {"imported", "loaded", "ended": seconds of the epoch, "peak_rss_bytes", "versions",
"jobs": [{"name", "submitted", "started", "trained", "written": seconds of the epoch,
"loop_seconds", "steps", "tokens", "last_loss"}]}.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine import ROOT


@dataclass(frozen=True)
class Hyperparameters:
    """What both sides train with: AdamW, linear decay from the first step, clipping at 1.

    Attributes:
        rank, alpha: LoRA's, on every linear layer but the output embedding.
        learning_rate: peak rate.
        n_epochs: passes over the rows.
        batch_size: rows per optimizer step.
    """

    rank: int = 16
    alpha: float = 32.0
    learning_rate: float = 1e-3
    n_epochs: int = 3
    batch_size: int = 4


def job(
    name: str, rows: Path, output: Path, hyperparameters: Hyperparameters, seed: int = 0
) -> dict[str, Any]:
    """One entry of a plan's `jobs`."""
    return {
        "name": name,
        "rows": str(rows),
        "output": str(output),
        "seed": seed,
        **vars(hyperparameters),
    }


@dataclass(frozen=True)
class Run:
    """One process that carried out a plan.

    Attributes:
        started, exited: seconds of the epoch around the process.
        account: what it said of its work.
    """

    started: float
    exited: float
    account: dict[str, Any]

    @property
    def wall(self) -> float:
        """Seconds from the start of the process to its end."""
        return self.exited - self.started

    @property
    def first_submission(self) -> float:
        return float(min(job["submitted"] for job in self.account["jobs"]))

    @property
    def last_adapter(self) -> float:
        return float(max(job["written"] for job in self.account["jobs"]))

    @property
    def steps(self) -> int:
        return sum(job["steps"] for job in self.account["jobs"])

    def raw(self) -> dict[str, Any]:
        """What goes into the JSON of the benchmark."""
        return {"started": self.started, "exited": self.exited, **self.account}


class RunFailed(Exception):
    """A side could not carry out its plan; the message has the end of its output."""


def carry_out(
    command: Sequence[str | Path],
    plan: dict[str, Any],
    folder: Path,
    environment: dict[str, str] | None = None,
) -> Run:
    """Run one side on a plan and wait for it.

    Args:
        command: the program; the plan's and the account's paths are appended.
        plan: as above.
        folder: for the plan, the account and the output.
        environment: on top of this process's.

    Raises:
        RunFailed: it exited with an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "plan.json", folder / "account.json"]
    paths[0].write_text(json.dumps(plan))
    paths[1].unlink(missing_ok=True)
    threads = str(plan["threads"])
    settings = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    log = folder / "output.txt"
    with log.open("wb") as output:
        started = time.time()
        done = subprocess.run(
            [*map(str, command), *map(str, paths)],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings, **(environment or {})},
            check=False,
        )
        exited = time.time()
    if done.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise RunFailed(f"{Path(command[-1]).name} ended with {done.returncode}; {log}:\n{tail}")
    return Run(started, exited, json.loads(paths[1].read_text()))
