"""The two models of an evaluation: names, and what engines call them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases, models
from tunesmith.platform.database.models import Adapter
from tunesmith.platform.domain.errors import InvalidRequest, NotFound


@dataclass(frozen=True)
class Side:
    """A model as an evaluation names it; `digest` is None for a base itself."""

    name: str
    base: str
    digest: str | None


def find_side(session: Session, tenant_id: str, name: str, param: str) -> Side:
    """A base, or one of the tenant's own models.

    Raises:
        NotFound: neither.
        InvalidRequest: the model was tuned on another version of its base.
    """
    base = bases.find_base(session, name)
    if base is not None:
        return Side(name, name, None)
    try:
        model = models.get_model(session, tenant_id, name)
    except NotFound as error:
        raise NotFound(error.message, param=param, code=error.code) from None
    adapter = session.scalars(select(Adapter).where(Adapter.digest == model.adapter_digest)).one()
    served = bases.find_base(session, model.base_name)
    if served is None or served.digest != adapter.base_digest:
        raise InvalidRequest(
            f"The model `{name}` was tuned on another version of `{model.base_name}` than the one"
            " that is served now, so it cannot be asked.",
            param=param,
            code="base_changed",
        )
    return Side(name, model.base_name, adapter.digest)
