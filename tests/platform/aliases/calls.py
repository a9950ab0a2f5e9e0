"""Calls of the aliases' service, each in a transaction of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.platform.aliases.measured import measure

from tunesmith.platform import models
from tunesmith.platform.aliases import moving, reading, splitting, undoing
from tunesmith.platform.aliases.moving import Move
from tunesmith.platform.aliases.revisions import By
from tunesmith.platform.database.models import AliasRevision

if TYPE_CHECKING:
    from tests.platform.conftest import World

BASE = "pocket"
BOT = "support-bot"
ME = By("key_me", "why not")


class Aliases:
    """A tenant that works on one alias."""

    def __init__(self, world: World, tenant: str | None = None) -> None:
        self.world = world
        self.tenant = tenant or world.tenant()

    def _do(self, change: Any, *given: Any, **named: Any) -> Any:
        with self.world.database.transaction() as session:
            return change(session, self.tenant, *given, **named)

    def create(self, model: str = BASE, name: str = BOT, by: By = ME, **move: Any) -> Any:
        return self._do(moving.create_alias, name, Move(model, **move), by)

    def promote(self, model: str, by: By = ME, **move: Any) -> Any:
        return self._do(moving.promote, BOT, Move(model, **move), by)

    def split(self, candidate: str, share: float = 0.1) -> Any:
        return self._do(splitting.split, BOT, candidate=candidate, share=share, by=ME)

    def end_split(self) -> Any:
        return self._do(splitting.end_split, BOT, ME)

    def roll_back(self) -> Any:
        return self._do(undoing.roll_back, BOT, ME)

    def delete(self) -> Any:
        return self._do(moving.delete_alias, BOT)

    def points_at(self) -> tuple[str, str | None, float]:
        with self.world.database.reading() as session:
            revision = reading.get_alias(session, self.tenant, BOT).revision
            return revision.model, revision.candidate, revision.candidate_share

    def history(self, **page: Any) -> list[AliasRevision]:
        with self.world.database.reading() as session:
            return reading.history(session, self.tenant, BOT, **page).items

    def good_model(self) -> str:
        """Name of a tuned model that passes the gate."""
        name = self.world.model(self.tenant)
        measure(self.world.database, self.tenant, name)
        return name

    def delete_model(self, name: str) -> None:
        self._do(models.delete_model, name)
