"""The cohorts that are up: made when a job needs one, given back when idle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from tunesmith.platform import bases
from tunesmith.platform.database.models import BaseModel, Job
from tunesmith.platform.domain.job import JobStatus
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.settings import Settings
from tunesmith.workers.dispatcher import needs
from tunesmith.workers.dispatcher.cohorts import CohortLost, CohortUnusable, RunningCohort
from tunesmith.workers.dispatcher.ray_cluster import RayCluster
from tunesmith.workers.dispatcher.reports import Reports
from tunesmith.workers.dispatcher.waiting import Place, tell
from tunesmith.workers.training.work import CohortSettings, Reporting

log = structlog.get_logger()

_PATIENCE_SECONDS = 5.0
_TELL_SECONDS = 5.0


@dataclass
class _Wanted:
    """A base that jobs wait for and that no cohort holds yet."""

    since: float
    needs: needs.Needs | None
    told_at: float = float("-inf")
    told: Place | None = None


class CohortPool:
    """Cohorts: one of each base that jobs wait for, more where its slots are all taken."""

    def __init__(self, settings: Settings, reports: Reports, ray: RayCluster, owner: str) -> None:
        self._settings = settings
        self._reports = reports
        self._ray = ray
        self._owner = owner
        self._cohorts: list[RunningCohort] = []
        self._wanted: dict[str, _Wanted] = {}

    def __iter__(self) -> Iterator[RunningCohort]:
        return iter(list(self._cohorts))

    def start_for(self, needed: Sequence[BaseModel]) -> None:
        """See to cohorts of the bases that jobs wait for.

        Each gets one; one of an older base ends when idle. A base whose slots are all taken gets
        another (`cohorts_per_base`), once no other base waits for its first.
        """
        for base in needed:
            for cohort in self._of(base.name):
                if cohort.settings.base_digest != base.digest and not cohort.jobs:
                    self.end(cohort)
            running = self._of(base.name)
            if not running:
                self._start(base)
            elif (
                len(running) < self._settings.cohorts_per_base
                and not self._wanted
                and not any(self._has_room(cohort) or not cohort.ready for cohort in running)
            ):
                log.info("one more cohort", base=base.name, cohorts=len(running))
                self._start(base)
        kept = {base.name for base in needed} | {cohort.base_name for cohort in self._cohorts}
        self._wanted = {name: wanted for name, wanted in self._wanted.items() if name in kept}

    def _of(self, base_name: str) -> list[RunningCohort]:
        return [cohort for cohort in self._cohorts if cohort.base_name == base_name]

    def _has_room(self, cohort: RunningCohort) -> bool:
        full = cohort.full or len(cohort.jobs) >= self._settings.slots_per_cohort
        return cohort.ready and not full

    def ready(self) -> Iterator[RunningCohort]:
        """Cohorts whose base is resident. What cannot start is ended, and its jobs are told."""
        for cohort in self:
            try:
                known = cohort.ready
                if cohort.check_ready():
                    if not known:
                        self._wanted.pop(cohort.base_name, None)
                        self._record(cohort)
                    yield cohort
            except CohortLost as error:
                log.warning("cohort lost at its start", base=cohort.base_name, why=str(error))
                self.end(cohort)
            except CohortUnusable as error:
                self.end(cohort)
                self._fail_who_waits(cohort, str(error))

    def tell_who_waits(self) -> None:
        """Say once to each queued job what it waits for."""
        now = time.monotonic()
        for name, wanted in self._wanted.items():
            if now - wanted.since < _PATIENCE_SECONDS or now - wanted.told_at < _TELL_SECONDS:
                continue
            wanted.told_at = now
            purpose = f"to hold the base {name}"
            total, free = self._ray.total(), self._ray.free()
            message = needs.waiting_for(wanted.needs, total, free, purpose)
            with self._reports.database.transaction() as session:
                wanted.told = tell(
                    session,
                    message,
                    JobStatus.QUEUED,
                    Job.base_name == name,
                    after=wanted.told,
                )

    def release_idle(self) -> None:
        """End cohorts that have had no job for the time that the settings say.

        At once where another base waits for what they hold. And those that are still waited for,
        once others of their base have had room for a while.
        """
        for cohort in self:
            if not cohort.ready:
                self._call_off(cohort)
                continue
            since = cohort.idle_since
            if cohort.jobs or since is None:
                continue
            idle = time.monotonic() - since
            if idle > self._settings.cohort_idle_seconds or (
                idle > _PATIENCE_SECONDS and self._is_in_the_way(cohort)
            ):
                log.info("idle cohort released", base=cohort.base_name)
                self.end(cohort)

    def _call_off(self, awaited: RunningCohort) -> None:
        now = time.monotonic()
        if not any(self._has_room(cohort) for cohort in self._of(awaited.base_name)):
            awaited.spare_since = None
        elif awaited.spare_since is None:
            awaited.spare_since = now
        elif now - awaited.spare_since > _PATIENCE_SECONDS:
            log.info("a cohort is not needed any more", base=awaited.base_name)
            self.end(awaited)

    def _is_in_the_way(self, idle: RunningCohort) -> bool:
        now = time.monotonic()
        return any(
            name != idle.base_name
            and now - wanted.since > _PATIENCE_SECONDS
            and wanted.needs is not None
            and set(wanted.needs.missing(self._ray.free())) & {"GPU", "CPU", "memory"}
            for name, wanted in self._wanted.items()
        )

    def end(self, cohort: RunningCohort) -> None:
        """End a cohort's process at once."""
        self.forget(cohort)
        cohort.kill()

    def forget(self, cohort: RunningCohort) -> None:
        """A cohort is gone with its cluster."""
        if cohort in self._cohorts:
            self._cohorts.remove(cohort)
        if not self._of(cohort.base_name):
            self._wanted.pop(cohort.base_name, None)

    def _start(self, base: BaseModel) -> None:
        asked = needs.of_trainer(self._settings, base.name, self._ray.total())
        if not self._of(base.name):
            wanted = self._wanted.setdefault(base.name, _Wanted(time.monotonic(), asked))
            wanted.needs = asked
        if asked is None:
            return
        settings = CohortSettings(
            base_directory=base.source,
            base_digest=base.digest,
            context_length=base.context_length,
            device=self._settings.device,
            threads=self._settings.trainer_threads,
            storage_url=self._settings.storage_url,
            checkpoint_every_steps=self._settings.checkpoint_every_steps,
            quantization=self._settings.base_quantization,
            reporting=Reporting.of(self._settings),
            memory_bytes=self._settings.trainer_memory_bytes,
            gpu_share=self._settings.trainer_gpu_memory,
        )
        self._cohorts.append(RunningCohort.start(base.name, settings, asked))

    def _record(self, cohort: RunningCohort) -> None:
        """Keep what the trainer measured: jobs that could never fit are refused at creation."""
        with self._reports.database.transaction() as session:
            bases.record_trainer(
                session, cohort.base_name, cohort.settings.base_digest, dict(cohort.figures or {})
            )

    def _fail_who_waits(self, cohort: RunningCohort, reason: str) -> None:
        """Fail the jobs that only this cohort could have trained."""
        while True:
            with self._reports.database.transaction() as session:
                lease = queue.claim(
                    session,
                    self._owner,
                    self._settings.lease_seconds,
                    status=JobStatus.QUEUED,
                    bases=[cohort.base_name],
                )
                if lease is None:
                    return
                progress.fail(session, lease, "base_unusable", reason, "model")
