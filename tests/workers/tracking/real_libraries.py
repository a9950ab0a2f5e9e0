"""Run in the trackers' own environment: a job in two parts, and what each library kept of it.

Prints one JSON object; argv[1] is an empty folder. W&B is offline.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.training import StepMetrics
from tunesmith.platform.settings import Settings
from tunesmith.workers.tracking.choice import chosen_trackers
from tunesmith.workers.tracking.tracker import TrackedJob
from tunesmith.workers.tracking.tracking import Tracking

JOB, OTHER = "ftjob-tracked", "ftjob-not-for-wandb"
CONFIG = {"n_epochs": 3, "batch_size": 4, "base": "pocket"}
WANTED = {"project": "tickets", "name": "my run", "entity": None, "tags": ["a", "b"]}


def steps(first: int, last: int) -> list[StepMetrics]:
    return [
        StepMetrics(step, 6, 1.0 / step, 0.5, valid_loss=0.25 if step == 6 else None)
        for step in range(first, last + 1)
    ]


def train(settings: Settings) -> list[str]:
    notes: list[str] = []
    tracking = Tracking(chosen_trackers(settings))
    integrations: list[dict[str, Any]] = [{"type": "wandb", "wandb": WANTED}]
    # Four steps, of which three are in the stored state; then the process that trains is lost.
    tracking.begin(TrackedJob(JOB, CONFIG, 0, integrations), note=notes.append)
    tracking.begin(TrackedJob(OTHER, CONFIG), note=notes.append)
    tracking.log(JOB, steps(1, 4))
    tracking.log(OTHER, steps(1, 1))
    tracking.end(JOB, lambda: "queued")
    tracking.end(OTHER, lambda: "failed")
    tracking.begin(TrackedJob(JOB, CONFIG, 3, integrations), note=notes.append)
    tracking.log(JOB, steps(4, 6))
    tracking.end(JOB, lambda: "succeeded")
    tracking.close(within=120)
    return notes


def mlflow_runs(uri: str) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tunesmith")
    assert experiment is not None
    return {
        run.info.run_name: {
            "status": run.info.status,
            "params": run.data.params,
            "losses": sorted(
                {
                    (m.step, m.value)
                    for m in client.get_metric_history(run.info.run_id, "train_loss")
                }
            ),
        }
        for run in client.search_runs([experiment.experiment_id])
    }


def records(file: Path) -> Iterator[bytes]:
    """The payloads of a TFRecord file: length, its checksum, payload, its checksum."""
    content = file.read_bytes()
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        yield content[at + 12 : at + 12 + length]
        at += 12 + length + 4


def leveldb_records(file: Path) -> Iterator[bytes]:
    """The payloads of W&B's file: 7 bytes, then LevelDB's log of blocks of 32 KiB."""
    content = file.read_bytes()
    at, parts = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # a block's end, too short for a header
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            yield parts
            parts = b""


def tensorboard_runs(folder: Path) -> dict[str, Any]:
    from tensorboardX.proto import event_pb2

    found: dict[str, Any] = {}
    for run in sorted(folder.iterdir()):
        losses: dict[int, float] = {}
        texts, purged = {}, []
        for file in sorted(run.iterdir(), key=lambda f: f.stat().st_mtime_ns):
            for record in records(file):
                event = event_pb2.Event.FromString(record)
                if event.HasField("session_log"):  # TensorBoard drops what it has from there on
                    purged.append(event.step)
                    losses = {s: loss for s, loss in losses.items() if s < event.step}
                for value in event.summary.value:
                    if value.tag == "train_loss":
                        losses[event.step] = value.simple_value
                    elif value.tensor.string_val:
                        texts[value.tag.split("/")[0]] = value.tensor.string_val[0].decode()
        found[run.name] = {"losses": sorted(losses.items()), "texts": texts, "purged": purged}
    return found


def wandb_runs(folder: Path) -> list[dict[str, Any]]:
    from wandb.proto import wandb_internal_pb2

    found = []
    for file in sorted(folder.rglob("*.wandb"), key=lambda f: f.stat().st_mtime_ns):
        run: dict[str, Any] = {"losses": [], "config": {}}
        for data in leveldb_records(file):
            record = wandb_internal_pb2.Record.FromString(data)
            match record.WhichOneof("record_type"):
                case "run":
                    kept = record.run
                    run |= {"id": kept.run_id, "name": kept.display_name, "project": kept.project}
                    run["tags"] = list(kept.tags)
                    run["config"] |= {
                        item.key: json.loads(item.value_json) for item in kept.config.update
                    }
                case "history":
                    items = {
                        (i.key or i.nested_key[0]): json.loads(i.value_json)
                        for i in record.history.item
                    }
                    run["losses"].append([items["_step"], items["train_loss"]])
                case "exit":
                    run["exit"] = record.exit.exit_code
                case "summary":
                    for item in record.summary.update:
                        if (item.key or item.nested_key[0]) == "status":
                            run["status"] = json.loads(item.value_json)
        found.append(run)
    return found


if __name__ == "__main__":
    home = Path(sys.argv[1])
    os.environ["WANDB_MODE"] = "offline"
    uri = f"sqlite:///{home / 'mlflow.db'}"
    notes = train(
        Settings(home=home, trackers=["wandb", "mlflow", "tensorboard"], mlflow_tracking_uri=uri)
    )
    print(
        json.dumps(
            {
                "notes": notes,
                "mlflow": mlflow_runs(uri),
                "tensorboard": tensorboard_runs(home / "tensorboard"),
                "wandb": wandb_runs(home / "wandb"),
                "torch": any(name in sys.modules for name in ("torch", "tensorflow")),
            }
        )
    )
