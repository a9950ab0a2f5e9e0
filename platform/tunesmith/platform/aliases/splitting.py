"""A candidate is tried on a share of an alias's requests."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.evaluations.sides import find_side

from .reading import Pointing, get_alias
from .revisions import SPLIT, By, add_revision, locked_alias


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
    alias = locked_alias(session, tenant_id, name)
    model = get_alias(session, tenant_id, name).revision.model
    find_side(session, tenant_id, candidate, "candidate")
    if candidate == model:
        raise InvalidRequest(
            f"The alias {name!r} points at `{candidate}` already: there is nothing to try.",
            param="candidate",
        )
    return add_revision(session, alias, SPLIT, model, by, candidate=candidate, share=share)


def end_split(session: Session, tenant_id: str, name: str, by: By) -> Pointing:
    """Send all of an alias's requests to its model again.

    Raises:
        NotFound: no such alias of this tenant.
        InvalidRequest: it has no split.
    """
    alias = locked_alias(session, tenant_id, name)
    current = get_alias(session, tenant_id, name).revision
    if current.candidate is None:
        raise InvalidRequest(f"The alias {name!r} has no split to end.", code="no_split")
    return add_revision(session, alias, SPLIT, current.model, by)
