"""One pass over packed rows of several slots: a forward, and the score of every learned token."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import Layout
from .base import Base
from .lora import AttachedAdapter, Part, ResidentAdapters
from .render import Row

LOGITS_BYTES = 256 * 2**20
"""The most that one chunk of float32 logits takes."""


_FEWEST = 16
"""Rows of a matrix product below which CPU kernels may add up in another order: a result must not
depend on whether a pass carries others' rows too. MKL's does below 12."""


@dataclass(frozen=True)
class Work:
    """One slot's rows for a pass.

    Attributes:
        rows: at least one.
        adapter: whose LoRA layers apply; None for the base alone.
        seeds: dropout's seed for each row; empty without dropout.
    """

    rows: Sequence[Row]
    adapter: AttachedAdapter | None
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class TokenScores:
    """What the model made of the learned tokens of one work's rows, in order.

    Attributes:
        log_probs: [learned tokens] float32, in nats.
        correct: [learned tokens] bool, whether the token was predicted first.
        counts: learned tokens of each row.
        positions: computed for the work: its tokens, and what rows were filled up with where the
            base can't pack.
    """

    log_probs: torch.Tensor
    correct: torch.Tensor
    counts: list[int]
    positions: int

    def row_sums(self) -> torch.Tensor:
        """[rows] log-probability of each row's learned tokens together."""
        return torch.stack([row.sum() for row in torch.split(self.log_probs, self.counts)])


def score(
    base: Base, adapters: ResidentAdapters, works: Sequence[Work]
) -> tuple[list[TokenScores], list[Part]]:
    """Run all rows of all works through the base in one sequence without padding.

    Every row starts at position 0 and attends to itself alone, so that what else is in the pass
    changes its result by rounding at most. A base that can't pack gets a batch instead, its rows
    filled up at their ends, where a causal model doesn't look. Logits are computed at learned
    tokens only.

    Returns:
        The scores in the order of `works`, and the parts under which the backward pass must run.
    """
    rows = [row for work in works for row in work.rows]
    ids_list, mask = array("i"), bytearray()
    width = 0 if base.packs else max(_FEWEST, *(len(row) for row in rows))
    for row in rows:
        filler = max(0, width - len(row))
        ids_list.extend(row.input_ids)
        ids_list.extend([0] * filler)
        mask += row.loss_mask + bytes(filler)
    lengths = [max(width, len(row)) for row in rows]
    if len(ids_list) < _FEWEST:  # a row of nothing, which nobody looks at
        lengths.append(_FEWEST - len(ids_list))
        ids_list.extend([0] * lengths[-1])
        mask += bytes(lengths[-1])
    ids = torch.frombuffer(ids_list, dtype=torch.int32).long()
    learned = torch.frombuffer(mask, dtype=torch.uint8).nonzero().squeeze(1)
    positions = torch.cat([torch.arange(length) for length in lengths])
    parts = _parts(works, lengths)
    device = base.device
    packed = {"packed": Layout.of(lengths, device)} if base.packs else {}
    on_device = torch.stack((ids, positions)).to(device, non_blocking=True)
    # Token t is predicted at position t - 1; a row's first token is never learned.
    where = torch.stack((learned - 1, ids[learned])).to(device, non_blocking=True)
    with adapters.routed(parts):
        log_probs, correct = _log_probs(
            base,
            {
                "input_ids": on_device[0].view(-1, width or len(ids_list)),
                "position_ids": on_device[1].view(-1, width or len(ids_list)),
                "use_cache": False,
                **packed,
            },
            where[0],
            where[1],
        )
    counts = [[row.learned_tokens for row in work.rows] for work in works]
    sizes = [sum(count) for count in counts]
    positions_of = [part.stop - part.start for part in parts]
    scores = [
        TokenScores(*each)
        for each in zip(
            torch.split(log_probs, sizes),
            torch.split(correct, sizes),
            counts,
            positions_of,
            strict=True,
        )
    ]
    return scores, parts


