"""Thousands of made-up requests to every route: no fault, and no answer that is not documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.conformance.fuzz import ROLES, Role, Target, fuzz

CASES = {"tenant": 2000, "admin": 600, "nobody": 600}
"""At least so many are sent as each; `make fuzz` sends more."""

DONE = {"tenant": 60, "admin": 15, "nobody": 3}
"""So many routes, of 86, answer 200 at least once."""

EACH = {"tenant": 7, "admin": 1, "nobody": 1}


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    target = Target(tmp_path / "home")
    yield target
    target.stop()


@pytest.mark.parametrize("role", ROLES)
def test_every_answer_to_made_up_requests_is_documented(
    target: Target, role: Role, tmp_path: Path
) -> None:
    run = fuzz(target, role, tmp_path / "schemathesis", each=EACH[role], seed=None)
    assert not run.failed, run.report
    assert run.cases >= CASES[role], run.report
    # It would prove little if nothing were ever done.
    done = target.routes_that_answered(200)
    assert len(done) >= DONE[role], sorted(done)
