"""The cohorts that are up: one Ray actor per base, made when a job needs it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import ray
import structlog
from ray.exceptions import RayError

from tunesmith.workers.dispatcher.needs import Needs
from tunesmith.workers.training.cohort_actor import CohortActor
from tunesmith.workers.training.work import CohortSettings, TrainingWork, Update

log = structlog.get_logger()

_POLL_SECONDS = 10.0
_STOP_SECONDS = 6.0


class CohortLost(Exception):
    """The cohort's process is gone: what trained there goes on elsewhere."""


class CohortUnusable(Exception):
    """The cohort cannot be set up for this base; the message says why."""


@dataclass(eq=False)
class RunningCohort:
    """One cohort's actor, and the jobs that it was given.

    Attributes:
        idle_since: when its last job left, by the monotonic clock; None while it has jobs.
        figures: what it measured of the base and its device, once it is ready.
        full: whether it had no room for a job, and none has left since.
        spare_since: while it is not ready, since when others of its base have had room.
    """

    base_name: str
    settings: CohortSettings
    actor: Any
    ready_ref: Any
    needs: Needs
    started_at: float = field(default_factory=time.monotonic)
    ready: bool = False
    jobs: set[str] = field(default_factory=set)
    idle_since: float | None = None
    figures: dict[str, Any] | None = None
    full: bool = False
    spare_since: float | None = None
    _updates_ref: Any = None
    _stopped_ref: Any = None
    _stop_by: float = 0.0

    @classmethod
    def start(cls, base_name: str, settings: CohortSettings, needs: Needs) -> RunningCohort:
        """Ask Ray for the actor; `check_ready` says when it is there."""
        actor_class: Any = CohortActor  # the decorator made it Ray's handle
        actor = actor_class.options(**needs.options()).remote(settings)
        log.info("cohort requested", base=base_name, needs=str(needs))
        return cls(base_name, settings, actor, actor.ready.remote(), needs)

    def check_ready(self) -> bool:
        """Whether the base is resident.

        Raises:
            CohortLost: the process died while it started.
            CohortUnusable: it refused the base.
        """
        if self.ready:
            return True
        done, _ = ray.wait([self.ready_ref], timeout=0)
        if not done:
            return False
        try:
            self.figures = ray.get(self.ready_ref)
        except ray.exceptions.ActorDiedError as error:
            cause = _creation_error(error)
            if cause is not None:
                raise CohortUnusable(cause) from error
            raise CohortLost(_first_line(error)) from error
        except RayError as error:
            raise CohortLost(_first_line(error)) from error
        self.ready = True
        self.idle_since = time.monotonic()
        self._updates_ref = self.actor.updates.remote(_POLL_SECONDS)
        log.info("cohort ready", base=self.base_name, seconds=time.monotonic() - self.started_at)
        return True

    def join(self, work: TrainingWork) -> None:
        """Hand a job in."""
        self.jobs.add(work.job_id)
        self.idle_since = None
        self.actor.join.remote(work)

    def leave(self, job_id: str) -> None:
        """Ask for a job's state; `StateStored` with `left` follows."""
        self.actor.leave.remote(job_id)

    def drop(self, job_id: str) -> None:
        """Let a job go."""
        self.actor.drop.remote(job_id)
        self.gone(job_id)

    def gone(self, job_id: str) -> None:
        """A job has left."""
        self.jobs.discard(job_id)
        self.full = False
        if not self.jobs and self.idle_since is None:
            self.idle_since = time.monotonic()

    def updates(self) -> list[Update]:
        """What happened, without waiting.

        Raises:
            CohortLost: the process died.
        """
        done, _ = ray.wait([self._updates_ref], timeout=0)
        if not done:
            return []
        try:
            updates: list[Update] = ray.get(self._updates_ref)
        except RayError as error:
            raise CohortLost(_first_line(error)) from error
        self._updates_ref = self.actor.updates.remote(_POLL_SECONDS)
        return updates

    def begin_stop(self) -> None:
        """Have all states stored; `end_stop` waits for it."""
        if self.ready and self.jobs:
            self._stop_by = time.monotonic() + _STOP_SECONDS
            self._stopped_ref = self.actor.stop.remote()

    def end_stop(self) -> list[Update]:
        """End the process once its states are stored; what it still reported."""
        updates: list[Update] = []
        if self._stopped_ref is not None:
            try:
                while time.monotonic() < self._stop_by:
                    done, _ = ray.wait([self._stopped_ref], timeout=0.1)
                    updates += self.updates()
                    if done:
                        break
                updates += ray.get(self._updates_ref, timeout=1.0)
            except (CohortLost, RayError) as error:
                log.warning("cohort did not stop in order", base=self.base_name, why=str(error))
        self.kill()
        return updates

    def kill(self) -> None:
        """End the process at once."""
        ray.kill(self.actor)


def _creation_error(error: Exception) -> str | None:
    """What the actor's constructor raised, if that is why it died."""
    text = str(error)
    marker = "creation task"
    if marker not in text:
        return None
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else text


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
