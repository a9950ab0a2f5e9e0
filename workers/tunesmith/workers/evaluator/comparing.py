"""One evaluation, from its claim to its verdict."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases
from tunesmith.platform.claims import Claim
from tunesmith.platform.data_report.table import Table
from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Evaluation, Job, JobEvent
from tunesmith.platform.domain.errors import TunesmithError, Unavailable
from tunesmith.platform.evaluations import results
from tunesmith.platform.examples import DamagedExamples, Example, read_normalised
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import ObjectNotFound, Storage
from tunesmith.platform.tracing import Tracing, trace_id_of
from tunesmith.workers.evaluator.answering import Item, items_of
from tunesmith.workers.evaluator.engine_client import (
    EngineClient,
    EngineRefused,
    EngineUnreachable,
)
from tunesmith.workers.evaluator.forgetting import ProbeCache, look_for_forgetting
from tunesmith.workers.evaluator.grading.judge import HttpJudge
from tunesmith.workers.evaluator.probes import load_probes
from tunesmith.workers.evaluator.scores import (
    LIKELIHOODS,
    Scored,
    score_chats,
    score_preferences,
    spread,
)
from tunesmith.workers.evaluator.statistics.verdict import FEWEST_PAIRS

log = structlog.get_logger()

_LOOK_SECONDS = 0.2
_TELL_SECONDS = 1.0
_ENGINE_PATIENCE_SECONDS = 60.0
T = TypeVar("T")


class EvaluationImpossible(Exception):
    """There can be no verdict; the message says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class _Examples:
    """What is measured on. `left_out` were too like one that was trained on."""

    items: list[Item]
    left_out: int


