"""One adapter's place in a cohort: weights, optimizer, schedule, data cursor."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections import deque
from collections.abc import Sequence
from enum import Enum

import torch

from .adapter import AdapterConfig, AdapterFiles, export_adapter
from .base import Base
from .checkpoint import SlotState, fingerprint
from .data_order import DataOrder, derived_seed
from .errors import StateMismatch
from .lora import AttachedAdapter, ResidentAdapters
from .objective import Sums, preference, supervised
from .passes import TokenScores, Work, score
from .render import Item
from .report import SlotFailed, SlotProgress, StepReport, Validation
from .schedule import learning_rate
from .selection import Selection
from .spec import SlotSpec

log = logging.getLogger(__name__)


class Phase(Enum):
    """What a slot's next pass is for."""

    REFERENCE = "reference"
    """Scores every item with the model that training starts from; DPO only."""
    TRAINING = "training"
    VALIDATION = "validation"
    OVER = "over"


class Slot:
    """Trains one adapter, some items of its batch at a time.

    A cohort asks for chunks of a batch (`take`), computes them in a pass with other slots' (`work`,
    `absorb`), and when the batch is complete has it settled (`settle`, `conclude`). How a batch is
    cut into chunks doesn't depend on the neighbours, so neither do the result's bits. Nothing here
    is shared with other slots but the frozen base. Weights and moments change in `conclude` alone,
    so between passes they are those of the last completed step.

    Args:
        base: the resident base.
        adapters: the base's wrapped layers.
        adapter: the slot's LoRA weights, already set.
        spec: hyperparameters.
        items: training items, at least one.
        validation_items: may be empty.
        continued: whether `adapter` is an earlier job's, and so part of DPO's reference.
        chunk_tokens: most tokens of a chunk, the part of a batch that is computed as one; a longer
            item is a chunk by itself. It changes the result by rounding only.
    """

    def __init__(
        self,
        base: Base,
        adapters: ResidentAdapters,
        adapter: AttachedAdapter,
        spec: SlotSpec,
        *,
        items: Sequence[Item],
        validation_items: Sequence[Item] = (),
        continued: bool = False,
        chunk_tokens: int = 512,
    ) -> None:
        self._base = base
        self._adapters = adapters
        self.adapter = adapter
        self.spec = spec
        self._items = items
        self._validation_items = validation_items
        self._continued = continued
        self.chunk_tokens = chunk_tokens
        self._data = fingerprint(items)
        self._validation_data = fingerprint(validation_items) if validation_items else None
        self._order = DataOrder(len(items), spec.items_per_step, spec.n_epochs, spec.seed)
        self._optimizer = torch.optim.AdamW(
            [adapter.flat],
            lr=spec.learning_rate,
            betas=spec.betas,
            eps=spec.eps,
            weight_decay=spec.weight_decay,
        )
        self._selection = Selection(spec.patience)
        self._best: torch.Tensor | None = None
        self._step = 0
        self._trained_tokens = 0
        self._seconds = 0.0
        self._pending: StepReport | None = None
        # DPO's reference: log-probabilities of both answers, by item, training items first.
        self._references: torch.Tensor | None = None
        self._phase = Phase.OVER
        self._batch: list[int] = []
        self._waiting: deque[tuple[int, ...]] = deque()
        self._sums: list[Sums] = []
        self._plan()

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def finished(self) -> bool:
        return self._phase is Phase.OVER

    @property
    def progress(self) -> SlotProgress:
        return SlotProgress(
            step=self._step,
            total_steps=self._order.total_steps,
            epoch=self._order.epoch(self._step),
            trained_tokens=self._trained_tokens,
            finished=self.finished,
        )

    @property
    def next_tokens(self) -> int:
        """Tokens of the next chunk; 0 when all of the batch is taken."""
        return self.tokens(self._waiting[0]) if self._waiting else 0

    def tokens(self, chunk: Sequence[int]) -> int:
        """Tokens of some items of the batch."""
        return sum(len(self.item(index)) for index in chunk)

    def take(self) -> tuple[int, ...]:
        """Take the next chunk of the batch; the caller computes it or calls `restart`."""
        return self._waiting.popleft()

    def work(self, taken: Sequence[int]) -> Work:
        """The rows of a taken chunk, for a pass."""
        rows = [row for index in taken for row in self.item(index).rows]
        adapter: AttachedAdapter | None = self.adapter
        if self._phase is Phase.REFERENCE and not self._continued:
            adapter = None  # the base itself: the slot is switched off
        seeds: tuple[int, ...] = ()
        if self._phase is Phase.TRAINING and self.spec.dropout:
            seeds = tuple(
                derived_seed(self.spec.seed, "dropout", self._step, index, place)
                for index in taken
                for place, _ in enumerate(self.item(index).rows)
            )
        return Work(rows, adapter, seeds)

    def absorb(self, taken: Sequence[int], scores: TokenScores) -> torch.Tensor | None:
        """Take in what a pass found.

        Returns:
            What to run the backward pass on: the gradient of the batch's mean, however many passes
            the batch takes. None when there is nothing to learn from it.
        """
        if self._phase is Phase.REFERENCE:
            assert self._references is not None
            rows = torch.tensor(taken, device=self._references.device)
            self._references.index_copy_(0, rows, scores.row_sums().view(-1, 2))
            return None
        if self.spec.method == "dpo":
            assert self._references is not None
            offset = len(self._items) if self._phase is Phase.VALIDATION else 0
            rows = torch.tensor(taken, device=self._references.device) + offset
            loss, sums = preference(scores, self._references.index_select(0, rows), self.spec.beta)
        else:
            loss, sums = supervised(scores)
        self._sums.append(sums)
        self._positions += scores.positions
        return loss / self._divisor if self._phase is Phase.TRAINING else None

    def restart(self) -> None:
        """Forget what was computed of the present batch: a pass with it failed."""
        self._gradient.zero_()
        self._sums = []
        self._positions = 0
        self._waiting = self._chunks()

    @property
    def complete(self) -> bool:
        """Whether all of the batch was taken."""
        return not self._waiting and not self.finished

    def spend(self, seconds: float) -> None:
        """Count compute time towards the present step."""
        self._seconds += seconds

    def settle(self) -> torch.Tensor:
        """The complete batch's sums and gradient norm, [6] on the device; clips the gradient."""
        if self._phase is Phase.REFERENCE:
            return torch.zeros(6, device=self._base.device)
        totals = torch.stack([sums.values for sums in self._sums]).sum(dim=0)
        if self._phase is Phase.TRAINING:
            norm = torch.nn.utils.clip_grad_norm_([self.adapter.flat], self.spec.max_grad_norm)
        else:
            norm = torch.zeros((), device=totals.device)
        return torch.cat((totals, norm.reshape(1)))

    def conclude(self, values: Sequence[float]) -> StepReport | SlotFailed | None:
        """Finish the complete batch with what `settle` gave, as numbers.

        Returns:
            The report of a step that is now complete, validation included; or the failure.
        """
        outcome: StepReport | SlotFailed | None = None
        if self._phase is Phase.TRAINING:
            outcome = self._finish_step(values)
        elif self._phase is Phase.VALIDATION:
            assert self._pending is not None
            outcome = self._finish_validation(self._pending, values)
        elif not math.isfinite(float(self._present_references().sum())):
            outcome = SlotFailed(
                self.spec.name, self._step + 1, None, "the reference's scores are not finite"
            )
        else:
            self._referenced = True
        if not isinstance(outcome, SlotFailed):
            self._plan()
        if isinstance(outcome, StepReport):
            outcome = dataclasses.replace(outcome, seconds=self._seconds, finished=self.finished)
            self._seconds = 0.0
        return outcome

    def state(self) -> SlotState:
        """A copy of the state after the last completed optimizer step."""
        moments = self._optimizer.state.get(self.adapter.flat, {})
        flats = {"weight": self.adapter.flat.detach()}
        flats |= {name: value for name, value in moments.items() if name != "step"}
        if self._best is not None:
            flats["best"] = self._best
        tensors = {
            f"{kind}/{name}": view.to("cpu", copy=True)
            for kind, flat in flats.items()
            for name, view in self.adapter.views(flat).items()
        }
        if self._references is not None and self._referenced:
            tensors["references"] = self._references.to("cpu", copy=True)
        return SlotState(
            spec=self.spec.decisive(),
            data=self._data,
            validation_data=self._validation_data,
            step=self._step,
            trained_tokens=self._trained_tokens,
            pending=self._pending,
            selection=self._selection.values(),
            environment=self._base.environment,
            tensors=tensors,
        )

    def restore(self, state: SlotState) -> None:
        """Take over a state of the same spec and data.

        Raises:
            StateMismatch: it belongs to something else; the message says to what.
        """
        self._check(state)
        if dict(state.environment) != self._base.environment:
            log.warning(
                "slot %s resumes in another environment, so not bit-equal: %s, was %s",
                self.spec.name, self._base.environment, dict(state.environment),
            )  # fmt: skip
        flat = self.adapter.flat
        with torch.no_grad():
            self._load(state, "weight", flat)
            self.adapter.refresh()
            if state.step:
                self._optimizer.state[flat] = {
                    "step": torch.tensor(float(state.step)),
                    "exp_avg": self._load(state, "exp_avg", torch.empty_like(flat)),
                    "exp_avg_sq": self._load(state, "exp_avg_sq", torch.empty_like(flat)),
                }
            if any(name.startswith("best/") for name in state.tensors):
                best = torch.empty(flat.shape, dtype=torch.float32)
                self._best = self._load(state, "best", best)
        if "references" in state.tensors:
            self._references = state.tensors["references"].to(self._base.device, copy=True)
            self._referenced = True
        self._step = state.step
        self._trained_tokens = state.trained_tokens
        self._selection = Selection(self.spec.patience, **state.selection)
        self._pending = (
            None
            if state.pending is None
            else dataclasses.replace(state.pending, slot=self.spec.name)
        )
        self._plan()

    def export(self, *, best: bool = False) -> AdapterFiles:
        """The adapter after the last completed optimizer step.

        Args:
            best: the one with the lowest validation loss instead, where the spec keeps it.
        """
        adapter = self.adapter
        config = AdapterConfig(adapter.rank, adapter.alpha, adapter.targets, adapter.dropout)
        if best and self._best is not None:
            return export_adapter(config, adapter.views(self._best))
        return export_adapter(config, adapter.parameters)

    _referenced = False

    @property
    def _gradient(self) -> torch.Tensor:
        gradient = self.adapter.flat.grad
        assert gradient is not None
        return gradient

    def item(self, index: int) -> Item:
        if self._phase is Phase.TRAINING:
            return self._items[index]
        if self._phase is Phase.REFERENCE:
            split = len(self._items)
            return self._items[index] if index < split else self._validation_items[index - split]
        return self._validation_items[index]

    def training_example(self, index: int) -> int | None:
        """Which training example an item of the batch is of; None for a validation item."""
        item = self.item(index)
        held_out = self._phase is Phase.VALIDATION or (
            self._phase is Phase.REFERENCE and index >= len(self._items)
        )
        return None if held_out else item.example

    def _chunks(self) -> deque[tuple[int, ...]]:
        chunks: list[list[int]] = []
        filled = 0
        for index in self._batch:
            tokens = len(self.item(index))
            if not chunks or filled + tokens > self.chunk_tokens:
                chunks.append([])
                filled = 0
            chunks[-1].append(index)
            filled += tokens
        return deque(tuple(chunk) for chunk in chunks)

    def _plan(self) -> None:
        """Lay out the next batch: of training, of a validation that is due, or of the reference."""
        self._sums = []
        self._positions = 0
        if self.spec.method == "dpo" and not self._referenced:
            self._phase = Phase.REFERENCE
            self._batch = list(range(len(self._items) + len(self._validation_items)))
            self._references = torch.zeros(len(self._batch), 2, device=self._base.device)
        elif self._pending is not None:
            self._phase = Phase.VALIDATION
            self._batch = list(range(len(self._validation_items)))
        elif self._step < self._order.total_steps and not self._selection.exhausted:
            self._phase = Phase.TRAINING
            self._batch = self._order.batch(self._step)
            if self.spec.method == "dpo":
                self._divisor: float = len(self._batch)
            else:
                self._divisor = sum(self._items[index].learned_tokens for index in self._batch)
        else:
            self._phase = Phase.OVER
            self._batch = []
        self._waiting = self._chunks()

    def _finish_step(self, values: Sequence[float]) -> StepReport | SlotFailed | None:
        total, correct, counted, won, margin, norm = values
        loss = total / self._divisor
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return self._failure("loss" if not math.isfinite(loss) else "gradient")
        rate = learning_rate(
            self._step,
            self._order.total_steps,
            self.spec.warmup_steps,
            self.spec.learning_rate,
            self.spec.schedule,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._gradient.zero_()
        self.adapter.refresh()
        last = self._step + 1 == self._order.total_steps
        if last and not bool(torch.isfinite(self.adapter.flat).all()):
            return self._failure("result")  # no later loss would show it
        tokens = self.tokens(self._batch)
        learned = sum(self._items[index].learned_tokens for index in self._batch)
        self._trained_tokens += tokens
        step = self._step
        self._step += 1
        epoch_ended = self._order.ends_epoch(step)
        pairs = len(self._batch) if self.spec.method == "dpo" else None
        report = StepReport(
            slot=self.spec.name,
            step=self._step,
            total_steps=self._order.total_steps,
            epoch=self._order.epoch(step) + 1,
            loss=loss,
            mean_token_accuracy=correct / counted,
            learning_rate=rate,
            grad_norm=norm,
            tokens=tokens,
            learned_tokens=learned,
            padded_tokens=self._positions,
            trained_tokens=self._trained_tokens,
            seconds=self._seconds,
            epoch_ended=epoch_ended,
            finished=last,
            reward_accuracy=won / pairs if pairs else None,
            reward_margin=margin / pairs if pairs else None,
            best_step=self._selection.best_step,
        )
        every = self.spec.validate_every
        if self._validation_items and (epoch_ended or (every and self._step % every == 0)):
            self._pending = report
            return None
        return report

    def _finish_validation(
        self, report: StepReport, values: Sequence[float]
    ) -> StepReport | SlotFailed:
        total, correct, counted = values[:3]
        tokens = sum(item.learned_tokens for item in self._validation_items)
        dpo = self.spec.method == "dpo"
        validation = Validation(
            loss=total / (len(self._validation_items) if dpo else tokens),
            mean_token_accuracy=correct / counted,
            tokens=tokens,
        )
        if not math.isfinite(validation.loss):
            return SlotFailed(
                self.spec.name,
                self._step,
                None,
                f"the validation loss is not finite after step {self._step}",
            )
        self._pending = None
        if self._selection.consider(self._step, validation.loss) and self.spec.keep_best:
            self._best = self.adapter.flat.detach().to("cpu", copy=True)
        return dataclasses.replace(
            report,
            validation=validation,
            best_step=self._selection.best_step,
            stopped_early=self._selection.exhausted and self._step < self._order.total_steps,
        )

    def _failure(self, what: str) -> SlotFailed:
        example = self._culprit()
        reason = f"the {what} is not finite at step {self._step + 1}"
        if example is not None:
            reason += f", example {example + 1}"
        return SlotFailed(self.spec.name, self._step + 1, example, reason)

    def _culprit(self) -> int | None:
        """The first example of the batch whose own loss or gradient isn't finite."""
        for index in self._batch:
            self._gradient.zero_()
            scores, parts = score(self._base, self._adapters, [self.work([index])])
            loss = self.absorb([index], scores[0])
            assert loss is not None
            with self._adapters.routed(parts):
                loss.backward()  # type: ignore[no-untyped-call]
            if not all(bool(torch.isfinite(each).all()) for each in (loss, self._gradient)):
                return self._items[index].example
        return None

    def _present_references(self) -> torch.Tensor:
        assert self._references is not None
        return self._references

    def _load(self, state: SlotState, kind: str, flat: torch.Tensor) -> torch.Tensor:
        """Fill a tensor shaped as the adapter's flat one from the state's tensors of a kind."""
        for name, view in self.adapter.views(flat.detach()).items():
            view.copy_(state.tensors[f"{kind}/{name}"])
        return flat

    def _check(self, state: SlotState) -> None:
        spec = self.spec.decisive()
        for field in sorted(spec.keys() | state.spec.keys()):
            ours, theirs = spec.get(field), state.spec.get(field)
            if ours != theirs:
                raise StateMismatch(f"the state was trained with {field}={theirs}, not {ours}")
        if state.data != self._data:
            raise StateMismatch("the state was trained on other data")
        if state.validation_data != self._validation_data:
            raise StateMismatch("the state was validated on other data")
        kinds = ["weight", "exp_avg", "exp_avg_sq"] if state.step else ["weight"]
        shapes = {name: tuple(tensor.shape) for name, tensor in state.tensors.items()}
        if any(name.startswith("best/") for name in shapes):
            kinds.append("best")
        expected: dict[str, tuple[int, ...]] = {
            f"{kind}/{name}": tuple(parameter.shape)
            for kind in kinds
            for name, parameter in self.adapter.parameters.items()
        }
        if "references" in shapes or (self.spec.method == "dpo" and state.step):
            expected["references"] = (len(self._items) + len(self._validation_items), 2)
        if shapes != expected:
            raise StateMismatch("the state's tensors fit another base")
