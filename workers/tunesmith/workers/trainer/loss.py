"""The forward pass of a few rows and its loss on learned tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every torch user knows

from .base import Base
from .render import Row

_IGNORED = -100


@dataclass(frozen=True)
class Scores:
    """Sums over the learned tokens of one forward pass.

    Attributes:
        loss: summed cross-entropy in nats, scalar float32 with a graph when gradients are on.
        correct: number of learned tokens predicted first, scalar int64.
    """

    loss: torch.Tensor
    correct: torch.Tensor


def score(base: Base, model: Any, rows: Sequence[Row]) -> Scores:
    """Run rows through the model, padded on the right to the longest.

    No attention mask: a causal model never looks from a row's tokens at the padding after them,
    and without a mask attention takes its fast causal kernel. Logits are computed only at columns
    where some row learns its next token: prompts and the vocabulary are both large.
    """
    device = base.device
    width = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), _IGNORED, dtype=torch.long)
    for place, row in enumerate(rows):
        tokens = torch.tensor(row.input_ids, dtype=torch.long)
        learned = torch.frombuffer(bytearray(row.loss_mask), dtype=torch.uint8).bool()
        ids[place, : len(row)] = tokens
        # Position t predicts token t + 1.
        labels[place, : len(row) - 1] = torch.where(learned[1:], tokens[1:], _IGNORED)
    columns = (labels != _IGNORED).any(dim=0).nonzero().squeeze(1)
    labels = labels[:, columns].to(device)
    ids, columns = ids.to(device), columns.to(device)
    if base.slices_logits:
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=columns).logits
    else:
        logits = model(input_ids=ids, use_cache=False).logits[:, columns]
    logits = logits.float()
    loss = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=_IGNORED, reduction="sum"
    )
    correct = (logits.detach().argmax(dim=-1) == labels).sum()
    return Scores(loss=loss, correct=correct)


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
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Dropout draws from torch's global generator: lend it a seed and give it back unchanged."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
