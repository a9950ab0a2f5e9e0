"""From a model's name to what an engine calls it."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.gateway.cache import TtlCache
from tunesmith.platform import bases, models
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import InvalidRequest

TARGET_SECONDS = 1.0
"""How long a name is believed: a model that another gateway deleted stops within this time."""


@dataclass(frozen=True)
class Target:
    """What a name stands for: a base, or an adapter (its digest) on it."""

    base: str
    digest: str | None

    @property
    def engine_name(self) -> str:
        """The engine's name for it."""
        return self.digest or self.base


class Catalogue:
    """Names of all tenants, each looked up for the tenant that asks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._targets: TtlCache[tuple[str, str], Target] = TtlCache(
            self._look_up, seconds=TARGET_SECONDS
        )

    async def resolve(self, tenant_id: str, name: str) -> Target:
        """What `name` stands for.

        Raises:
            NotFound: neither a base nor a model of this tenant.
            InvalidRequest: the base is not the one any more that the model was tuned on.
        """
        return await self._targets.get((tenant_id, name))

    def forget(self, tenant_id: str, name: str) -> None:
        """The model was deleted."""
        self._targets.forget((tenant_id, name))

    def _look_up(self, key: tuple[str, str]) -> Target:
        tenant_id, name = key
        with self._database.reading() as session:
            if bases.find_base(session, name) is not None:
                return Target(name, None)
            model = models.get_model(session, tenant_id, name)
            adapter = models.get_adapter(session, model.adapter_digest)
            base = bases.find_base(session, model.base_name)
            if base is None or base.digest != adapter.base_digest:
                raise InvalidRequest(
                    f"The model `{name}` was tuned on another version of `{model.base_name}` than"
                    " the one that is served now, so it cannot answer. Tune it again.",
                    param="model",
                    code="base_changed",
                )
            return Target(model.base_name, adapter.digest)
