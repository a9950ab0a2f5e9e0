"""From a trained adapter to a model that its tenant can use."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from tunesmith.platform import adapters, files
from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import LeaseLost, TunesmithError
from tunesmith.platform.domain.job import EventLevel, JobStatus
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.storage import Storage
from tunesmith.workers.dispatcher.proof import (
    EngineUnreachable,
    Proof,
    ProofFailed,
    prove,
    serves,
)
from tunesmith.workers.training.work import Finished, Probe

log = structlog.get_logger()

_RETRY_SECONDS = 1.0


class AdapterGone(TunesmithError):
    """An equal adapter was deleted, files and all, between training and publishing."""


class Publisher:
    """Proves a finished adapter on the engines, stores the result file, completes the job.

    Args:
        engines: base URLs of the engines.
        authorities: file of those that sign the certificates of engines at https.
        wait_seconds: how long an engine that does not answer is waited for.
        stopping: asked while it waits; the job is then left for the next dispatcher.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        engines: list[str],
        *,
        authorities: Path | None = None,
        wait_seconds: float,
        stopping: Callable[[], bool],
    ) -> None:
        self._database = database
        self._storage = storage
        self._engines = engines
        self._authorities = authorities
        self._wait_seconds = wait_seconds
        self._stopping = stopping

    def publish(self, lease: queue.Lease, finished: Finished) -> None:
        """Make the model visible, or fail the job with what is wrong. Safe to do again.

        Raises:
            LeaseLost: the job is somebody else's now, or was cancelled.
        AdapterGone: the job has to go on from its last state, which makes the adapter again.
            StorageUnavailable, Unavailable: to be tried again.
        """
        with self._database.transaction() as session:
            job = queue.leased_job(session, lease)
            base_name, tenant_id = job.base_name, job.tenant_id
            name = progress.tuned_name(session, job)
            table = progress.result_csv(session, job.id)
        try:
            note, level = self._prove_everywhere(
                base_name, finished.adapter.digest, finished.probes
            )
        except ProofFailed as failure:
            with self._database.transaction() as session:
                progress.fail(session, lease, failure.code, failure.message)
            return
        if self._stopping():
            return
        stored = self._store_table(tenant_id, table)
        adapter = finished.adapter
        with self._database.transaction() as session:
            job = queue.leased_job(session, lease)
            if job.status != JobStatus.RUNNING:
                raise LeaseLost(f"Job {job.id} is {job.status}.")
            if not adapters.hold_stored(session, self._storage, adapter.digest):
                raise AdapterGone(
                    "the adapter's files were deleted with an equal model; they are made again"
                )
            queue.note(session, lease, note, level)
            file = files.add_file(
                session,
                tenant_id,
                stored,
                filename=f"{job.id}-results.csv",
                purpose="fine-tune-results",
            )
            progress.complete(
                session,
                lease,
                adapter,
                model_name=name,
                trained_tokens=finished.trained_tokens,
                result_file=file.id,
            )
        log.info("model published", job_id=lease.job_id, model=name, digest=adapter.digest)

    def _store_table(self, tenant_id: str, table: bytes) -> files.StoredFile:
        digest = hashlib.sha256(table).hexdigest()
        key = files.original_key(tenant_id, digest)
        self._storage.put(key, table)
        return files.StoredFile(key, len(table), digest)

    def _prove_everywhere(
        self, base_name: str, digest: str, probes: list[Probe]
    ) -> tuple[str, EventLevel]:
        """The sentence for the job's events."""
        proofs: list[Proof] = []
        silent: list[str] = []
        for engine in self._engines:
            try:
                proof = self._prove(engine, base_name, digest, probes)
            except EngineUnreachable as error:
                silent.append(str(error))
                continue
            if proof is not None:
                proofs.append(proof)
        if silent or not proofs:
            why = "; ".join(silent) or f"no engine serves {base_name}"
            return f"The adapter could not be tried on every engine: {why}.", EventLevel.WARN
        shift = max(proof.largest_shift for proof in proofs)
        return (
            f"Proved on {len(proofs)} engine(s): {proofs[0].tokens} prompt tokens are rendered as"
            f" in training, and the adapter shifts the next token's log-probability by up to"
            f" {shift:.2g}.",
            EventLevel.INFO,
        )

    def _prove(self, engine: str, base_name: str, digest: str, probes: list[Probe]) -> Proof | None:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                if not serves(engine, base_name, authorities=self._authorities):
                    return None
                return prove(engine, base_name, digest, probes, authorities=self._authorities)
            except EngineUnreachable:
                if time.monotonic() > deadline or self._stopping():
                    raise
                time.sleep(_RETRY_SECONDS)
