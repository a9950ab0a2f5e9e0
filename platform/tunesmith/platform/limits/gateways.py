"""Which gateways are alive: each takes its part of the requests that a tenant may have at once."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Heartbeat
from tunesmith.platform.heartbeats import beat

_PREFIX = "gateway:"

LIVE_SECONDS = 10.0
"""Time after its last sign of life for which a gateway counts."""


class Place(NamedTuple):
    """A gateway's place among those that are alive: `rank` counts from 0."""

    rank: int
    gateways: int

    def part_of(self, limit: int) -> int:
        """This gateway's part of a limit. The parts of all make the limit, but are 1 at least."""
        return max(1, limit // self.gateways + (self.rank < limit % self.gateways))


ALONE = Place(0, 1)


def gateway_lives(session: Session, gateway_id: str) -> Place:
    """Write down that this gateway is alive; its place among all that are."""
    name = _PREFIX + gateway_id
    beat(session, name)
    oldest = now(session) - LIVE_SECONDS
    session.execute(
        delete(Heartbeat).where(
            Heartbeat.name.startswith(_PREFIX), Heartbeat.beaten_at < oldest - LIVE_SECONDS
        )
    )
    living = session.scalars(
        select(Heartbeat.name)
        .where(Heartbeat.name.startswith(_PREFIX), Heartbeat.beaten_at >= oldest)
        .order_by(Heartbeat.name)
    ).all()
    names = sorted({*living, name})  # by Python: databases sort texts by locales of their own
    return Place(names.index(name), len(names))


def gateway_ends(session: Session, gateway_id: str) -> None:
    """A gateway has ended: the others take over its part at once."""
    session.execute(delete(Heartbeat).where(Heartbeat.name == _PREFIX + gateway_id))
