"""Routes of aliases and of the promotion policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.audit.acting import Acting, Actor
from tunesmith.gateway.auth import TenantAdmin, TenantId, TrainingTenant
from tunesmith.gateway.empty_body import MayBeEmpty
from tunesmith.gateway.idempotency import ONCE
from tunesmith.gateway.pages import After, Limit, ListOf
from tunesmith.gateway.resources import Parts, Resources
from tunesmith.platform.aliases import moving, reading, splitting, undoing
from tunesmith.platform.aliases.reading import Pointing
from tunesmith.platform.aliases.revisions import By
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import AliasRevision
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.policy import keep_policy, policy_of

from .schemas import (
    Alias,
    AliasDeleted,
    ChangePolicy,
    CreateAlias,
    Policy,
    Promote,
    Revision,
    RollBack,
    Split,
)

router = APIRouter(prefix="/v1", tags=["promotion"], route_class=MayBeEmpty)


@router.post("/aliases", dependencies=[ONCE])
async def create_alias(
    body: CreateAlias, parts: Parts, tenant_id: TrainingTenant, actor: Actor
) -> Alias:
    """Create an alias; on a tuned model the promotion gate applies."""
    by = By(actor.key_id, body.reason)
    return await _change(
        parts,
        actor,
        "alias.created",
        body.name,
        lambda session: moving.create_alias(session, tenant_id, body.name, body.to_move(), by),
    )


@router.get("/aliases")
def list_aliases(
    parts: Parts, tenant_id: TenantId, after: After = None, limit: Limit = 20
) -> ListOf[Alias]:
    """The tenant's aliases, newest first."""
    with parts.database.reading() as session:
        page = reading.list_aliases(session, tenant_id, after=after, limit=limit)
        return ListOf(data=[Alias.of(found) for found in page.items], has_more=page.has_more)


@router.get("/aliases/{name}")
def get_alias(name: str, parts: Parts, tenant_id: TenantId) -> Alias:
    """One of the tenant's aliases."""
    with parts.database.reading() as session:
        return Alias.of(reading.get_alias(session, tenant_id, name))


@router.delete("/aliases/{name}")
async def delete_alias(
    name: str, parts: Parts, tenant_id: TrainingTenant, actor: Actor
) -> AliasDeleted:
    """Delete an alias; its models stay."""

    def delete() -> str:
        with parts.database.transaction() as session:
            deleted = moving.delete_alias(session, tenant_id, name).id
            actor.note(session, "alias.deleted", name)
            return deleted

    deleted = await run_in_threadpool(delete)
    parts.catalogue.forget(tenant_id, name)
    return AliasDeleted(id=deleted, name=name)


@router.post("/aliases/{name}/promote")
async def promote(
    name: str, body: Promote, parts: Parts, tenant_id: TrainingTenant, actor: Actor
) -> Alias:
    """Point an alias at a model that passes the gate, or at any with `force` and a reason."""
    by = By(actor.key_id, body.reason)
    return await _change(
        parts,
        actor,
        "alias.promoted",
        name,
        lambda session: moving.promote(session, tenant_id, name, body.to_move(), by),
    )


@router.post("/aliases/{name}/split")
async def split(
    name: str, body: Split, parts: Parts, tenant_id: TrainingTenant, actor: Actor
) -> Alias:
    """Send a share of the requests to a candidate: always the same users, by `user`."""
    by = By(actor.key_id, body.reason)
    if body.share == 0:
        return await _change(
            parts,
            actor,
            "alias.split_ended",
            name,
            lambda session: splitting.end_split(session, tenant_id, name, by),
        )
    candidate = body.candidate
    if candidate is None:
        raise InvalidRequest(
            "Missing required parameter: `candidate`.",
            param="candidate",
            code="missing_required_parameter",
        )
    return await _change(
        parts,
        actor,
        "alias.split",
        name,
        lambda session: splitting.split(
            session, tenant_id, name, candidate=candidate, share=body.share, by=by
        ),
    )


@router.delete("/aliases/{name}/split")
async def end_split(name: str, parts: Parts, tenant_id: TrainingTenant, actor: Actor) -> Alias:
    """Send all of the requests to the alias's model again."""
    return await _change(
        parts,
        actor,
        "alias.split_ended",
        name,
        lambda session: splitting.end_split(session, tenant_id, name, By(actor.key_id)),
    )


@router.post("/aliases/{name}/rollback")
async def roll_back(
    name: str, body: RollBack, parts: Parts, tenant_id: TrainingTenant, actor: Actor
) -> Alias:
    """Undo the last change of where the requests go; from the next request on."""
    by = By(actor.key_id, body.reason)
    return await _change(
        parts,
        actor,
        "alias.rolled_back",
        name,
        lambda session: undoing.roll_back(session, tenant_id, name, by),
    )


@router.get("/aliases/{name}/history")
def list_history(
    name: str, parts: Parts, tenant_id: TenantId, after: After = None, limit: Limit = 20
) -> ListOf[Revision]:
    """What an alias pointed at, newest first: who changed it, when and why."""
    with parts.database.reading() as session:
        page = reading.history(session, tenant_id, name, after=after, limit=limit)
        return ListOf(data=[Revision.of(row) for row in page.items], has_more=page.has_more)


@router.get("/policy")
def get_policy(parts: Parts, tenant_id: TenantId) -> Policy:
    """What a model must show before an alias moves to it."""
    with parts.database.reading() as session:
        return Policy.of(policy_of(session, tenant_id))


@router.post("/policy")
def change_policy(body: ChangePolicy, parts: Parts, tenant_id: TenantAdmin, actor: Actor) -> Policy:
    """Change the policy; it counts from the next evaluation and the next promotion on."""
    with parts.database.transaction() as session:
        lock_name(session, f"policy {tenant_id}")  # two changes of one value each keep both
        changed = replace(policy_of(session, tenant_id), **body.model_dump(exclude_none=True))
        keep_policy(session, tenant_id, changed)
        actor.note(session, "policy.updated", tenant_id, detail=changed.as_json())
        return Policy.of(changed)


async def _change(
    parts: Resources,
    actor: Acting,
    action: str,
    name: str,
    change: Callable[[Session], Pointing],
) -> Alias:
    """Do a change in a transaction of its own; the next request here follows it."""

    def do() -> Alias:
        with parts.database.transaction() as session:
            changed = change(session)
            actor.note(session, action, name, detail=_noted(changed.revision))
            return Alias.of(changed)

    changed = await run_in_threadpool(do)
    assert actor.tenant_id is not None, "the administrator has no aliases"
    parts.catalogue.forget(actor.tenant_id, name)
    return changed


def _noted(revision: AliasRevision) -> dict[str, Any]:
    """What the audit log keeps of a change: where the requests go from then on."""
    noted: dict[str, Any] = {"revision": revision.number, "model": revision.model}
    if revision.candidate is not None:
        noted |= {"candidate": revision.candidate, "share": revision.candidate_share}
    if revision.forced:
        noted |= {"forced": True, "reason": revision.reason}
    return noted
