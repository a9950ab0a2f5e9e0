"""Our side of a plan: one process, one resident base, a cohort (see plan.py).

`python -m tests.benchmarks.our_process PLAN ACCOUNT`. Mode "arrivals" (the default) submits the
jobs one after another, `arrival_gap` seconds apart, and steps the cohort meanwhile. Mode "resident"
lets all join before the first step and takes `steps` steps of each, for memory.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import torch

from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

from .stepping import stepped


def main(plan_path: str, account_path: str) -> None:
    imported = time.time()
    plan: dict[str, Any] = json.loads(Path(plan_path).read_text())
    base = load_base(plan["model"], "cpu", threads=plan["threads"])
    loaded = time.time()
    account: dict[str, Any] = {"imported": imported, "loaded": loaded}
    work = _resident if plan.get("mode") == "resident" else _arrivals
    account |= work(base, plan)
    account |= {
        "ended": time.time(),
        "peak_rss_bytes": memory("VmHWM"),
        "versions": {"torch": torch.__version__},
    }
    Path(account_path).write_text(json.dumps(account))


def _arrivals(base: Base, plan: dict[str, Any]) -> dict[str, Any]:
    cohort = Cohort(base)
    opened = time.time()
    gap = plan.get("arrival_gap", 0.0)
    waiting = [(opened + gap * number, job) for number, job in enumerate(plan["jobs"])]
    jobs: dict[str, dict[str, Any]] = {}
    outputs: dict[str, Path] = {}
    while waiting or outputs:
        while waiting and (waiting[0][0] <= time.time()):
            submitted, job = waiting.pop(0)
            cohort.join(spec_of(job), rows_of(job["rows"]))
            outputs[job["name"]] = Path(job["output"])
            jobs[job["name"]] = {
                "name": job["name"], "submitted": submitted, "started": time.time(),
                "steps": 0, "tokens": 0, "last_loss": None,
            }  # fmt: skip
        if not outputs:
            time.sleep(max(0.0, waiting[0][0] - time.time()))
            continue
        for report in stepped(cohort):
            seen = jobs[report.slot]
            seen["steps"] += 1
            seen["tokens"] += report.tokens
            seen["last_loss"] = report.loss
            if report.finished:
                seen["trained"] = time.time()
                seen["loop_seconds"] = seen["trained"] - seen["started"]
                cohort.adapter(report.slot).write(outputs.pop(report.slot))
                cohort.leave(report.slot)
                seen["written"] = time.time()
    return {"jobs": list(jobs.values())}


def _resident(base: Base, plan: dict[str, Any]) -> dict[str, Any]:
    idle = {"rss_bytes": memory("VmRSS"), "tensor_bytes": tensor_bytes()}
    cohort = Cohort(base)
    for job in plan["jobs"]:
        cohort.join(spec_of(job), rows_of(job["rows"]))
    names = {job["name"] for job in plan["jobs"]}
    most = 0
    while min(cohort.progress(name).step for name in names) < plan["steps"]:
        stepped(cohort)
        most = max(most, memory("VmRSS"))
    return {
        "jobs": [],
        "idle": idle,
        "trained": {"rss_bytes": most, "tensor_bytes": tensor_bytes()},
    }


def spec_of(job: dict[str, Any]) -> SlotSpec:
    return SlotSpec(
        name=job["name"],
        rank=job["rank"],
        alpha=job["alpha"],
        learning_rate=job["learning_rate"],
        n_epochs=job["n_epochs"],
        batch_size=job["batch_size"],
        seed=job["seed"],
    )


def rows_of(path: str) -> list[Row]:
    return [
        Row(
            array("i", row["input_ids"]),
            bytes(int(label != -100) for label in row["labels"]),
            number,
        )
        for number, row in enumerate(json.loads(Path(path).read_text()))
    ]


def memory(name: str) -> int:
    """Bytes of VmRSS (resident now) or VmHWM (its peak) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def tensor_bytes() -> int:
    """Bytes of all storages that Python's tensors hold, each counted once."""
    storages: dict[int, int] = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            for tensor in (thing, thing.grad if thing.is_leaf else None):
                if tensor is not None:
                    storage = tensor.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


if __name__ == "__main__":
    main(*sys.argv[1:])
