"""Models: the names by which a tenant's requests reach an adapter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tunesmith.platform.claims import CANCELED, ENDED, end
from tunesmith.platform.database.models import Adapter, Checkpoint, Evaluation, Job, Model
from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.domain.job import UNFINISHED


def get_model(session: Session, tenant_id: str, name: str) -> Model:
    """A tenant's tuned model.

    Raises:
        NotFound: it does not exist, was deleted, or is another tenant's.
    """
    model = session.scalars(
        select(Model).where(
            Model.name == name, Model.tenant_id == tenant_id, Model.deleted_at.is_(None)
        )
    ).one_or_none()
    if model is None:
        raise NotFound(
            f"The model `{name}` does not exist or you do not have access to it.",
            param="model",
            code="model_not_found",
        )
    return model


def list_models(session: Session, tenant_id: str) -> Sequence[Model]:
    """A tenant's tuned models, oldest first."""
    return session.scalars(
        select(Model)
        .where(Model.tenant_id == tenant_id, Model.deleted_at.is_(None))
        .order_by(Model.seq)
    ).all()


def get_adapter(session: Session, digest: str) -> Adapter:
    """The adapter of this digest; it exists for every model that is not deleted."""
    return session.scalars(select(Adapter).where(Adapter.digest == digest)).one()


def keep_model(session: Session, tenant_id: str, name: str) -> tuple[Model, Adapter]:
    """A tenant's tuned model and its adapter, which nobody deletes until the transaction ends.

    Raises:
        NotFound: it does not exist, was deleted, or is another tenant's.
    """
    digest = get_model(session, tenant_id, name).adapter_digest
    adapter = session.scalars(
        select(Adapter).where(Adapter.digest == digest).with_for_update(read=True)
    ).one()
    # Whoever was deleting it meanwhile has let go of the lock, and the model is gone.
    return get_model(session, tenant_id, name), adapter


def add_adapter(
    session: Session, *, digest: str, base_name: str, base_digest: str, rank: int, size: int
) -> None:
    """Write an adapter down. The same content again is the same adapter."""
    known = session.get(Adapter, digest)
    if known is not None:
        known.deleted_at = None
        return
    adapter = Adapter(
        digest=digest,
        base_name=base_name,
        base_digest=base_digest,
        rank=rank,
        bytes=size,
        created_at=time.time(),
    )
    # Two equal jobs may end at the same moment: then the other one has written it.
    with suppress(IntegrityError), session.begin_nested():
        session.add(adapter)


def add_model(
    session: Session,
    *,
    name: str,
    tenant_id: str,
    base_name: str,
    adapter_digest: str,
    job_id: str,
) -> Model:
    """Make an adapter usable under a name."""
    model = Model(
        name=name,
        tenant_id=tenant_id,
        base_name=base_name,
        adapter_digest=adapter_digest,
        job_id=job_id,
        created_at=time.time(),
    )
    session.add(model)
    session.flush()
    return model


def drop_name(session: Session, tenant_id: str, name: str) -> list[str]:
    """Delete a tenant's model of this name, if there is one.

    Returns:
        The adapter's digest when nothing refers to it any more: its files can be deleted, and
        engines must drop it.
    """
    model = session.scalars(
        select(Model).where(
            Model.name == name, Model.tenant_id == tenant_id, Model.deleted_at.is_(None)
        )
    ).one_or_none()
    if model is None:
        return []
    # A job that is being created from this adapter (`keep_model`) is waited for, then counted.
    session.execute(
        select(Adapter.digest).where(Adapter.digest == model.adapter_digest).with_for_update()
    )
    model.deleted_at = time.time()
    session.flush()
    _cancel_evaluations(session, tenant_id, name)
    return [] if is_referred(session, model.adapter_digest) else [model.adapter_digest]


def _cancel_evaluations(session: Session, tenant_id: str, name: str) -> None:
    """End what would still ask a model that is deleted."""
    unfinished = session.scalars(
        select(Evaluation)
        .where(
            Evaluation.tenant_id == tenant_id,
            or_(Evaluation.baseline_model == name, Evaluation.candidate_model == name),
            Evaluation.status.not_in(ENDED),
        )
        .with_for_update()
    )
    for evaluation in unfinished.all():
        message = f"The model `{name}` was deleted."
        end(session, evaluation, CANCELED, {"code": "model_deleted", "message": message})


def is_referred(session: Session, digest: str) -> bool:
    """Whether a living model, a checkpoint's model or an unfinished job needs the adapter.

    An unfinished job needs the one that it continues from, and all that it made: its result may be
    the adapter of an epoch whose checkpoint is not kept any more.
    """
    of_it = Model.adapter_digest == digest, Job.parent_digest == digest
    return any(session.scalar(query.limit(1)) is not None for query in _references(*of_it))


def unreferred(session: Session, *, older_than: float) -> list[str]:
    """Adapters that nothing refers to (`is_referred`), written `older_than` seconds ago or earlier.

    One query for all of them: three for each would take minutes where there are 100,000.
    """
    of_it = Model.adapter_digest == Adapter.digest, Job.parent_digest == Adapter.digest
    query = select(Adapter.digest).where(
        Adapter.deleted_at.is_(None),
        Adapter.created_at <= time.time() - older_than,
        *(~reference.correlate(Adapter).exists() for reference in _references(*of_it)),
    )
    return list(session.scalars(query))


def _references(
    is_model: ColumnElement[bool], is_parent: ColumnElement[bool]
) -> Sequence[Select[int]]:
    """What may refer to an adapter: by a model's digest, or by the one that a job continues."""
    unfinished = Job.status.in_(sorted(UNFINISHED))
    return (
        select(Model.seq).where(is_model, Model.deleted_at.is_(None)),
        select(Job.seq).where(is_parent, unfinished),
        select(Model.seq).join(Job, Job.id == Model.job_id).where(is_model, unfinished),
    )


def adapters_made(session: Session, job_id: str) -> list[str]:
    """Digests of all adapters that a job has made, of models that are gone as well."""
    query = select(Model.adapter_digest).where(Model.job_id == job_id).distinct()
    return list(session.scalars(query))


def delete_model(session: Session, tenant_id: str, name: str) -> list[str]:
    """Delete a tenant's model; the model of a checkpoint takes its checkpoint with it.

    Returns:
        Digests that nothing refers to any more: to be unloaded and deleted from storage.

    Raises:
        NotFound: no such model of this tenant.
    """
    get_model(session, tenant_id, name)
    for checkpoint in session.scalars(
        select(Checkpoint)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(Job.tenant_id == tenant_id, Checkpoint.model_name == name)
    ):
        session.delete(checkpoint)
    session.flush()
    return drop_name(session, tenant_id, name)
