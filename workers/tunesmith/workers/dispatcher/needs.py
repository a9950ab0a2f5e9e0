"""What a trainer and a reader of files ask of Ray, and what to say when there is none of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.platform.settings import Settings

_TAG = 0.001
"""Of a resource that marks nodes, what a reader of files takes: Ray has it once for each node, and
the reader must find a place beside the trainer."""
_REPLACING = {"CPU", "GPU", "memory"}


@dataclass(frozen=True)
class Needs:
    """Resources of one actor or task."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: float = 0.0
    tags: Mapping[str, float] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """As arguments of Ray's `options`."""
        options: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        if self.memory:
            options["memory"] = int(self.memory)
        if self.tags:
            options["resources"] = dict(self.tags)
        return options

    def missing(self, resources: Mapping[str, float]) -> list[str]:
        """Which of these resources there is too little of."""
        wanted = {"GPU": self.gpus, "CPU": self.cpus, "memory": self.memory, **self.tags}
        return [name for name, amount in wanted.items() if resources.get(name, 0.0) < amount]

    def __str__(self) -> str:
        """For people: the kind of worker that has all of it."""
        kind = "a GPU worker" if self.gpus else "a worker"
        return f"{kind} with {' and '.join(sorted(self.tags))}" if self.tags else kind


def of_trainer(settings: Settings, base: str, total: Mapping[str, float]) -> Needs | None:
    """What a cohort of this base asks for; None while that cannot be known.

    With `device=auto` the cluster decides: a GPU where it has one, else a CPU. One without workers
    tells nothing, and to ask its autoscaler for the wrong kind would train a large base on CPUs.
    """
    own = settings.trainer_resources.get(base, {})
    if "GPU" in own:
        gpus = own["GPU"]
    elif settings.device == "auto":
        if total.get("GPU", 0.0) <= 0 and total.get("CPU", 0.0) <= 0:
            return None
        gpus = 1.0 if total.get("GPU", 0.0) > 0 else 0.0
    else:
        gpus = 1.0 if settings.device == "cuda" else 0.0
    return Needs(
        cpus=own.get("CPU", 1.0), gpus=gpus, memory=own.get("memory", 0.0), tags=_tags(own)
    )


def of_reader(settings: Settings, base: str) -> Needs:
    """What a task asks for that reads files of a job of this base."""
    own = settings.trainer_resources.get(base, {})
    return Needs(cpus=settings.preparation_cpus, tags=dict.fromkeys(_tags(own), _TAG))


def _tags(own: Mapping[str, float]) -> dict[str, float]:
    return {name: amount for name, amount in own.items() if name not in _REPLACING}


def waiting_for(
    needs: Needs | None, total: Mapping[str, float], free: Mapping[str, float], purpose: str
) -> str:
    """A sentence for a job's events.

    Args:
        purpose: what the worker is to do, as "to hold the base pocket".
    """
    if needs is None:
        return (
            f"Waiting for a worker {purpose}: none is in the Ray cluster, and as the setting"
            " `device` is auto its autoscaler is asked for none. Set TUNESMITH_DEVICE to cuda or"
            " cpu."
        )
    if needs.missing(total):
        why = (
            "none is in the Ray cluster. Its autoscaler, where it has one, is asked for one, and"
            " the job goes on as soon as it is there."
        )
    elif needs.missing(free):
        why = "it is busy with that by now, or all are in use."
    else:
        why = "it is being started."
    return f"Waiting for {needs} {purpose}: {why}"
