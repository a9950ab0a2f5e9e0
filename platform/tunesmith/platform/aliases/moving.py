"""An alias is made, points at another model once the gate holds, and is deleted."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from sqlalchemy.orm import Session

from tunesmith.platform.bases import find_base
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import Alias
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.evaluations.sides import find_side

from .gate import judge
from .reading import Pointing, find_alias
from .revisions import CREATE, PROMOTE, By, add_revision, locked_alias

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Move:
    """A model that an alias is to point at, and on what grounds.

    Attributes:
        evaluation: id of the evaluation to go by; else the latest completed one of `model`.
        force: whether to pass the gate even where it does not hold; needs a reason.
    """

    model: str
    evaluation: str | None = None
    force: bool = False


def check_name(session: Session, name: str) -> None:
    """Refuse a name that could be taken for a model's.

    Raises:
        InvalidRequest: it is malformed, or a base's.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "An alias's name has 1 to 64 letters, digits, '.', '_' or '-' and starts with a letter"
            f" or digit; it is {name[:100]!r}.",
            param="name",
            code="invalid_name",
        )
    if find_base(session, name) is not None:
        raise InvalidRequest(
            f"`{name}` is a base; an alias needs a name of its own.",
            param="name",
            code="name_taken",
        )


def create_alias(session: Session, tenant_id: str, name: str, move: Move, by: By) -> Pointing:
    """A new alias; on a tuned model the gate applies.

    Raises:
        InvalidRequest: the name is malformed or taken, the gate does not hold (`promotion_gate`),
            or `force` has no reason.
        NotFound: the tenant has no such model.
    """
    check_name(session, name)
    lock_name(session, f"alias {tenant_id} {name}")  # looked up, then taken
    if find_alias(session, tenant_id, name) is not None:
        raise InvalidRequest(
            f"You have an alias {name!r} already; promote moves it to another model.",
            param="name",
            code="name_taken",
        )
    alias = Alias(id=ids.alias_id(), tenant_id=tenant_id, name=name, created_at=time.time())
    session.add(alias)
    session.flush()
    return _move(session, alias, CREATE, move, by)


def promote(session: Session, tenant_id: str, name: str, move: Move, by: By) -> Pointing:
    """Point an alias at a model, if the gate holds or is forced; a split ends.

    Raises:
        NotFound: no such alias, model or evaluation of this tenant.
        InvalidRequest: the gate does not hold (`promotion_gate`), or `force` has no reason.
    """
    alias = locked_alias(session, tenant_id, name)
    return _move(session, alias, PROMOTE, move, by)


def _move(session: Session, alias: Alias, action: str, move: Move, by: By) -> Pointing:
    if move.force and not (by.reason or "").strip():
        raise InvalidRequest(
            "`force` needs a `reason`: the alias's history keeps it.",
            param="reason",
            code="missing_required_parameter",
        )
    side = find_side(session, alias.tenant_id, move.model, "model")
    judgement = judge(session, alias.tenant_id, side, move.evaluation)
    if judgement.failed and not move.force:
        raise judgement.refusal(move.model)
    return add_revision(
        session,
        alias,
        action,
        move.model,
        by,
        forced=bool(judgement.failed),
        evaluation_id=judgement.evaluation_id,
    )


def delete_alias(session: Session, tenant_id: str, name: str) -> Alias:
    """Delete an alias; the models stay, and the name may be taken again.

    Raises:
        NotFound: no such alias of this tenant.
    """
    alias = locked_alias(session, tenant_id, name)
    alias.deleted_at = time.time()
    session.flush()
    return alias
