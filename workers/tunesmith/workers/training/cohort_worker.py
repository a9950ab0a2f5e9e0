"""A cohort at work: one thread drives it, calls from outside are taken up at step boundaries.

Plain Python, so that it can be tested without Ray; `cohort_actor` makes an actor of it.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from structlog.contextvars import bound_contextvars

from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.domain.training import StepMetrics, StoredAdapter
from tunesmith.platform.examples import DamagedExamples
from tunesmith.platform.storage import ObjectNotFound, Storage, StorageFull
from tunesmith.platform.storage.adapters import put_adapter
from tunesmith.platform.tracing import Tracing, trace_id_of
from tunesmith.workers.trainer.adapter import AdapterFiles
from tunesmith.workers.trainer.base import load_base
from tunesmith.workers.trainer.cohort import Cohort
from tunesmith.workers.trainer.errors import DoesNotFit, NoRoomNow, TrainerError
from tunesmith.workers.trainer.render import Renderer
from tunesmith.workers.trainer.report import SlotFailed, StepReport
from tunesmith.workers.trainer.spec import SlotSpec
from tunesmith.workers.training.base_files import BaseChanged, BaseFiles
from tunesmith.workers.training.examples import Examples, ExamplesUnusable, load_examples
from tunesmith.workers.training.held_out import read_lines
from tunesmith.workers.training.parent import read_parent
from tunesmith.workers.training.work import (
    CohortSettings,
    EpochStored,
    Failed,
    Finished,
    Joined,
    NoRoom,
    Noted,
    Probe,
    StateStored,
    Stepped,
    TrainingWork,
    Update,
)

log = logging.getLogger(__name__)

_PROBES = 4

_TOKENS_PER_PASS = {"cpu": 2048, "cuda": 8192}


@dataclass
class _Member:
    work: TrainingWork
    examples: Examples
    probes: list[Probe]
    stored_step: int
    joined_at: float
    joined_step: int
    epoch_began: float


@dataclass(frozen=True)
class _Read:
    """All that a job needs, read from storage."""

    work: TrainingWork
    examples: Examples
    validation: Examples | None
    state: bytes | None
    parent: AdapterFiles | None
    probes: list[Probe]


class CohortWorker:
    """Holds one base and trains the jobs that are handed in.

    Every outcome is an update, in order per job; `updates` hands them over.

    Raises:
        BaseChanged: the directory's digest is not the expected one.
        BaseUnusable: the directory cannot be loaded.
    """

    def __init__(self, settings: CohortSettings, tracing: Tracing | None = None) -> None:
        self._settings = settings
        self._tracing = tracing
        self._base_files = BaseFiles(Path(settings.base_directory), settings.base_digest)
        self._base_files.check()
        self._storage = Storage(settings.storage_url)
        base = load_base(
            settings.base_directory,
            settings.device,
            threads=settings.threads or _cores(),
            context_length=settings.context_length,
            quantization=settings.quantization,
        )
        self._renderer = Renderer.of(base)
        self._cohort = Cohort(
            base,
            tokens_per_pass=_TOKENS_PER_PASS.get(base.device.type, 2048),
            memory_bytes=settings.memory_bytes,
            gpu_share=settings.gpu_share,
        )
        self._members: dict[str, _Member] = {}
        self._dropped: set[str] = set()
        self._lock = threading.Lock()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._updates: deque[Update] = deque()
        self._has_updates = threading.Condition()
        self._stopping = False
        self._broken: Exception | None = None
        # One thread stores, so that what is stored of a job keeps its order.
        self._storing = ThreadPoolExecutor(1, "store")
        self._reading = ThreadPoolExecutor(2, "read")
        self._thread = threading.Thread(target=self._train, name="train", daemon=True)
        self._thread.start()

    # What others call

    def figures(self) -> dict[str, Any]:
        """What admission goes by, as JSON values: for checks before a job gets here."""
        memory = self._cohort.memory
        return {
            "slot_bytes": memory.capacity,
            "token_bytes": memory.token_bytes,
            "recomputed_token_bytes": memory.recomputed_token_bytes,
            "logits_bytes": memory.logits_bytes,
            "device": self._cohort.base.device.type,
        }

    def join(self, work: TrainingWork) -> None:
        """Take a job in; `Joined` or `Failed` follows."""
        with self._lock:
            self._dropped.discard(work.job_id)
        ids = {"job_id": work.job_id}
        if work.traceparent is not None:
            ids["trace_id"] = trace_id_of(work.traceparent)
        log.info("job handed in", extra=ids)
        self._reading.submit(self._guarded(work.job_id, lambda: self._read(work)))

    def leave(self, job_id: str) -> None:
        """Store the job's state and let it go; `StateStored` with `left` follows."""
        self._commands.put(lambda: self._leave(job_id))

    def drop(self, job_id: str) -> None:
        """Let a job go without a word: it was cancelled, or is somebody else's now."""
        with self._lock:
            self._dropped.add(job_id)
        self._commands.put(lambda: self._remove(job_id))

    def updates(self, timeout: float) -> list[Update]:
        """What happened since the last call; waits up to `timeout` seconds for something.

        Raises:
            RuntimeError: the cohort as a whole broke; its jobs have to go on elsewhere.
        """
        with self._has_updates:
            self._has_updates.wait_for(lambda: bool(self._updates or self._broken), timeout)
            if self._broken is not None:
                raise RuntimeError(f"The cohort broke: {self._broken}") from self._broken
            happened = list(self._updates)
            self._updates.clear()
        return happened

    def stop(self) -> None:
        """Store the states of all jobs and end; `StateStored` with `left` follows for each."""

        def stop_all() -> None:
            for job_id in list(self._members):
                self._leave(job_id)
            self._stopping = True

        self._commands.put(stop_all)
        self._thread.join()
        self._storing.shutdown(wait=True)

    # The training thread

    def _train(self) -> None:
        try:
            self._train_until_stopped()
        except Exception as error:  # a thread's death would not be seen from outside
            log.exception("the cohort broke")
            with self._has_updates:
                self._broken = error
                self._has_updates.notify_all()

    def _train_until_stopped(self) -> None:
        while not self._stopping:
            idle = self._cohort.idle
            self._take_commands(wait=0.5 if idle else 0.0)
            if self._stopping or self._cohort.idle:
                continue
            for report in self._cohort.step():
                if isinstance(report, SlotFailed):
                    self._slot_failed(report)
                else:
                    self._slot_stepped(report)

    def _take_commands(self, wait: float) -> None:
        try:
            command = self._commands.get(timeout=wait) if wait else self._commands.get_nowait()
            while True:
                command()
                command = self._commands.get_nowait()
        except queue.Empty:
            return

    def _slot_stepped(self, report: StepReport) -> None:
        member = self._members[report.slot]
        self._emit(Stepped(report.slot, _metrics(report), _remaining(member, report)))
        if report.stopped_early:
            patience = member.work.recipe["patience"]
            text = (
                f"Stopped early at step {report.step} of {report.total_steps}: {patience}"
                f" validations in a row were no better than the one at step {report.best_step}."
            )
            self._emit(Noted(report.slot, text))
        if report.finished and report.best_step not in {None, report.step}:
            text = (
                f"The result is the adapter of step {report.best_step}, where the validation loss"
                " was lowest."
            )
            if member.work.recipe.get("keep_best"):
                self._emit(Noted(report.slot, text))
        if report.finished or report.epoch_ended:
            self._trace("epoch", member.work, member.epoch_began, step=report.step)
            member.epoch_began = time.time()
        if report.finished:
            # The last epoch is a checkpoint too, and its state lets a lost dispatcher's successor
            # finish without training anything again.
            self._store_epoch(report)
            self._store_state(member, report.step)
            self._finish(member, report.trained_tokens)
            return
        if report.epoch_ended:
            self._store_epoch(report)
        every = self._settings.checkpoint_every_steps
        if report.epoch_ended or report.step - member.stored_step >= every:
            self._store_state(member, report.step)

    def _slot_failed(self, failure: SlotFailed) -> None:
        member = self._members.pop(failure.slot)
        where = f"step {failure.step}"
        if failure.example is not None:
            where += f", line {member.examples.lines[failure.example]} of the training file"
        code = "out_of_memory" if failure.out_of_memory else "training_failed"
        self._emit(Failed(failure.slot, code, f"{failure.reason} ({where})"))

    def _store_epoch(self, report: StepReport) -> None:
        job_id, files = report.slot, self._cohort.adapter(report.slot)
        rank = self._members[job_id].work.recipe["rank"]

        def store() -> None:
            self._emit(EpochStored(job_id, self._put(files, rank), _metrics(report)))

        self._store(job_id, store)

    def _store_state(self, member: _Member, step: int, *, left: bool = False) -> None:
        job_id, state = member.work.job_id, self._cohort.state(member.work.job_id)
        key = f"{member.work.state_prefix}/step-{step:08d}.safetensors"
        member.stored_step = step

        def store() -> None:
            self._storage.put(key, state.to_bytes())
            self._emit(StateStored(job_id, key, step, left))

        self._store(job_id, store)

    def _finish(self, member: _Member, trained_tokens: int) -> None:
        work, files = member.work, self._cohort.adapter(member.work.job_id, best=True)
        self._remove(work.job_id)

        def store() -> None:
            result = self._put(files, work.recipe["rank"])
            self._emit(Finished(work.job_id, result, trained_tokens, member.probes))

        self._store(work.job_id, store)

    def _leave(self, job_id: str) -> None:
        member = self._members.get(job_id)
        if member is None:
            return
        self._store_state(member, self._cohort.progress(job_id).step, left=True)
        self._remove(job_id)

    def _remove(self, job_id: str) -> None:
        if self._members.pop(job_id, None) is not None:
            self._cohort.leave(job_id)

    def _enter(self, read: _Read) -> None:
        work, examples, probes = read.work, read.examples, read.probes
        with self._lock:
            if work.job_id in self._dropped:
                return
        self._remove(work.job_id)
        spec = SlotSpec.of(work.recipe, name=work.job_id, seed=work.seed)
        progress = self._cohort.join(
            spec,
            examples.items,
            read.validation.items if read.validation else None,
            state=read.state,
            initial_adapter=read.parent,
        )
        member = _Member(
            work, examples, probes, progress.step, time.monotonic(), progress.step, time.time()
        )
        self._members[work.job_id] = member
        self._emit(Joined(work.job_id, progress.step, progress.total_steps))
        if progress.finished:
            self._finish(member, progress.trained_tokens)

    # The reading and the storing threads

    def _trace(self, name: str, work: TrainingWork, since: float, **steps: int) -> None:
        """Write down what was done for a job since `since`, where it is traced."""
        if self._tracing is not None:
            attributes = {"tunesmith.job_id": work.job_id}
            numbers = {f"tunesmith.{key}": value for key, value in steps.items()}
            self._tracing.record(
                name, work.traceparent, since, time.time(), {**attributes, **numbers}
            )

    def _read(self, work: TrainingWork) -> None:
        began = time.time()

        def dropped() -> bool:
            with self._lock:
                return self._stopping or work.job_id in self._dropped

        self._base_files.check()
        examples = load_examples(self._storage, work.training_key, self._renderer, dropped)
        validation = (
            load_examples(self._storage, work.validation_key, self._renderer, dropped)
            if work.validation_key
            else None
        )
        if validation is None and work.held_out_key:
            examples, validation = examples.split(read_lines(self._storage, work.held_out_key))
        state = self._storage.get(work.resume_key) if work.resume_key else None
        parent = read_parent(self._storage, work.parent_digest) if work.parent_digest else None
        probes = [_probe(self._renderer, example) for example in examples.first[:_PROBES]]
        read = _Read(work, examples, validation, state, parent, probes)
        self._trace("read examples", work, began)
        self._commands.put(self._guarded(work.job_id, lambda: self._enter(read)))

    def _put(self, files: AdapterFiles, rank: int) -> StoredAdapter:
        digest = put_adapter(self._storage, files.files)
        return StoredAdapter(digest, rank, sum(len(content) for content in files.files.values()))

    def _store(self, job_id: str, action: Callable[[], None]) -> Future[None]:
        return self._storing.submit(self._guarded(job_id, action))

    def _guarded(self, job_id: str, action: Callable[[], None]) -> Callable[[], None]:
        """`action`, whose failure is the job's and nobody else's."""

        def guarded() -> None:
            with self._lock:
                if job_id in self._dropped:
                    return
            try:
                with bound_contextvars(job_id=job_id):
                    action()
            except InterruptedError:
                return
            except ExamplesUnusable as error:
                self._fail(job_id, "invalid_training_file", f"An example cannot be used: {error}.")
            except (ObjectNotFound, DamagedExamples) as error:
                self._fail(job_id, "file_deleted", f"What the job needs is gone: {error}")
            except StorageFull as error:
                self._fail(job_id, "storage_full", str(error))
            except BaseChanged as error:
                self._fail(job_id, "base_changed", str(error))
            except NoRoomNow as error:
                self.drop(job_id)
                self._emit(NoRoom(job_id, str(error)))
            except DoesNotFit as error:
                self._fail(job_id, "does_not_fit", f"The job cannot be trained here: {error}")
            except TrainerError as error:
                self._fail(job_id, "training_failed", str(error))
            except TunesmithError as error:
                self._fail(job_id, error.code or "storage_unavailable", str(error))
            except Exception as error:  # the cohort's other jobs go on
                log.exception("job failed", extra={"job_id": job_id})
                kind = type(error).__name__
                self._fail(job_id, "internal_error", f"The trainer failed: {kind}: {error}")

        return guarded

    def _fail(self, job_id: str, code: str, message: str) -> None:
        self.drop(job_id)
        self._emit(Failed(job_id, code, message))

    def _emit(self, update: Update) -> None:
        with self._has_updates:
            self._updates.append(update)
            self._has_updates.notify_all()


