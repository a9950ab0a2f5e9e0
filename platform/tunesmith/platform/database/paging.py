"""Pages of a list: `after` names the last item of the page before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from tunesmith.platform.domain.errors import InvalidRequest

T = TypeVar("T")
MAX_LIMIT = 10_000


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items, and whether more follow."""

    items: list[T]
    has_more: bool


def page(
    session: Session,
    query: Select[T],
    seq: InstrumentedAttribute[int],
    *,
    after_seq: int | None,
    limit: int,
    newest_first: bool = True,
) -> Page[T]:
    """The next `limit` items of `query` after the item numbered `after_seq`.

    Raises:
        InvalidRequest: `limit` is not in 1..10000.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(
            f"`limit` must be between 1 and {MAX_LIMIT}; it is {limit}.", param="limit"
        )
    if after_seq is not None:
        query = query.where(seq < after_seq if newest_first else seq > after_seq)
    order: Any = seq.desc() if newest_first else seq.asc()
    items = list(session.scalars(query.order_by(order).limit(limit + 1)))
    return Page(items[:limit], has_more=len(items) > limit)
