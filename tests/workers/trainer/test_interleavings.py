"""Whatever joins, leaves and steps in between, a slot ends with the bytes it would get alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.workers.trainer.base import Base, load_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.render import Row
from tunesmith.workers.trainer.spec import SlotSpec

Rows = Callable[..., list[Row]]
Spec = Callable[..., SlotSpec]

TOKENS = 96
KINDS: list[dict[str, Any]] = [
    {"rank": 2, "batch_size": 1, "n_epochs": 1},
    {"rank": 8, "batch_size": 3, "schedule": "cosine", "weight_decay": 0.1},
    {"rank": 4, "batch_size": 2, "gradient_accumulation_steps": 2, "dropout": 0.3},
    {"rank": 3, "batch_size": 5, "schedule": "constant", "target_modules": ("q_proj", "up_proj")},
]


@pytest.fixture(scope="module")
def shared_base(base_directory: Path) -> Base:
    return load_base(base_directory, device="cpu")


@pytest.fixture(scope="module")
def alone(shared_base: Base, rows: Rows, spec: Spec) -> list[str]:
    """The digest of each kind's solo run."""
    digests = []
    for number, kind in enumerate(KINDS):
        cohort = Cohort(shared_base, tokens_per_pass=TOKENS)
        cohort.join(spec(**kind), rows(6, seed=number), rows(2, seed=50 + number))
        while not cohort.idle:
            cohort.step()
        digests.append(cohort.adapter("a").digest)
    return digests


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    actions=st.lists(
        st.tuples(st.sampled_from(["join", "leave", "step", "resume"]), st.integers(0, 3)),
        max_size=25,
    )
)
def test_any_interleaving(
    shared_base: Base, alone: list[str], rows: Rows, spec: Spec, actions: list[tuple[str, int]]
) -> None:
    cohort = Cohort(shared_base, tokens_per_pass=TOKENS)

    def join(number: int, state: bytes | None = None) -> None:
        cohort.join(
            spec(str(number), **KINDS[number]),
            rows(6, seed=number),
            rows(2, seed=50 + number),
            state=state,
        )

    for action, number in actions:
        present = str(number) in cohort.slots
        if action == "join" and not present:
            join(number)
        elif action == "leave" and present:
            cohort.leave(str(number))
        elif action == "resume" and present:
            state = cohort.state(str(number)).to_bytes()
            cohort.leave(str(number))
            join(number, state)
        elif action == "step":
            cohort.step()
    while not cohort.idle:
        cohort.step()
    for name in cohort.slots:
        assert cohort.adapter(name).digest == alone[int(name)], name


def test_equal_slots_advance_evenly(shared_base: Base, rows: Rows, spec: Spec) -> None:
    cohort = Cohort(shared_base, tokens_per_pass=128)
    for number in range(16):
        cohort.join(
            spec(str(number), seed=number, n_epochs=6),
            rows(8, seed=number, lengths=(12, 12)),
        )
    while not cohort.progress("0").finished:
        cohort.step()
        steps = [cohort.progress(name).step for name in cohort.slots]
        assert max(steps) - min(steps) <= 1