def _cores() -> int:
    """The physical cores that this process may use, but one, which the platform's others need.

    Said to torch, since Ray gives an actor OMP_NUM_THREADS by the CPUs that it asked for: one.
    Where engine and gateway take turns on a trainer's core, its other threads wait at every
    kernel: on two cores, two threads were no faster than one, and at times several times slower.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed) - 1)


def _probe(renderer: Renderer, example: dict[str, Any]) -> Probe:
    """The prompt before the example's last assistant message, or that of a preference."""
    messages = example["messages"]
    if "preferred" in example:
        return Probe(messages, example["tools"], renderer.prompt_ids(messages, example["tools"]))
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    prompt = messages[:last]
    return Probe(prompt, example["tools"], renderer.prompt_ids(prompt, example["tools"]))


def _metrics(report: StepReport) -> StepMetrics:
    validation = report.validation
    loss = None if validation is None else validation.loss
    accuracy = None if validation is None else validation.mean_token_accuracy
    return StepMetrics(
        step=report.step,
        total_steps=report.total_steps,
        train_loss=report.loss,
        train_mean_token_accuracy=report.mean_token_accuracy,
        # Every validation is over the whole set.
        valid_loss=loss,
        valid_mean_token_accuracy=accuracy,
        full_valid_loss=loss,
        full_valid_mean_token_accuracy=accuracy,
        learning_rate=report.learning_rate,
        grad_norm=report.grad_norm,
        tokens=report.tokens,
        tokens_per_second=report.tokens / report.seconds if report.seconds else None,
        padding_share=1 - report.tokens / report.padded_tokens,
        reward_margin=report.reward_margin,
        reward_accuracy=report.reward_accuracy,
    )


def _remaining(member: _Member, report: StepReport) -> float:
    """Seconds until the last step, by this job's pace in this cohort so far."""
    done = report.step - member.joined_step
    pace = (time.monotonic() - member.joined_at) / max(done, 1)
    return pace * (report.total_steps - report.step)
