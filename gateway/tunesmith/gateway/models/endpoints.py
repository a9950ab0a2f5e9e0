"""Routes of models."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from tunesmith.gateway.audit.acting import Acting, Actor
from tunesmith.gateway.auth import TenantId, TrainingTenant
from tunesmith.gateway.pages import ListOf
from tunesmith.gateway.resources import Parts, Resources
from tunesmith.platform import bases, models, permissions
from tunesmith.platform.adapters import delete_unreferred
from tunesmith.platform.aliases.reading import all_aliases, find_alias
from tunesmith.platform.domain.errors import InvalidRequest, NotFound, NotPermitted, Unavailable

from .schemas import Model, ModelDeleted

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", response_model=ListOf[Model])
def list_models(parts: Parts, tenant_id: TenantId) -> Response:
    """All bases, the tenant's own tuned models, checkpoints and aliases, and those that others
    let it use.
    """
    with parts.database.reading() as session:
        listed = [Model.of_base(base) for base in bases.list_bases(session)]
        listed += [Model.of_tuned(model) for model in models.list_models(session, tenant_id)]
        listed += [Model.of_tuned(row) for row in permissions.granted_models(session, tenant_id)]
        known = {model.id for model in listed}
        # A base that came after an alias of its name is what the name now means.
        listed += [
            Model.of_alias(found)
            for found in all_aliases(session, tenant_id)
            if found.alias.name not in known
        ]
    # Thousands of models: written as JSON here, as FastAPI would check each of them once more.
    return Response(ListOf[Model](data=listed).model_dump_json(), media_type="application/json")


@router.get("/{model:path}")
def get_model(model: str, parts: Parts, tenant_id: TenantId) -> Model:
    """A base, one of the tenant's own models or aliases, or a model that it may use."""
    with parts.database.reading() as session:
        base = bases.find_base(session, model)
        if base is not None:
            return Model.of_base(base)
        try:
            return Model.of_tuned(permissions.usable_model(session, tenant_id, model))
        except NotFound:
            alias = find_alias(session, tenant_id, model)
            if alias is None:
                raise
            return Model.of_alias(alias)


@router.delete("/{model:path}")
async def delete_model(
    model: str, parts: Parts, tenant_id: TrainingTenant, actor: Actor
) -> ModelDeleted:
    """Delete one of the tenant's own models; its weights go when nothing else needs them."""
    unused = await run_in_threadpool(_delete, parts, tenant_id, model, actor)
    parts.catalogue.forget(tenant_id, model)
    for digest in unused:
        await parts.engines.unload(digest)
    try:
        await run_in_threadpool(delete_unreferred, parts.database, parts.storage, unused)
    except Unavailable as error:
        # The name is gone, which is what was asked for; the dispatcher's sweep deletes the rest.
        log.error("unused adapters not removed", adapters=unused, error=error.message)
    return ModelDeleted(id=model)


def _delete(parts: Resources, tenant_id: str, name: str, actor: Acting) -> list[str]:
    with parts.database.transaction() as session:
        if bases.find_base(session, name) is not None:
            raise NotPermitted(f"`{name}` is a base: it serves all tenants and cannot be deleted.")
        if find_alias(session, tenant_id, name) is not None:
            raise InvalidRequest(
                f"`{name}` is an alias; delete it with DELETE /v1/aliases/{name}. The model that it"
                " points at stays.",
                param="model",
                code="is_an_alias",
            )
        if permissions.usable_model(session, tenant_id, name).tenant_id != tenant_id:
            raise NotPermitted(f"`{name}` is another project's: you may use it, not delete it.")
        unused = models.delete_model(session, tenant_id, name)
        actor.note(session, "model.deleted", name)
        return unused
