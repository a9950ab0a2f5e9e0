"""Which of several processes of a kind acts: a lease in the table `leaders`.

The lease ends by the database's clock. Its holder stops believing in it earlier, by its own
monotonic clock: it counts from before it asked, and a margin less. So there may be a while without
a leader, and never one with two that believe to lead. A process that is stopped (SIGSTOP, a VM that
is moved) finds out with the first look at `leads` afterwards; what it had begun to write by then is
refused by the jobs' own leases.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tunesmith.platform import process_identity
from tunesmith.platform.database import Database
from tunesmith.platform.database.clock import now
from tunesmith.platform.database.models import Leader
from tunesmith.platform.domain.ids import random_text

log = structlog.get_logger(__name__)

_MARGIN = 0.2
"""Share of the lease that its holder does not rely on: for clocks that run at different speeds."""


class Leadership:
    """One process's part in the leadership called `name`. For one thread.

    Args:
        holder: of this process, for people and for the check whether it still lives.
        seconds: length of the lease.
        clock: seconds, never set back.

    Attributes:
        took_over: whether the predecessor of this term was lost, so that what it held is free.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        seconds: float,
        *,
        holder: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds
        self._holder = holder or process_identity.own()
        self._clock = clock
        self._token: str | None = None
        self._believed_until = float("-inf")
        self._renew_at = float("-inf")
        self.took_over = False

    @property
    def leads(self) -> bool:
        """Whether this process may act now."""
        return self._token is not None and self._clock() < self._believed_until

    @property
    def is_unsure(self) -> bool:
        """Whether it led, could not renew in time, and does not know of another one yet."""
        return self._token is not None and not self.leads

    @property
    def unsure_seconds(self) -> float:
        """For how long it has been unsure."""
        return max(0.0, self._clock() - self._believed_until) if self._token else 0.0

    def campaign(self) -> bool:
        """Renew the lease where that is due, or take one that is free; whether this process leads.

        A lease that ran out and that nobody took meanwhile goes on: nobody else has acted.

        Raises:
            Unavailable: the database does not answer; `leads` still says what holds.
        """
        if self.leads and self._clock() < self._renew_at:
            return True
        asked_at = self._clock()
        took_over = False
        with self._database.transaction() as session:
            if self._token is not None and not self._renew(session, self._token):
                self._token = None
            token = self._token
            if token is None:
                token = random_text()
                took = self._take(session, token)
                if took is None:
                    self._believed_until = float("-inf")
                    return False
                took_over = took
        # Believed only now: a commit that failed is none.
        if self._token is None:
            self.took_over = took_over
            log.info("leads", name=self._name, holder=self._holder, took_over=took_over)
        self._token = token
        self._believed_until = asked_at + self._seconds * (1 - _MARGIN)
        self._renew_at = asked_at + self._seconds / 3
        return self.leads

    def release(self) -> None:
        """Give the lease up, so that another process takes it at once.

        Raises:
            Unavailable: the database does not answer; the lease runs out.
        """
        token, self._token = self._token, None
        self._believed_until = self._renew_at = float("-inf")
        if token is None:
            return
        with self._database.transaction() as session:
            session.execute(delete(Leader).where(Leader.name == self._name, Leader.token == token))
        log.info("leads no more", name=self._name, holder=self._holder)

    def _renew(self, session: Session, token: str) -> bool:
        moment = now(session)
        renewed = session.scalars(
            update(Leader)
            .where(Leader.name == self._name, Leader.token == token)
            .values(expires_at=moment + self._seconds)
            .returning(Leader.name)
        ).first()
        return renewed is not None

    def _take(self, session: Session, token: str) -> bool | None:
        """Take the lease if it is free: whether a predecessor was lost with it; None if not."""
        moment = now(session)
        values = {"holder": self._holder, "token": token, "expires_at": moment + self._seconds}
        row = session.execute(
            select(Leader.token, Leader.holder, Leader.expires_at).where(Leader.name == self._name)
        ).one_or_none()
        if row is None:
            try:
                with session.begin_nested():
                    session.add(Leader(name=self._name, **values))
            except IntegrityError:  # another one was first, a moment ago
                return None
            return False
        free = Leader.expires_at <= moment
        if process_identity.is_dead(row.holder):
            free = or_(free, Leader.token == row.token)
        taken = session.scalars(
            update(Leader)
            .where(Leader.name == self._name, free)
            .values(**values)
            .returning(Leader.name)
        ).first()
        return None if taken is None else True
