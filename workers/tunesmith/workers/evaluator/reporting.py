"""Data reports of uploaded files, each made in a process of its own.

A report of a large file takes a core for a minute: in a thread it would hold up the evaluations
beside it, and what it takes of memory is given back with its process.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases, data_reports
from tunesmith.platform.claims import Claim
from tunesmith.platform.data_report.finding import Finding, Severity
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import DataReport, File
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.examples import DamagedExamples, read_normalised
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import ObjectNotFound, Storage

log = structlog.get_logger()

_LOOK_SECONDS = 0.2


class ReportImpossible(Exception):
    """There can be no report; the message says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class ReportWork:
    """A file to report on: plain values, for another process."""

    storage_url: str
    examples_key: str
    base_directory: str | None
    context_length: int | None


class Reporting:
    """Makes data reports and stores them."""

    def __init__(self, settings: Settings, database: Database, storage: Storage) -> None:
        self._settings = settings
        self._database = database
        self._storage = storage

    def run(self, claim: Claim, given_up: threading.Event) -> None:
        """Make the report of this claim, unless it is given up on the way.

        Raises:
            ReportImpossible: the file was deleted, or cannot be read any more.
            LeaseLost: it is somebody else's by now.
            StorageUnavailable, Unavailable: to be tried again.
        """
        with self._database.reading() as session:
            file, work = self._work(session, claim)
        content = _in_process(work, given_up)
        if content is None:
            return
        with self._database.transaction() as session:
            data_reports.complete(session, claim, self._storage, file.tenant_id, content)
        log.info("data report written", file_id=file.id, findings=len(content["findings"]))

    def _work(self, session: Session, claim: Claim) -> tuple[File, ReportWork]:
        file = session.scalars(
            select(File)
            .join(DataReport, DataReport.file_id == File.id)
            .where(DataReport.seq == claim.seq)
        ).one()
        if file.deleted_at is not None or file.examples_key is None:
            raise ReportImpossible("file_deleted", f"The file {file.id} was deleted.")
        # Tokens are counted by the one base that there usually is; another counts a little apart.
        known = bases.list_bases(session)
        here = [base for base in known if Path(base.source).is_dir()]
        base = here[0] if here else None
        return file, ReportWork(
            storage_url=self._settings.storage_url,
            examples_key=file.examples_key,
            base_directory=None if base is None else base.source,
            context_length=None if base is None else base.context_length,
        )


def _in_process(work: ReportWork, given_up: threading.Event) -> dict[str, Any] | None:
    # Spawned: a fork would inherit the threads' locks.
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        made = pool.submit(make_report, work)
        while not given_up.is_set():
            try:
                return made.result(timeout=_LOOK_SECONDS)
            except NotYet:
                continue
            except ObjectNotFound as error:
                raise ReportImpossible("file_deleted", "The file was deleted.") from error
            except DamagedExamples as error:
                raise ReportImpossible("damaged_examples", error.message) from error
            except BrokenProcessPool as error:
                raise ReportImpossible(
                    "report_lost",
                    "The process that looked at the examples died, most likely for want of memory."
                    " `tunesmith check FILE` makes the report on another machine.",
                ) from error
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.kill()
        return None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def make_report(work: ReportWork) -> dict[str, Any]:
    """The report as JSON values; runs in a process of its own, which ends with the evaluator."""
    evaluator = multiprocessing.parent_process()
    if evaluator is not None:
        threading.Thread(target=_end_with, args=(evaluator,), daemon=True).start()
    from tunesmith.platform.data_report.report import build_report
    from tunesmith.platform.data_report.tokens import TokenCounter

    tokens, uncounted = None, "no base is registered whose files are on this machine"
    if work.base_directory is not None:
        try:
            tokens = TokenCounter.from_directory(Path(work.base_directory), work.context_length)
        except InvalidRequest as error:
            uncounted = error.message
    storage = Storage(work.storage_url)
    with storage.open_read(work.examples_key) as stream:
        content = build_report(read_normalised(stream), tokens=tokens).as_json()
    if tokens is None:
        content["findings"].append(_not_counted(uncounted))
        content["counts"]["note"] += 1
    return content


def _not_counted(why: str) -> dict[str, Any]:
    return Finding(
        "tokens_not_counted",
        Severity.NOTE,
        f"Tokens were not counted: {why.rstrip('.')}.",
        "The job counts them itself when it reads its files.",
    ).as_json()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    # A pool's process holds both ends of its queue, so it would wait for a killed parent for ever.
    parent.join()
    os._exit(1)
