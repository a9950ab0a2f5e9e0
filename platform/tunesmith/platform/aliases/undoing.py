"""An alias goes back to what it pointed at before."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform.database.models import AliasRevision
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.evaluations.sides import find_side

from .reading import Pointing
from .revisions import ROLLBACK, By, add_revision, locked_alias


def roll_back(session: Session, tenant_id: str, name: str, by: By) -> Pointing:
    """Undo the last change of where an alias's requests go; again, and it undoes the one before.

    A split ends; without one the alias goes back to the model before. Models that cannot answer
    any more are passed over: a rollback is to make things work again. Never gated.

    Raises:
        NotFound: no such alias of this tenant.
        InvalidRequest: there is nothing to go back to (`nothing_to_roll_back`).
    """
    alias = locked_alias(session, tenant_id, name)
    revisions = session.scalars(
        select(AliasRevision)
        .where(AliasRevision.alias_id == alias.id)
        .order_by(AliasRevision.number)
    ).all()
    current = revisions[-1]
    *earlier, _ = models_behind(revisions)
    others = [model for model in reversed(earlier) if model != current.model]
    ways = ([current.model] if current.candidate is not None else []) + others
    for model in ways:
        if _can_answer(session, tenant_id, model):
            return add_revision(session, alias, ROLLBACK, model, by)
    raise InvalidRequest(
        f"The alias {name!r} cannot go back: "
        + (
            "the models that it pointed at before are deleted or cannot be served any more."
            if ways
            else f"it points at `{current.model}`, and at nothing before that."
        ),
        code="nothing_to_roll_back",
    )


def _can_answer(session: Session, tenant_id: str, model: str) -> bool:
    try:
        find_side(session, tenant_id, model, "model")
    except (NotFound, InvalidRequest):
        return False
    return True


def models_behind(revisions: Sequence[AliasRevision]) -> list[str]:
    """The models that an alias came by, oldest first and the current one last.

    What was rolled back is left out, so that repeated rollbacks go further back and never return
    to what they left. Splits are no part of it: going back never sends requests to a candidate.

    Args:
        revisions: all of one alias, oldest first.
    """
    behind: list[str] = []
    for revision in revisions:
        if revision.action == ROLLBACK:
            while behind[-1] != revision.model:
                behind.pop()
        elif not behind or behind[-1] != revision.model:
            behind.append(revision.model)
    return behind
