"""The runs of the jobs in hand, each fed by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from tunesmith.platform.domain.training import StepMetrics
from tunesmith.workers.tracking.tracker import TrackedJob, Tracker

log = structlog.get_logger()

KEPT_STEPS = 2000
"""Steps that wait for a tracker; of a slower one's, what comes then is left out."""


class Tracking:
    """Nothing here waits for a tracker or raises what it raises.

    Args:
        trackers: which are told of every job.
    """

    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self._trackers = trackers
        self._feeds: dict[str, list[_Feed]] = {}
        self._ending: list[_Feed] = []

    def begin(self, job: TrackedJob, *, note: Callable[[str], object]) -> None:
        """A job trains, or goes on. `note` is told, in another thread, a sentence for its events.

        A run that an earlier `begin` of the job still has is ended first.
        """
        self._ending = [feed for feed in self._ending if feed.is_alive()]
        before = [feed for feed in self._ending if feed.job.id == job.id]
        self._feeds[job.id] = [
            _Feed(tracker, job, which, note, before)
            for tracker in self._trackers
            for which in tracker.runs(job)
        ]
        for feed in self._feeds[job.id]:
            feed.start()

    def log(self, job_id: str, steps: Iterable[StepMetrics]) -> None:
        """Steps were trained."""
        for feed in self._feeds.get(job_id, ()):
            feed.put(steps)

    def end(self, job_id: str, status: Callable[[], str]) -> None:
        """The job is let go; `status` says, in another thread, as what."""
        for feed in self._feeds.pop(job_id, ()):
            feed.end(status)
            self._ending.append(feed)

    def close(self, within: float) -> None:
        """Give the runs that end so many seconds, all together."""
        deadline = time.monotonic() + within
        for feed in self._ending:
            feed.join(max(0.0, deadline - time.monotonic()))


class _Feed(threading.Thread):
    """One run: begun, fed and closed by this thread alone."""

    def __init__(
        self,
        tracker: Tracker,
        job: TrackedJob,
        which: Any,
        note: Callable[[str], object],
        before: Sequence[_Feed],
    ) -> None:
        super().__init__(name=f"{tracker.name} {job.id}", daemon=True)
        self.job = job
        self._tracker = tracker
        self._which = which
        self._note = note
        self._before = before
        self._steps: deque[StepMetrics] = deque()
        self._left_out = 0
        self._status: Callable[[], str] | None = None
        self._changed = threading.Condition()
        self._dead = False

    def put(self, steps: Iterable[StepMetrics]) -> None:
        """Keep steps for the run."""
        with self._changed:
            for step in steps:
                if self._dead:
                    return
                if len(self._steps) < KEPT_STEPS:
                    self._steps.append(step)
                    continue
                if not self._left_out:
                    log.warning("slow tracker: steps are left out", **self._names())
                self._left_out += 1
            self._changed.notify()

    def end(self, status: Callable[[], str]) -> None:
        """Close the run when what was put is written."""
        with self._changed:
            self._status = status
            self._changed.notify()

    def run(self) -> None:
        """The thread."""
        try:
            for feed in self._before:
                feed.join()
            self._feed()
        except Exception as error:  # noqa: BLE001 - a library's errors are its own, said once
            log.warning("tracker failed; its run ends here", why=_one_line(error), **self._names())
            with self._changed:
                self._dead = True
                self._steps.clear()

    def _feed(self) -> None:
        run = self._tracker.begin(self.job, self._which)
        if run.note and not self.job.resume_step:
            self._note(run.note)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._steps or self._status)
                steps, status = list(self._steps), self._status
                self._steps.clear()
            if steps:
                run.log(steps)
            elif status is not None:
                run.close(status())
                return

    def _names(self) -> dict[str, str]:
        return {"tracker": self._tracker.name, "job_id": self.job.id}


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:500]
