"""What happened is written under a job's lease, and slow work is done beside the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import adapters, models
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Job
from tunesmith.platform.domain.errors import LeaseLost, TunesmithError, Unavailable
from tunesmith.platform.domain.job import FINAL
from tunesmith.platform.storage import Storage

log = structlog.get_logger()

_THREADS = 4


class Reports:
    """The dispatcher's hand on database and storage, for as long as it leads.

    Args:
        while_waiting: called again and again while the database is waited for.

    Attributes:
        stopping: set when this dispatcher is to act no longer.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self.database = database
        self.storage = storage
        self.stopping = threading.Event()
        self._while_waiting = while_waiting
        self._slow = ThreadPoolExecutor(_THREADS, "beside")

    def write(self, job_id: str, report: Callable[[Session], object]) -> bool:
        """Write a report on a job; whether it still counted.

        A database that does not answer is waited for: what happened must not be lost while this
        process lives, and the lease decides whether it still counts afterwards. A report that the
        job's state does not take is dropped: whoever claims the job next decides.
        """
        while True:
            try:
                with self.database.transaction() as session:
                    report(session)
                return True
            except LeaseLost:
                return False
            except Unavailable as error:
                log.warning("database is waited for", job_id=job_id, why=error.message)
                self._while_waiting()
                if self.stopping.wait(1.0):
                    return False
            except TunesmithError as error:
                log.warning("report refused", job_id=job_id, why=error.message)
                return False

    def beside(self, action: Callable[..., None], *arguments: Any) -> Future[None]:
        """Do something slow beside the loop."""
        return self._slow.submit(action, *arguments)

    def later(self, action: Callable[..., object], *arguments: Any) -> None:
        """Do something beside the loop that may fail: it is said and left."""

        def attempt() -> None:
            try:
                action(*arguments)
            except TunesmithError as error:
                log.warning("left undone", action=action.__name__, why=error.message)

        self._slow.submit(attempt)

    def clear_states(self, job_id: str) -> None:
        """Delete a job's states, and the adapters of checkpoints not kept, if it has ended."""

        def clear() -> None:
            with self.database.reading() as session:
                status = session.scalars(select(Job.status).where(Job.id == job_id)).one_or_none()
                made = models.adapters_made(session, job_id)
            if status in FINAL:
                self.storage.delete_tree(f"jobs/{job_id}/states")
                adapters.delete_unreferred(self.database, self.storage, made)

        self.later(clear)

    def close(self) -> None:
        """Begin nothing more beside the loop."""
        self._slow.shutdown(wait=False, cancel_futures=True)
