"""Slots that train side by side on one resident base, joining and leaving at step boundaries."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from .adapter import AdapterFiles
from .base import Base
from .checkpoint import SlotState
from .errors import HyperparameterInvalid, SlotExists, SlotUnknown
from .joining import check_items, continue_from
from .lora import ResidentAdapters, initialise, target_suffixes
from .memory import Memory, Need
from .passes import deterministic, recomputing, score
from .render import Item
from .report import Report, SlotFailed, SlotProgress
from .slot import Phase, Slot
from .spec import SlotSpec

log = logging.getLogger(__name__)

_SCORING_SHARE = 0.5
"""What a scored token costs beside a trained one: the forward half of the work."""

_CHUNK_TOKENS = {"cpu": 512, "cuda": 4096}
"""Small enough to be fair by, large enough for matrix kernels to be at their speed."""


@dataclass(eq=False)
class _Place:
    """A slot's account in the cohort.

    Attributes:
        served: cost of what was computed for it, in trained tokens.
        number: order of joining.
        recomputes: whether its passes use gradient checkpointing.
        alone: whether it shares no pass until its batch is complete, since a shared one failed.
    """

    slot: Slot
    need: Need
    served: float
    number: int
    recomputes: bool
    alone: bool = False


_Chosen = list[tuple[_Place, tuple[int, ...]]]
"""A pass: chunks of batches, each with the place whose it is."""


class Cohort:
    """Holds one base and its slots. Not thread-safe: one thread drives it.

    Args:
        base: the resident base; its linear layers are wrapped for as long as it lives.
        tokens_per_pass: about how many tokens one call of `step` computes: the granularity at
            which slots can join, leave and be cancelled. Fewer where the memory is small.
        memory_bytes: for slots and passes beside the base; None for most of what is free now.
        gpu_share: of a GPU's memory that base, slots and passes may take together.
    """

    def __init__(
        self,
        base: Base,
        *,
        tokens_per_pass: int = 2048,
        memory_bytes: int | None = None,
        gpu_share: float = 1.0,
    ) -> None:
        if tokens_per_pass < 1:
            raise HyperparameterInvalid("tokens_per_pass", tokens_per_pass, "at least 1")
        self.base = base
        self._adapters = ResidentAdapters(base)
        with deterministic(base.device):
            self.memory = Memory.measured(base, self._adapters, memory_bytes, gpu_share)
        self._tokens_per_pass = self.memory.tokens_per_pass(tokens_per_pass)
        self._places: dict[str, _Place] = {}
        self._numbers = itertools.count()

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in order of joining."""
        return tuple(self._places)

    @property
    def idle(self) -> bool:
        """Whether no slot has work left."""
        return all(place.slot.finished for place in self._places.values())

    def join(
        self,
        spec: SlotSpec,
        rows: Sequence[Item],
        validation_rows: Sequence[Item] | None = None,
        *,
        state: SlotState | bytes | None = None,
        initial_adapter: AdapterFiles | None = None,
    ) -> SlotProgress:
        """Add a slot; it takes part from the next `step` on. On error nothing is left behind.

        Args:
            spec: the slot's hyperparameters; its name is new to the cohort.
            rows: training rows (pairs for DPO), each row within the context and with a learned
                token.
            validation_rows: scored as a whole at the end of each epoch.
            state: where to go on, of a slot with the same spec and data.
            initial_adapter: earlier adapter to continue from, of the same rank, alpha and targets;
                when `state` is given, it holds the weights.

        Returns:
            Where the slot stands: at its beginning, or at its state's step.

        Raises:
            SlotExists: the name is taken.
            HyperparameterInvalid: no rows, one that can't be trained on, or a target that the base
                doesn't have.
            DoesNotFit: the device could not hold it alone.
            NoRoomNow: it can't beside the slots that are there; try again when one has left.
            AdapterInvalid: `initial_adapter` doesn't fit the base or the spec.
            StateCorrupt, StateMismatch: `state` is damaged or belongs to something else.
        """
        if spec.name in self._places:
            raise SlotExists(f"slot {spec.name!r} is in the cohort already")
        validation_rows = validation_rows or ()
        check_items(spec, rows, validation_rows, self.base)
        if isinstance(state, bytes):
            state = SlotState.from_bytes(state)
        targets = target_suffixes(self.base.shape, spec.target_modules)
        longest = max(len(item) for item in itertools.chain(rows, validation_rows))
        need = self.memory.need(self.base.shape, spec.rank, targets, longest)
        present = [place.need for place in self._places.values()]
        self.memory.admit(need, present, self._tokens_per_pass)
        adapter = self._adapters.attach(spec.rank, spec.alpha, spec.dropout, targets)
        if initial_adapter is not None:
            continue_from(initial_adapter, adapter, self.base)
        else:
            initialise(adapter, spec.seed)
        slot = Slot(
            self.base,
            self._adapters,
            adapter,
            spec,
            items=rows,
            validation_items=validation_rows,
            continued=initial_adapter is not None,
            chunk_tokens=self._chunk_tokens,
        )
        if state is not None:
            slot.restore(state)
        # A newcomer owes nothing and is owed nothing: it starts level with whoever got least.
        served = min((place.served for place in self._running()), default=0.0)
        self._places[spec.name] = _Place(slot, need, served, next(self._numbers), need.recomputes)
        return slot.progress

    def step(self) -> list[Report]:
        """Compute one pass of about `tokens_per_pass` tokens; report the steps that completed.

        A pass carries rows of several slots. Each next row is of the slot that has been served
        least (fair queueing by tokens); when that slot's batch is complete, the pass is full, so
        that it can take its optimizer step: nobody waits for a neighbour's batch or long rows. A
        slot that fails leaves the cohort with a `SlotFailed`; the others don't notice. When the
        device runs out of memory, the pass's slots start their batches again one by one, the one
        at fault with smaller passes.

        Raises:
            torch.AcceleratorError: the device is lost; start anew from the slots' states.
        """
        chosen = self._fill()
        if not chosen:
            return []
        started = time.perf_counter()
        with deterministic(self.base.device):
            try:
                self._compute(chosen)
                complete, values = self._settle(place for place, _ in chosen)
            except torch.AcceleratorError:
                raise
            except (RuntimeError, IndexError, MemoryError) as error:
                return self._after_failure(chosen, error)
            self._share_time(chosen, time.perf_counter() - started)
            return self._conclude(complete, values)

    def state(self, name: str) -> SlotState:
        """The slot's complete state after its last optimizer step.

        Raises:
            SlotUnknown: no such slot.
        """
        return self._slot(name).state()

    def adapter(self, name: str, *, best: bool = False) -> AdapterFiles:
        """The slot's adapter after its last optimizer step.

        Args:
            best: the one with the lowest validation loss instead, where the spec keeps it.

        Raises:
            SlotUnknown: no such slot.
        """
        return self._slot(name).export(best=best)

    def progress(self, name: str) -> SlotProgress:
        """Where the slot stands.

        Raises:
            SlotUnknown: no such slot.
        """
        return self._slot(name).progress

    def leave(self, name: str) -> None:
        """Take a slot out, finished or not, and free what it held.

        Raises:
            SlotUnknown: no such slot.
        """
        self._slot(name)
        del self._places[name]

    @property
    def _chunk_tokens(self) -> int:
        if not self.base.packs:
            return 1  # one item at a time
        return min(self._tokens_per_pass, _CHUNK_TOKENS.get(self.base.device.type, 512))

    def _slot(self, name: str) -> Slot:
        if name not in self._places:
            raise SlotUnknown(f"no slot {name!r} in the cohort")
        return self._places[name].slot

    def _running(self) -> list[_Place]:
        return [place for place in self._places.values() if not place.slot.finished]

    def _fill(self) -> _Chosen:
        """Choose the next pass: places, each with a chunk of its batch, perhaps several times."""
        running = self._running()
        if not running:
            return []
        first = min(running, key=_order)
        training = first.slot.phase is Phase.TRAINING
        chosen: _Chosen = []
        room = self._tokens_per_pass
        while True:
            place = min(running, key=_order)
            tokens = place.slot.next_tokens
            shares = self.base.packs and not (first.alone or place.alone)
            if not tokens or (place.slot.phase is Phase.TRAINING) != training:
                break
            if chosen and (tokens > room or not shares or place.recomputes != first.recomputes):
                break
            chosen.append((place, place.slot.take()))
            room -= tokens
            place.served += tokens * (1.0 if training else _SCORING_SHARE)
        return chosen

    def _compute(self, chosen: _Chosen) -> None:
        """Forward and, in training, backward."""
        training = chosen[0][0].slot.phase is Phase.TRAINING
        works = [place.slot.work(chunk) for place, chunk in chosen]
        with (
            torch.set_grad_enabled(training),
            recomputing(self.base, training and chosen[0][0].recomputes),
        ):
            scores, parts = score(self.base, self._adapters, works)
            losses = [
                place.slot.absorb(chunk, each)
                for (place, chunk), each in zip(chosen, scores, strict=True)
            ]
            if training:
                # Rows of different slots never meet, so the sum's gradient is each one's own.
                with self._adapters.routed(parts):
                    torch.stack([loss for loss in losses if loss is not None]).sum().backward()  # type: ignore[no-untyped-call]

    @staticmethod
    def _settle(places: Iterable[_Place]) -> tuple[list[_Place], list[list[float]]]:
        """The places whose batches are complete, and what `Slot.settle` found of each."""
        complete = [place for place in dict.fromkeys(places) if place.slot.complete]
        if not complete:
            return [], []
        # One transfer for all: each is a wait for the device.
        return complete, torch.stack([place.slot.settle() for place in complete]).tolist()

    def _conclude(self, complete: list[_Place], values: list[list[float]]) -> list[Report]:
        """Take the optimizer steps and end the validations of complete batches."""
        reports: list[Report] = []
        for place, each in zip(complete, values, strict=True):
            place.alone = False
            report = self._conclude_one(place.slot, each)
            if report is not None:
                reports.append(report)
            if isinstance(report, SlotFailed):
                self.leave(report.slot)
        return reports

    @staticmethod
    def _conclude_one(slot: Slot, values: list[float]) -> Report | None:
        try:
            return slot.conclude(values)
        except torch.AcceleratorError:
            raise
        except RuntimeError as error:
            # Such as a number of the spec's that the optimizer can't represent.
            log.exception("slot %s failed", slot.spec.name)
            step, out_of_memory = slot.progress.step + 1, _is_out_of_memory(error)
            return SlotFailed(slot.spec.name, step, None, _named(error), out_of_memory)

    def _share_time(self, chosen: _Chosen, seconds: float) -> None:
        shares = [place.slot.tokens(chunk) for place, chunk in chosen]
        for (place, _), share in zip(chosen, shares, strict=True):
            place.slot.spend(seconds * share / sum(shares))

    def _after_failure(self, chosen: _Chosen, error: Exception) -> list[Report]:
        """Set the pass's batches back, and find out on whose account it failed.

        Slots share nothing but frozen weights, so what a pass dies of, one slot's sizes or numbers
        brought about: alone, each shows whether it was the one.
        """
        for place, _ in chosen:
            place.slot.restart()
            place.alone = True
        if self.base.device.type == "cuda":
            torch.cuda.empty_cache()
        names = list(dict.fromkeys(place.slot.spec.name for place, _ in chosen))
        if len(chosen) > 1:
            log.warning("a pass of slots %s failed: they go on one by one (%s)", names, error)
            if _is_out_of_memory(error):  # or else the next shared pass would fail as well
                self._tokens_per_pass = max(1, self._tokens_per_pass // 2)
            return []
        place, chunk = chosen[0]
        step = place.slot.progress.step + 1
        if not _is_out_of_memory(error):
            log.error("slot %s failed", names[0], exc_info=error)
            return [self._fail(SlotFailed(names[0], step, None, _named(error)))]
        if len(chunk) > 1:
            place.slot.chunk_tokens = place.slot.tokens(chunk) // 2
            place.slot.restart()
            log.warning("out of memory: slot %s takes %d tokens", names[0], place.slot.chunk_tokens)
            return []
        if not place.recomputes and place.slot.phase is Phase.TRAINING:
            place.recomputes = True
            log.warning("out of memory: slot %s uses gradient checkpointing", names[0])
            return []
        item, example = place.slot.item(chunk[0]), place.slot.training_example(chunk[0])
        reason = (
            f"the device ran out of memory at step {step} with"
            f" {'validation ' if example is None else ''}example {item.example + 1} alone"
            f" ({len(item)} tokens)"
        )
        if place.slot.phase is Phase.TRAINING:
            reason += ", gradient checkpointing on"
        return [self._fail(SlotFailed(names[0], step, example, reason, out_of_memory=True))]

    def _fail(self, failure: SlotFailed) -> SlotFailed:
        self.leave(failure.slot)
        return failure


def _order(place: _Place) -> tuple[float, int]:
    return (place.served, place.number)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA has a class for it; the CPU's allocator says it in words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error)
