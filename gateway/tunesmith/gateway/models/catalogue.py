"""From a model's name to what an engine calls it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from tunesmith.gateway.cache import TtlCache
from tunesmith.platform import bases, models, permissions
from tunesmith.platform.aliases.reading import find_alias
from tunesmith.platform.aliases.sticky import goes_to_candidate
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import InvalidRequest, NotFound

TARGET_SECONDS = 1.0
"""How long a name is believed: what another gateway deleted or moved counts within this time."""


@dataclass(frozen=True)
class Target:
    """What a model's name stands for: a base, or an adapter (its digest) on it."""

    base: str
    digest: str | None

    @property
    def engine_name(self) -> str:
        """The engine's name for it."""
        return self.digest or self.base


@dataclass(frozen=True)
class AliasTarget:
    """What an alias's name stands for: the models of its last revision."""

    alias_id: str
    revision: int
    model: str
    candidate: str | None
    share: float


@dataclass(frozen=True)
class Choice:
    """The model that answers a request, and the alias and its revision that chose it."""

    model: str
    target: Target
    alias: str | None = None
    revision: int | None = None


class Catalogue:
    """Names of all tenants, each looked up for the tenant that asks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._targets: TtlCache[tuple[str, str], Target | AliasTarget] = TtlCache(
            self._look_up, seconds=TARGET_SECONDS
        )

    async def choose(self, tenant_id: str, name: str, user: str | None = None) -> Choice:
        """The model that answers a request for `name`: a base, a model of the tenant's own or one
        that it has a permission for, or an alias's.

        Args:
            user: who the request is for; in a split the same user always gets the same model.

        Raises:
            NotFound: no base, model or alias of this tenant, or an alias to a deleted model.
            InvalidRequest: the base is not the one any more that the model was tuned on.
        """
        found = await self._targets.get((tenant_id, name))
        if isinstance(found, Target):
            return Choice(name, found)
        if found.candidate is not None and goes_to_candidate(found.alias_id, user, found.share):
            target = await self._model(tenant_id, found.candidate)
            # A candidate that was deleted is tried no more: its share has the model back.
            if target is not None:
                return Choice(found.candidate, target, name, found.revision)
        target = await self._model(tenant_id, found.model)
        if target is None:
            raise NotFound(
                f"The alias `{name}` points at the model `{found.model}`, which does not exist any"
                " more. Promote another model, or roll the alias back.",
                param="model",
                code="model_not_found",
            )
        return Choice(found.model, target, name, found.revision)

    def forget(self, tenant_id: str, name: str) -> None:
        """The model was deleted, or the alias changed."""
        self._targets.forget((tenant_id, name))

    async def _model(self, tenant_id: str, name: str) -> Target | None:
        try:
            found = await self._targets.get((tenant_id, name))
        except NotFound:
            return None
        return found if isinstance(found, Target) else None

    def _look_up(self, key: tuple[str, str]) -> Target | AliasTarget:
        tenant_id, name = key
        with self._database.reading() as session:
            if bases.find_base(session, name) is not None:
                return Target(name, None)
            try:
                return _tuned(session, tenant_id, name)
            except NotFound:
                found = find_alias(session, tenant_id, name)
                if found is None:
                    raise
            revision = found.revision
            return AliasTarget(
                found.alias.id,
                revision.number,
                revision.model,
                revision.candidate,
                revision.candidate_share,
            )


def _tuned(session: Session, tenant_id: str, name: str) -> Target:
    model = permissions.usable_model(session, tenant_id, name)
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
