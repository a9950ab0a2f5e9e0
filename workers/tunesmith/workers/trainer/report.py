"""What a cohort tells of its slots."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Validation:
    """Over the whole validation set.

    Attributes:
        loss: mean cross-entropy per learned token, in nats; with DPO its loss per pair.
        mean_token_accuracy: share of learned tokens predicted first, in preferred answers with DPO.
        tokens: learned tokens that were scored.
    """

    loss: float
    mean_token_accuracy: float
    tokens: int


@dataclass(frozen=True)
class StepReport:
    """One optimizer step of one slot, with the validation that followed it, if one did.

    Attributes:
        slot: the slot's name.
        step: 1-based number of this step.
        total_steps: steps in all.
        epoch: 1-based epoch that the step belongs to.
        loss: mean cross-entropy per learned token of the batch, in nats, before the update; with
            DPO its loss per pair.
        mean_token_accuracy: share of the batch's learned tokens that were predicted first.
        learning_rate: rate of this update.
        grad_norm: norm of the slot's gradient before clipping.
        tokens: all tokens of the batch, padding excluded.
        learned_tokens: those with loss.
        padded_tokens: tokens computed, padding included; packing leaves none.
        trained_tokens: all tokens since the start, padding excluded.
        seconds: compute time spent on this step, waiting for neighbours excluded.
        epoch_ended: whether the step completed an epoch.
        finished: whether it was the slot's last.
        reward_accuracy: share of pairs whose preferred answer got the higher reward; DPO only.
        reward_margin: mean reward of the preferred over the rejected answer; DPO only.
        validation: metrics on the validation set, when they were computed after this step.
        best_step: the step with the lowest validation loss so far; None without validation.
        stopped_early: whether training ended here because validation no longer improved.
    """

    slot: str
    step: int
    total_steps: int
    epoch: int
    loss: float
    mean_token_accuracy: float
    learning_rate: float
    grad_norm: float
    tokens: int
    learned_tokens: int
    padded_tokens: int
    trained_tokens: int
    seconds: float
    epoch_ended: bool
    finished: bool
    reward_accuracy: float | None = None
    reward_margin: float | None = None
    validation: Validation | None = None
    best_step: int | None = None
    stopped_early: bool = False


@dataclass(frozen=True)
class SlotFailed:
    """A slot that can't go on; it has left the cohort, and its neighbours go on.

    Attributes:
        slot: the slot's name.
        step: 1-based number of the step that failed.
        example: 0-based index of the training example that caused it; None when no single one did.
        reason: one sentence.
        out_of_memory: whether the device had no room for even one of its items.
    """

    slot: str
    step: int
    example: int | None
    reason: str
    out_of_memory: bool = False


@dataclass(frozen=True)
class SlotProgress:
    """Where a slot stands.

    Attributes:
        step: optimizer steps done.
        total_steps: steps in all.
        epoch: epochs completed.
        trained_tokens: all tokens since the start, padding excluded.
        finished: whether there is nothing left to do, validation included.
    """

    step: int
    total_steps: int
    epoch: int
    trained_tokens: int
    finished: bool


Report = StepReport | SlotFailed
