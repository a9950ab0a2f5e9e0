"""Thousands of made-up requests to every route: no fault, and no answer that is not documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.conformance.fuzz import ROLES, Role, Target, fuzz

CASES = {"tenant": 4000, "admin": 1200, "nobody": 1200}
"""At least so many are sent as each; 5,000 altogether."""

DONE = {"tenant": 60, "admin": 15, "nobody": 3}
"""So many routes, of 86, answer 200 at least once."""

EACH = {"tenant": 14, "admin": 2, "nobody": 2}


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