class Comparing:
    """Compares two models and writes down what came of it.

    Args:
        judge_failed: called when the judge gave no answer that can be used.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        *,
        tracing: Tracing | None = None,
        judge_failed: Callable[[], None] | None = None,
    ) -> None:
        self._tracing = tracing
        self._judge_failed = judge_failed
        self._settings = settings
        self._database = database
        self._storage = storage

    def run(self, claim: Claim, given_up: threading.Event) -> None:
        """Do the evaluation of this claim, unless it is given up on the way.

        Raises:
            EvaluationImpossible: its examples are gone, or the engine refuses a model.
            LeaseLost: it was canceled, or is somebody else's by now.
            StorageUnavailable, Unavailable: to be tried again.
        """
        with self._database.reading() as session:
            row = session.scalars(select(Evaluation).where(Evaluation.seq == claim.seq)).one()
            base = bases.find_base(session, row.base_name)
            events = _metrics_of(session, row.job_id)
            chosen_among = _chosen_among(session, row)
            traceparent = _traceparent_of(session, row.job_id)
        assert base is not None, "an evaluation's base is registered"
        began = time.time()
        log.info(
            "evaluation taken up",
            evaluation=row.id,
            job_id=row.job_id,
            tenant_id=row.tenant_id,
            **({} if traceparent is None else {"trace_id": trace_id_of(traceparent)}),
        )
        try:
            verdict = self._evaluate(
                claim, given_up, row, base.digest, events=events, chosen_among=chosen_among
            )
        except Exception as error:
            self._trace(row, traceparent, began, error=str(error))
            raise
        self._trace(row, traceparent, began, error=None if verdict else "given up")

    def _trace(
        self, row: Evaluation, traceparent: str | None, began: float, *, error: str | None
    ) -> None:
        if self._tracing is not None:
            attributes = {"tunesmith.evaluation_id": row.id, "tunesmith.tenant_id": row.tenant_id}
            if row.job_id is not None:
                attributes["tunesmith.job_id"] = row.job_id
            self._tracing.record(
                "evaluate", traceparent, began, time.time(), attributes, error=error
            )

    def _evaluate(
        self,
        claim: Claim,
        given_up: threading.Event,
        row: Evaluation,
        base_digest: str,
        *,
        events: list[dict[str, Any]],
        chosen_among: str | None,
    ) -> str | None:
        """The verdict; None where it was given up."""
        examples = self._examples(row)
        try:
            outcome = asyncio.run(
                _unless_given_up(self._compare(row, base_digest, examples, claim), given_up)
            )
        except EngineUnreachable as error:
            raise Unavailable(str(error), code="engine_unavailable") from error
        except EngineRefused as error:
            raise EvaluationImpossible("engine_refused", str(error)) from error
        if outcome is None:
            return None
        scored, forgetting = outcome
        result = scored.result | {
            "examples": len(examples.items),
            "left_out": examples.left_out,
            "selection": chosen_among,
            "forgetting": forgetting,
        }
        items = results.store_items(self._storage, row, scored.items)
        self._storage.put(
            results.report_key(row.tenant_id, row.id),
            self._page(row, result, scored, events).encode(),
        )
        with self._database.transaction() as session:
            results.complete(session, claim, result=result, items=items, error=scored.lack)
        log.info("evaluated", evaluation=row.id, job_id=row.job_id, verdict=result["verdict"])
        return str(result["verdict"])

    def _examples(self, row: Evaluation) -> _Examples:
        source = row.request["source"]
        if source["type"] == "none":
            return _Examples([], 0)
        examples = self._read(source["examples_key"], "examples to measure on")
        left_out: set[int] = set()
        if source["type"] != "held_out" and source.get("training_key"):
            from tunesmith.platform.data_report.leakage import leaked_rows

            try:
                trained = Table.of(self._read(source["training_key"], "training examples"))
            except EvaluationImpossible:
                trained = None  # deleted: what was trained on cannot be told any more
            if trained is not None:
                exact, near = leaked_rows(trained, Table.of(examples))
                left_out = exact.keys() | near.keys()
        kept = [example for place, example in enumerate(examples) if place not in left_out]
        return _Examples(items_of(kept, limit=self._settings.evaluation_examples), len(left_out))

    def _read(self, key: str, what: str) -> list[Example]:
        try:
            with self._storage.open_read(key) as stream:
                return list(read_normalised(stream))
        except ObjectNotFound as error:
            raise EvaluationImpossible("file_deleted", f"The {what} were deleted.") from error
        except DamagedExamples as error:
            raise EvaluationImpossible("damaged_examples", error.message) from error

    async def _compare(
        self, row: Evaluation, base_digest: str, examples: _Examples, claim: Claim
    ) -> tuple[Scored, dict[str, Any] | None]:
        baseline = row.baseline_digest or row.base_name
        candidate = row.candidate_digest or row.base_name
        request = row.request
        # Where no verdict is possible, the engines' time is better spent on users.
        probed = request["probes"] and len(examples.items) >= FEWEST_PAIRS
        probes = 2 * len(load_probes()) if probed else 0
        likely = len(spread(examples.items, LIKELIHOODS))
        total = 2 * (len(examples.items) + likely) + probes
        progress = _Progress(self._database, claim, total)
        key = self._settings.judge_key
        judge = (
            HttpJudge(
                self._settings.judge_url,
                key.get_secret_value() if key else None,
                failed=self._judge_failed,
            )
            if self._settings.judge_url
            else None
        )
        async with EngineClient(
            self._settings.engines,
            row.base_name,
            concurrency=self._settings.evaluation_concurrency,
            patience=_ENGINE_PATIENCE_SECONDS,
            authorities=self._settings.engine_ca_file,
        ) as client:
            items = examples.items
            preferences = bool(items) and items[0].rejected is not None
            bar = request["minimum_relative_improvement"]
            if preferences:
                scored = await score_preferences(
                    client, (baseline, candidate), items, bar=bar, on_answer=progress.one
                )
            else:
                scored = await score_chats(
                    client,
                    (baseline, candidate),
                    items,
                    bar=bar,
                    grader=request.get("grader"),
                    judge=judge,
                    on_answer=progress.one,
                )
            forgetting = None
            if probed:
                found = await look_for_forgetting(
                    client,
                    baseline,
                    candidate,
                    limit=request["maximum_forgetting"],
                    cache=ProbeCache(self._storage, base_digest)
                    if row.baseline_digest is None
                    else None,
                    on_answer=progress.one,
                )
                forgetting = found.as_json()
        return scored, forgetting

    def _page(
        self, row: Evaluation, result: dict[str, Any], scored: Scored, events: list[dict[str, Any]]
    ) -> str:
        from tunesmith.workers.evaluator.html_report import render_html

        source = row.request["source"]
        shown = {
            "id": row.id,
            "name": row.name,
            "status": "incomplete" if scored.lack else "completed",
            "model": row.candidate_model,
            "baseline": row.baseline_model,
            "job": row.job_id,
            "data_source": {
                "type": source["type"],
                "file_id": source.get("file_id"),
                "examples": result["examples"],
                "left_out": result["left_out"],
            },
            "created_at": int(row.created_at),
            "finished_at": int(time.time()),
            "result": result,
            "error": scored.lack,
        }
        return render_html(shown, scored.items, events)


class _Progress:
    """Writes down now and then how far an evaluation is."""

    def __init__(self, database: Database, claim: Claim, total: int) -> None:
        self._database = database
        self._claim = claim
        self._total = total
        self._done = 0
        self._told = time.monotonic()

    def one(self) -> None:
        """One more answer is there."""
        self._done += 1
        if time.monotonic() - self._told < _TELL_SECONDS:
            return
        self._told = time.monotonic()
        done = min(self._done, self._total)
        try:
            with self._database.transaction() as session:
                results.record_progress(session, self._claim, done, self._total)
        except TunesmithError as error:  # only a figure: the next one will do
            log.warning("progress not written", why=error.message)


def _chosen_among(session: Session, row: Evaluation) -> str | None:
    """What is to be said where the adapter was chosen by the loss on these very examples."""
    if row.job_id is None or row.request["source"]["type"] not in ("validation_file", "held_out"):
        return None
    job = session.scalars(select(Job).where(Job.id == row.job_id)).one()
    epochs = job.hyperparameters.get("n_epochs")
    if not isinstance(epochs, int) or epochs < 2:
        return None
    return (
        f"Of {epochs} epochs the one with the lowest loss on these examples was kept, which"
        " flatters the model a little. Give the job an `evaluation.file` for a figure without that."
    )


def _traceparent_of(session: Session, job_id: str | None) -> str | None:
    if job_id is None:
        return None
    return session.scalars(select(Job.traceparent).where(Job.id == job_id)).one()


def _metrics_of(session: Session, job_id: str | None) -> list[dict[str, Any]]:
    if job_id is None:
        return []
    query = (
        select(JobEvent.data)
        .where(JobEvent.job_id == job_id, JobEvent.step.is_not(None))
        .order_by(JobEvent.step)
    )
    return [data for data in session.scalars(query) if data]


async def _unless_given_up(work: Coroutine[Any, Any, T], given_up: threading.Event) -> T | None:
    """The result of `work`, or None when it was given up first."""
    task = asyncio.create_task(work)
    while not task.done():
        if given_up.is_set():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        await asyncio.wait({task}, timeout=_LOOK_SECONDS)
    return task.result()