def _parts(works: Sequence[Work], lengths: Sequence[int]) -> list[Part]:
    parts: list[Part] = []
    start = 0
    remaining = iter(lengths)
    for work in works:
        mine = itertools.islice(remaining, len(work.rows))
        ends = list(itertools.accumulate(mine, initial=start))
        spans = itertools.pairwise(ends)
        dropout = tuple(
            (first, last, seed) for (first, last), seed in zip(spans, work.seeds, strict=False)
        )
        parts.append(Part(start, ends[-1], work.adapter, dropout))
        start = ends[-1]
    return parts


def _log_probs(
    base: Base, inputs: dict[str, Any], index: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability [n] and correctness [n] of `targets` at the positions `index`."""
    if base.head is not None:
        hidden = base.model.base_model(**inputs).last_hidden_state
        found: tuple[torch.Tensor, torch.Tensor] = _HeadLogProbs.apply(  # type: ignore[no-untyped-call]
            hidden, index, targets, base.head
        )
        return found
    if base.slices_logits and len(inputs["input_ids"]) == 1:
        logits = base.model(**inputs, logits_to_keep=index).logits[0].float()
    else:
        logits = base.model(**inputs).logits.flatten(0, 1)[index].float()
    chosen = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
    return chosen, logits.detach().argmax(-1) == targets


class _HeadLogProbs(torch.autograd.Function):
    """The output layer and its log-softmax in chunks, without ever holding all logits.

    The gradient of a token's log-probability by its hidden state, (onehot(target) - softmax) W,
    doesn't depend on what is made of the log-probability later; so it is computed while the logits
    are there, and the backward pass only scales it. The bracket is rounded to W's type as a whole:
    W[target] - softmax W would leave nothing of a token that is almost certain in bfloat16.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        index: torch.Tensor,
        targets: torch.Tensor,
        weight: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(index)
        if count < _FEWEST:
            index = torch.cat((index, index[:1].expand(_FEWEST - count)))
            targets = torch.cat((targets, targets[:1].expand(_FEWEST - count)))
        chosen = hidden.reshape(-1, hidden.shape[-1]).index_select(0, index)
        slopes = torch.empty_like(chosen) if ctx.needs_input_grad[0] else None
        log_probs = torch.empty(len(chosen), dtype=torch.float32, device=hidden.device)
        correct = torch.empty(len(chosen), dtype=torch.bool, device=hidden.device)
        most = max(64, LOGITS_BYTES // (4 * weight.shape[0]))
        step = -(-len(chosen) // -(-len(chosen) // most))  # even, so that no chunk is tiny
        for start in range(0, len(chosen), step):
            span = slice(start, start + step)
            wanted = targets[span].unsqueeze(1)
            logits = (chosen[span] @ weight.T).float()
            correct[span] = logits.argmax(-1) == wanted.squeeze(1)
            shares = logits.log_softmax(-1)
            log_probs[span] = shares.gather(1, wanted).squeeze(1)
            if slopes is not None:
                slope = shares.exp_().neg_()
                slope.scatter_(1, wanted, log_probs[span].expm1().neg_().unsqueeze(1))
                slopes[span] = slope.to(weight.dtype) @ weight
        log_probs, correct = log_probs[:count], correct[:count]
        ctx.mark_non_differentiable(correct)
        if slopes is not None:
            ctx.save_for_backward(slopes[:count], index[:count])
            ctx.shape = hidden.shape
        return log_probs, correct

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        slopes, index = ctx.saved_tensors
        back = slopes.new_zeros(ctx.shape)
        rows = slopes * grads[0].unsqueeze(1).to(slopes.dtype)
        back.view(-1, ctx.shape[-1]).index_copy_(0, index, rows)
        return back, None, None, None


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On CPU, refuse operators whose result could differ between runs.

    CUDA stays as it is: atomics in its attention and matrix kernels would have to be replaced by
    slower ones, and a bit-equal resume is promised on CPU only.
    """
    if device.type != "cpu":
        yield
        return
    previous = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(previous)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


@contextmanager
def recomputing(base: Base, on: bool) -> Iterator[None]:
    """Gradient checkpointing within the block: layers keep their inputs and compute anew.

    transformers looks at each layer's `training` flag; everything below the layer stays in eval
    mode, so that nothing else changes.
    """
    layers = [
        module for module in base.model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    for layer in layers:
        layer.training = on
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
