"""Slots that train side by side on one resident base, joining and leaving at step boundaries."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .adapter import AdapterFiles
from .base import Base
from .checkpoint import SlotState
from .errors import AdapterInvalid, HyperparameterInvalid, SlotExists, SlotUnknown
from .lora import AttachedAdapter, ResidentAdapters, initialise, target_suffixes
from .loss import deterministic
from .render import Row
from .report import Report, SlotFailed, SlotProgress
from .slot import Slot
from .spec import SlotSpec
from .validation import adapter_parameters, validate_adapter

log = logging.getLogger(__name__)


@dataclass
class _Place:
    slot: Slot
    served: int
    number: int


class Cohort:
    """Holds one base and its slots. Not thread-safe: one thread drives it.

    Args:
        base: the resident base. While slots are in, its layers carry them; when the last leaves,
            the base is as it was loaded.
        tokens_per_step: about how many padded tokens one call of `step` computes; the granularity
            at which slots can join, leave and be cancelled.
    """

    def __init__(self, base: Base, *, tokens_per_step: int = 2048) -> None:
        if tokens_per_step < 1:
            raise HyperparameterInvalid("tokens_per_step", tokens_per_step, "at least 1")
        self.base = base
        self._tokens_per_step = tokens_per_step
        self._adapters = ResidentAdapters(base)
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
        rows: Sequence[Row],
        validation_rows: Sequence[Row] | None = None,
        *,
        state: SlotState | bytes | None = None,
        initial_adapter: AdapterFiles | None = None,
    ) -> SlotProgress:
        """Add a slot; it takes part from the next `step` on. On error nothing is left behind.

        Args:
            spec: the slot's hyperparameters; its name is new to the cohort.
            rows: training rows, each within the context and with a learned token.
            validation_rows: scored as a whole at the end of each epoch.
            state: where to go on, of a slot with the same spec and data.
            initial_adapter: earlier adapter to continue from, of the same rank, alpha and targets;
                ignored when `state` is given, which holds later weights.

        Returns:
            Where the slot stands: at its beginning, or at its state's step.

        Raises:
            SlotExists: the name is taken.
            HyperparameterInvalid: no rows, or a target that the base doesn't have.
            AdapterInvalid: `initial_adapter` doesn't fit the base or the spec.
            StateCorrupt, StateMismatch: `state` is damaged or belongs to something else.
        """
        if spec.name in self._places:
            raise SlotExists(f"slot {spec.name!r} is in the cohort already")
        _check_rows(rows, validation_rows or (), self.base.context_length)
        if isinstance(state, bytes):
            state = SlotState.from_bytes(state)
        targets = target_suffixes(self.base.shape, spec.target_modules)
        adapter = self._adapters.attach(spec.rank, spec.alpha, spec.dropout, targets)
        try:
            if state is None and initial_adapter is not None:
                _continue_from(initial_adapter, adapter, self.base)
            else:
                initialise(adapter, spec.seed)
            slot = Slot(
                self.base,
                self._adapters,
                adapter,
                spec,
                rows=rows,
                validation_rows=validation_rows or (),
            )
            if state is not None:
                slot.restore(state)
        except BaseException:
            self._adapters.detach(adapter)
            raise
        # A newcomer owes nothing and is owed nothing: it starts level with whoever got least.
        served = min((place.served for place in self._running()), default=0)
        self._places[spec.name] = _Place(slot, served, next(self._numbers))
        return slot.progress

    def step(self) -> list[Report]:
        """Compute about `tokens_per_step` tokens and report the optimizer steps that completed.

        Turns go to the slot that has been served the fewest tokens, one forward pass at a time
        (fair queueing by work): nobody waits for a neighbour's batch, only for single passes.
        A slot that has reported waits for the next call, so that `state` and `adapter` are those
        of the reported step. A slot that fails leaves the cohort with a `SlotFailed`; the others
        don't notice.

        Raises:
            torch.AcceleratorError: the device is lost; start anew from the slots' states.
        """
        reports: list[Report] = []
        spent = 0
        waiting = self._running()
        with deterministic(self.base.device):
            while waiting and spent < self._tokens_per_step:
                place = min(waiting, key=lambda place: (place.served, place.number))
                cost = place.slot.next_cost
                report = self._advance(place.slot)
                place.served += cost
                spent += cost
                if report is not None:
                    reports.append(report)
                    waiting.remove(place)
                if isinstance(report, SlotFailed):
                    self.leave(report.slot)
        return reports

    def state(self, name: str) -> SlotState:
        """The slot's complete state after its last optimizer step.

        Raises:
            SlotUnknown: no such slot.
        """
        return self._slot(name).state()

    def adapter(self, name: str) -> AdapterFiles:
        """The slot's adapter after its last optimizer step.

        Raises:
            SlotUnknown: no such slot.
        """
        return self._slot(name).export()

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
        slot = self._slot(name)
        del self._places[name]
        self._adapters.detach(slot.adapter)

    def _running(self) -> list[_Place]:
        return [place for place in self._places.values() if not place.slot.finished]

    def _slot(self, name: str) -> Slot:
        try:
            return self._places[name].slot
        except KeyError:
            raise SlotUnknown(f"no slot {name!r} in the cohort") from None

    def _advance(self, slot: Slot) -> Report | None:
        try:
            return slot.advance()
        except torch.AcceleratorError:
            raise  # the device itself is lost, and every slot with it
        except RuntimeError as error:
            # What torch raises for anything that one slot's numbers or sizes bring about, running
            # out of memory included. The neighbours share nothing with it but frozen weights.
            log.exception("slot %s failed", slot.spec.name)
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            return SlotFailed(slot.spec.name, slot.progress.step + 1, None, reason)


def _check_rows(rows: Sequence[Row], validation_rows: Sequence[Row], limit: int) -> None:
    if not rows:
        raise HyperparameterInvalid("rows", 0, "at least one")
    for row in itertools.chain(rows, validation_rows):
        if not row.learned_tokens:
            # Such a row would train nothing and report a loss of zero.
            raise HyperparameterInvalid(
                f"learned tokens of example {row.example + 1}", 0, "at least 1"
            )
        if len(row) > limit:
            raise HyperparameterInvalid(
                f"tokens of example {row.example + 1}", len(row), f"at most {limit}"
            )


def _continue_from(files: AdapterFiles, adapter: AttachedAdapter, base: Base) -> None:
    config = validate_adapter(files, base.shape)
    theirs = (config.rank, config.alpha, config.target_modules)
    ours = (adapter.rank, adapter.alpha, adapter.targets)
    if theirs != ours:
        raise AdapterInvalid(
            f"the adapter to continue from has rank, alpha and targets {theirs}, the slot {ours}"
        )
    values = adapter_parameters(files, base.shape)
    with torch.no_grad():
        for name, parameter in adapter.parameters.items():
            parameter.copy_(values[name])
