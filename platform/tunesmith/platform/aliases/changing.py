"""Changes of an alias: each is a revision, numbered under the alias's row lock."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tunesmith.platform.bases import find_base
from tunesmith.platform.database.locks import lock_name
from tunesmith.platform.database.models import Alias, AliasRevision
from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.evaluations.sides import find_side

from .gate import judge
from .reading import Pointing, find_alias, get_alias, not_found
from .undoing import ROLLBACK, models_behind

CREATE, PROMOTE, SPLIT = "create", "promote", "split"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class By:
    """Who makes a change (a key's id), and why."""

    key_id: str | None
    reason: str | None = None


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
    revision = _moved(session, alias, CREATE, move, by)
    session.add(alias)
    session.flush()
    return Pointing(alias, _number(session, revision))


def promote(session: Session, tenant_id: str, name: str, move: Move, by: By) -> Pointing:
    """Point an alias at a model, if the gate holds or is forced; a split ends.

    Raises:
        NotFound: no such alias, model or evaluation of this tenant.
        InvalidRequest: the gate does not hold (`promotion_gate`), or `force` has no reason.
    """
    alias = _locked(session, tenant_id, name)
    return Pointing(alias, _number(session, _moved(session, alias, PROMOTE, move, by)))


def _moved(session: Session, alias: Alias, action: str, move: Move, by: By) -> AliasRevision:
    reason = (by.reason or "").strip() or None
    if move.force and reason is None:
        raise InvalidRequest(
            "`force` needs a `reason`: the alias's history keeps it.",
            param="reason",
            code="missing_required_parameter",
        )
    side = find_side(session, alias.tenant_id, move.model, "model")
    judgement = judge(session, alias.tenant_id, side, move.evaluation)
    if judgement.failed and not move.force:
        raise judgement.refusal(move.model)
    return _revision(
        alias,
        action,
        move.model,
        By(by.key_id, reason),
        forced=bool(judgement.failed),
        evaluation_id=judgement.evaluation_id,
    )


def split(
    session: Session, tenant_id: str, name: str, *, candidate: str, share: float, by: By
) -> Pointing:
    """Send a share of an alias's requests to a candidate, instead of any split before.

    Not gated: a split is how a candidate is tried.

    Raises:
        NotFound: no such alias or candidate of this tenant.
        InvalidRequest: the share is not between 0 and 1, or the candidate is the model itself.
    """
    if not 0 < share < 1:
        raise InvalidRequest(
            f"`share` must be more than 0 and less than 1; it is {share}. To send everything to"
            " the candidate, promote it; 0 ends a split.",
            param="share",
        )
    alias = _locked(session, tenant_id, name)
    model = get_alias(session, tenant_id, name).revision.model
    find_side(session, tenant_id, candidate, "candidate")
    if candidate == model:
        raise InvalidRequest(
            f"The alias {name!r} points at `{candidate}` already: there is nothing to try.",
            param="candidate",
        )
    revision = _revision(alias, SPLIT, model, by, candidate=candidate, share=share)
    return Pointing(alias, _number(session, revision))


def end_split(session: Session, tenant_id: str, name: str, by: By) -> Pointing:
    """Send all of an alias's requests to its model again.

    Raises:
        NotFound: no such alias of this tenant.
        InvalidRequest: it has no split.
    """
    alias = _locked(session, tenant_id, name)
    current = get_alias(session, tenant_id, name).revision
    if current.candidate is None:
        raise InvalidRequest(f"The alias {name!r} has no split to end.", code="no_split")
    return Pointing(alias, _number(session, _revision(alias, SPLIT, current.model, by)))


def roll_back(session: Session, tenant_id: str, name: str, by: By) -> Pointing:
    """Undo the last change of where an alias's requests go; again, and it undoes the one before.

    A split ends; without one the alias goes back to the model before. Models that cannot answer
    any more are passed over: a rollback is to make things work again. Never gated.

    Raises:
        NotFound: no such alias of this tenant.
        InvalidRequest: there is nothing to go back to (`nothing_to_roll_back`).
    """
    alias = _locked(session, tenant_id, name)
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
            return Pointing(alias, _number(session, _revision(alias, ROLLBACK, model, by)))
    raise InvalidRequest(
        f"The alias {name!r} cannot go back: "
        + (
            "the models that it pointed at before are deleted or cannot be served any more."
            if ways
            else f"it points at `{current.model}`, and at nothing before that."
        ),
        code="nothing_to_roll_back",
    )


def delete_alias(session: Session, tenant_id: str, name: str) -> Alias:
    """Delete an alias; the models stay, and the name may be taken again.

    Raises:
        NotFound: no such alias of this tenant.
    """
    alias = _locked(session, tenant_id, name)
    alias.deleted_at = time.time()
    session.flush()
    return alias


def _can_answer(session: Session, tenant_id: str, model: str) -> bool:
    try:
        find_side(session, tenant_id, model, "model")
    except (NotFound, InvalidRequest):
        return False
    return True


def _locked(session: Session, tenant_id: str, name: str) -> Alias:
    alias = session.scalars(
        select(Alias)
        .where(Alias.tenant_id == tenant_id, Alias.name == name, Alias.deleted_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if alias is None:
        raise not_found(name)
    return alias


def _revision(
    alias: Alias,
    action: str,
    model: str,
    by: By,
    *,
    candidate: str | None = None,
    share: float = 0.0,
    forced: bool = False,
    evaluation_id: str | None = None,
) -> AliasRevision:
    return AliasRevision(
        alias_id=alias.id,
        action=action,
        model=model,
        candidate=candidate,
        candidate_share=share,
        forced=forced,
        reason=(by.reason or "").strip() or None,
        evaluation_id=evaluation_id,
        key_id=by.key_id,
        created_at=time.time(),
    )


def _number(session: Session, revision: AliasRevision) -> AliasRevision:
    """Write a revision down as the next one; the alias is locked, or new."""
    last = session.scalar(
        select(func.max(AliasRevision.number)).where(AliasRevision.alias_id == revision.alias_id)
    )
    revision.number = (last or 0) + 1
    session.add(revision)
    session.flush()
    return revision
