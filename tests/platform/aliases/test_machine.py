"""Any order of promotes, splits, rollbacks and deletions, against a model of a few lines."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from tests.platform.aliases.calls import BASE, ME, Aliases

from tunesmith.platform.aliases.undoing import models_behind
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from tests.platform.conftest import World

MODELS = 4
picks = st.integers(0, MODELS)  # 0 is the base


class Machine(RuleBasedStateMachine):
    """An alias, and what is expected of it: the models that it came by, and its split."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.aliases = Aliases(self.world)
        good = [self.aliases.good_model() for _ in range(MODELS - 1)]
        self.ungated = self.aliases.world.model(self.aliases.tenant)
        self.names = [BASE, *good, self.ungated]
        self.deleted: set[str] = set()
        self.behind: list[str] = []
        self.candidate: str | None = None
        self.revisions = 0

    def changed(self, candidate: str | None = None) -> None:
        self.candidate = candidate
        self.revisions += 1

    @precondition(lambda self: not self.behind)
    @rule(pick=picks)
    def create(self, pick: int) -> None:
        model = self.names[pick]
        if model in self.deleted or model == self.ungated:
            with pytest.raises((NotFound, InvalidRequest)):
                self.aliases.create(model)
            return
        self.aliases.create(model)
        self.behind, self.revisions, self.candidate = [model], 1, None

    @precondition(lambda self: self.behind)
    @rule(pick=picks, force=st.booleans())
    def promote(self, pick: int, force: bool) -> None:
        model = self.names[pick]
        if model in self.deleted:
            with pytest.raises(NotFound):
                self.aliases.promote(model, force=force)
            return
        if model == self.ungated and not force:
            with pytest.raises(InvalidRequest) as refused:
                self.aliases.promote(model)
            assert refused.value.code == "promotion_gate"
            return
        moved = self.aliases.promote(model, force=force)
        assert moved.revision.forced == (model == self.ungated)
        if model != self.behind[-1]:
            self.behind.append(model)
        self.changed()

    @precondition(lambda self: self.behind)
    @rule(pick=picks, share=st.floats(0, 1, exclude_min=True, exclude_max=True))
    def split(self, pick: int, share: float) -> None:
        model = self.names[pick]
        if model in self.deleted or model == self.behind[-1]:
            with pytest.raises((NotFound, InvalidRequest)):
                self.aliases.split(model, share)
            return
        assert self.aliases.split(model, share).revision.candidate_share == share
        self.changed(model)

    @precondition(lambda self: self.behind)
    @rule()
    def end_split(self) -> None:
        if self.candidate is None:
            with pytest.raises(InvalidRequest):
                self.aliases.end_split()
            return
        self.aliases.end_split()
        self.changed()

    @precondition(lambda self: self.behind)
    @rule()
    def roll_back(self) -> None:
        current = self.behind[-1]
        if self.candidate is not None and current not in self.deleted:
            assert self.aliases.roll_back().revision.model == current
            self.changed()
            return
        left = self.behind[:-1]
        while left and (left[-1] in self.deleted or left[-1] == current):
            left.pop()
        if not left:
            with pytest.raises(InvalidRequest) as refused:
                self.aliases.roll_back()
            assert refused.value.code == "nothing_to_roll_back"
            return
        assert self.aliases.roll_back().revision.model == left[-1]
        self.behind = left
        self.changed()

    @rule(pick=st.integers(1, MODELS))
    def delete_model(self, pick: int) -> None:
        model = self.names[pick]
        if model not in self.deleted:
            self.aliases.delete_model(model)
            self.deleted.add(model)

    @precondition(lambda self: self.behind)
    @rule()
    def delete(self) -> None:
        self.aliases.delete()
        self.behind = []

    @invariant()
    def it_points_where_it_should(self) -> None:
        if not self.behind:
            with pytest.raises(NotFound):
                self.aliases.points_at()
            return
        model, candidate, share = self.aliases.points_at()
        assert (model, candidate) == (self.behind[-1], self.candidate)
        assert (share > 0) == (candidate is not None)
        history = self.aliases.history(limit=10_000)[::-1]
        assert [row.number for row in history] == list(range(1, self.revisions + 1))
        assert {(row.key_id, row.reason) for row in history} == {(ME.key_id, ME.reason)}
        assert models_behind(history) == self.behind


def test_any_order_of_changes(migrated_sqlite: Path) -> None:
    from tests.platform.conftest import World

    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(migrated_sqlite, Path(folder) / "tunesmith.db")
        database = Database(f"sqlite:///{Path(folder) / 'tunesmith.db'}")
        Machine.world = World(database)
        Machine.world.register_base()
        try:
            run_machine(
                Machine,
                settings=settings(
                    max_examples=15,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            database.dispose()
