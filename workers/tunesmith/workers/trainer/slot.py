"""One adapter's place in a cohort: weights, optimizer, schedule, data cursor."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Sequence

import torch

from .adapter import AdapterConfig, AdapterFiles, export_adapter
from .base import Base
from .checkpoint import SlotState, fingerprint
from .data_order import DataOrder, derived_seed, micro_batches, padded_tokens
from .errors import StateMismatch
from .lora import AttachedAdapter, ResidentAdapters
from .loss import Scores, score, seeded
from .render import Row
from .report import SlotFailed, SlotProgress, StepReport, Validation
from .schedule import learning_rate
from .spec import SlotSpec

log = logging.getLogger(__name__)


class Slot:
    """Trains one adapter, a forward pass at a time.

    Nothing here is shared with other slots but the frozen base. Weights and moments change in
    `_finish_step` alone, so between passes they are those of the last completed step.

    Args:
        base: the resident base.
        adapters: where `adapter` is attached.
        adapter: the slot's LoRA layers, weights already set.
        spec: hyperparameters.
        rows: training rows, at least one.
        validation_rows: may be empty.
    """

    def __init__(
        self,
        base: Base,
        adapters: ResidentAdapters,
        adapter: AttachedAdapter,
        spec: SlotSpec,
        *,
        rows: Sequence[Row],
        validation_rows: Sequence[Row] = (),
    ) -> None:
        self._base = base
        self._adapters = adapters
        self.adapter = adapter
        self.spec = spec
        self._rows = rows
        self._validation_rows = validation_rows
        self._data = fingerprint(rows)
        self._validation_data = fingerprint(validation_rows) if validation_rows else None
        self._order = DataOrder(len(rows), spec.batch_size, spec.n_epochs, spec.seed)
        self._parameters = list(adapter.parameters.values())
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=spec.learning_rate,
            betas=spec.betas,
            eps=spec.eps,
            weight_decay=spec.weight_decay,
        )
        self._step = 0
        self._trained_tokens = 0
        self._seconds = 0.0
        self._pending: StepReport | None = None
        self._batch: list[int] = []
        self._padded_tokens = 0
        self._passes: deque[tuple[int, ...]] = deque()
        self._sums: list[Scores] = []
        self._plan()

    @property
    def finished(self) -> bool:
        return not self._passes

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
    def next_cost(self) -> int:
        """Padded tokens of the next forward pass."""
        return padded_tokens(self._current_rows, self._passes[0])

    def advance(self) -> StepReport | SlotFailed | None:
        """Take one forward pass, training or validation, and whatever it completes.

        Returns:
            The report of a step that is now complete, validation included; or the failure.
        """
        started = time.perf_counter()
        outcome: StepReport | SlotFailed | None = None
        chosen = self._passes.popleft()
        if self._pending is None:
            self._train(chosen)
            if not self._passes:
                outcome = self._finish_step()
        else:
            self._validate(chosen)
            if not self._passes:
                outcome = self._finish_validation(self._pending)
        self._seconds += time.perf_counter() - started
        if not self._passes and not isinstance(outcome, SlotFailed):
            self._plan()
        if isinstance(outcome, StepReport):
            outcome = dataclasses.replace(outcome, seconds=self._seconds)
            self._seconds = 0.0
        return outcome

    def state(self) -> SlotState:
        """A copy of the state after the last completed optimizer step."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self.adapter.parameters.items():
            tensors[f"weight/{name}"] = parameter.detach().to("cpu", copy=True)
            for moment, value in self._optimizer.state[parameter].items():
                if moment != "step":
                    tensors[f"{moment}/{name}"] = value.detach().to("cpu", copy=True)
        return SlotState(
            spec=self.spec.decisive(),
            data=self._data,
            validation_data=self._validation_data,
            step=self._step,
            trained_tokens=self._trained_tokens,
            pending=self._pending,
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
        with torch.no_grad():
            for name, parameter in self.adapter.parameters.items():
                parameter.copy_(state.tensors[f"weight/{name}"])
                if state.step:
                    self._optimizer.state[parameter] = {
                        "step": torch.tensor(float(state.step)),
                        "exp_avg": _like(parameter, state.tensors[f"exp_avg/{name}"]),
                        "exp_avg_sq": _like(parameter, state.tensors[f"exp_avg_sq/{name}"]),
                    }
        self._step = state.step
        self._trained_tokens = state.trained_tokens
        self._pending = (
            None
            if state.pending is None
            else dataclasses.replace(state.pending, slot=self.spec.name)
        )
        self._plan()

    def export(self) -> AdapterFiles:
        """The adapter after the last completed optimizer step."""
        adapter = self.adapter
        config = AdapterConfig(adapter.rank, adapter.alpha, adapter.targets, adapter.dropout)
        return export_adapter(config, adapter.parameters)

    @property
    def _current_rows(self) -> Sequence[Row]:
        return self._rows if self._pending is None else self._validation_rows

    def _plan(self) -> None:
        """Lay out the passes of the next batch, or of the validation that is due."""
        most = self.spec.micro_batch_tokens
        self._sums = []
        if self._pending is not None:
            every = range(len(self._validation_rows))
            self._passes = deque(micro_batches(self._validation_rows, every, most))
        elif self._step < self._order.total_steps:
            self._batch = self._order.batch(self._step)
            self._passes = deque(micro_batches(self._rows, self._batch, most))
            self._padded_tokens = sum(padded_tokens(self._rows, each) for each in self._passes)
        else:
            self._passes = deque()

    def _train(self, chosen: tuple[int, ...]) -> None:
        model = self._adapters.activate(self.adapter, training=True)
        rows = [self._rows[index] for index in chosen]
        if self.spec.dropout:
            seed = derived_seed(self.spec.seed, "dropout", self._step, len(self._sums))
            with seeded(self._base.device, seed):
                scores = score(self._base, model, rows)
        else:
            scores = score(self._base, model, rows)
        # The gradient of the batch's mean over learned tokens, whatever the passes' sizes.
        (scores.loss / self._learned_tokens).backward()  # type: ignore[no-untyped-call]
        self._sums.append(Scores(scores.loss.detach(), scores.correct))

    def _finish_step(self) -> StepReport | SlotFailed | None:
        loss = float(sum(scores.loss for scores in self._sums)) / self._learned_tokens
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, self.spec.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return self._failure("loss" if not math.isfinite(loss) else "gradient")
        rate = learning_rate(
            self._step, self._order.total_steps, self.spec.warmup_steps, self.spec.learning_rate
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        last = self._step + 1 == self._order.total_steps
        if last and not all(bool(torch.isfinite(p).all()) for p in self._parameters):
            return self._failure("result")  # no later loss would show it
        tokens = sum(len(self._rows[index]) for index in self._batch)
        self._trained_tokens += tokens
        step = self._step
        self._step += 1
        epoch_ended = self._order.ends_epoch(step)
        correct = int(sum(scores.correct for scores in self._sums))
        report = StepReport(
            slot=self.spec.name,
            step=self._step,
            total_steps=self._order.total_steps,
            epoch=self._order.epoch(step) + 1,
            loss=loss,
            mean_token_accuracy=correct / self._learned_tokens,
            learning_rate=rate,
            grad_norm=norm,
            tokens=tokens,
            learned_tokens=self._learned_tokens,
            padded_tokens=self._padded_tokens,
            trained_tokens=self._trained_tokens,
            seconds=self._seconds,
            epoch_ended=epoch_ended,
            finished=last,
        )
        every = self.spec.validate_every
        if self._validation_rows and (epoch_ended or (every and self._step % every == 0)):
            self._pending = report
            return None
        return report

    def _validate(self, chosen: tuple[int, ...]) -> None:
        model = self._adapters.activate(self.adapter, training=False)
        with torch.no_grad():
            rows = [self._validation_rows[index] for index in chosen]
            self._sums.append(score(self._base, model, rows))

    def _finish_validation(self, report: StepReport) -> StepReport | SlotFailed:
        tokens = sum(row.learned_tokens for row in self._validation_rows)
        validation = Validation(
            loss=float(sum(scores.loss for scores in self._sums)) / tokens,
            mean_token_accuracy=int(sum(scores.correct for scores in self._sums)) / tokens,
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
        return dataclasses.replace(report, validation=validation)

    def _failure(self, what: str) -> SlotFailed:
        example = self._culprit()
        reason = f"the {what} is not finite at step {self._step + 1}"
        if example is not None:
            reason += f", example {example + 1}"
        return SlotFailed(self.spec.name, self._step + 1, example, reason)

    def _culprit(self) -> int | None:
        """The first example of the batch whose own loss or gradient isn't finite."""
        model = self._adapters.activate(self.adapter, training=False)
        for index in self._batch:
            self._optimizer.zero_grad(set_to_none=True)
            loss = score(self._base, model, [self._rows[index]]).loss
            loss.backward()  # type: ignore[no-untyped-call]
            values = [loss, *(p.grad for p in self._parameters if p.grad is not None)]
            if not all(bool(torch.isfinite(value).all()) for value in values):
                return self._rows[index].example
        return None

    @property
    def _learned_tokens(self) -> int:
        return sum(self._rows[index].learned_tokens for index in self._batch)

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
        kinds = ("weight", "exp_avg", "exp_avg_sq") if state.step else ("weight",)
        expected = {
            f"{kind}/{name}": parameter.shape
            for kind in kinds
            for name, parameter in self.adapter.parameters.items()
        }
        shapes = {name: tensor.shape for name, tensor in state.tensors.items()}
        if shapes != expected:
            raise StateMismatch("the state's tensors fit another base")


def _like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A fresh, aligned copy beside its parameter."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
