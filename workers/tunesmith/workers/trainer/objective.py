"""What a slot minimises, by its method: from token scores to a loss and its figures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every torch user knows

from .passes import TokenScores


@dataclass(frozen=True)
class Sums:
    """Over some of a batch's items, to be added up and divided by the batch's size.

    Attributes:
        values: [5] float32 on the device: loss, tokens predicted first, tokens counted for that,
            preferred answers that won, reward margins.
    """

    values: torch.Tensor


def supervised(scores: TokenScores) -> tuple[torch.Tensor, Sums]:
    """Cross-entropy in nats, summed over the learned tokens.

    Returns:
        The sum, with its graph, and the figures.
    """
    loss = -scores.log_probs.sum()
    correct = scores.correct.sum()
    none = torch.zeros_like(loss)
    counted = torch.full_like(none, scores.correct.numel())
    values = torch.stack((loss.detach(), correct.to(loss.dtype), counted, none, none))
    return loss, Sums(values)


def preference(
    scores: TokenScores, reference: torch.Tensor, beta: float
) -> tuple[torch.Tensor, Sums]:
    """Direct preference optimisation (arXiv 2305.18290, equation 7), summed over the pairs.

    -log sigmoid(beta * ((log p(w) - log r(w)) - (log p(l) - log r(l)))) with p the model in
    training, r the reference, w the preferred and l the rejected answer.

    Args:
        scores: of rows in the order preferred, rejected, preferred, rejected, ...
        reference: [pairs, 2] the reference's log-probability of each answer.
        beta: how strongly the model is held to the reference; 0.1 in the paper.

    Returns:
        The sum, with its graph, and the figures; rewards are beta * (log p - log r).
    """
    rewards = beta * (scores.row_sums().view(-1, 2) - reference)
    margins = rewards[:, 0] - rewards[:, 1]
    loss = -F.logsigmoid(margins).sum()
    preferred = list(torch.split(scores.correct, scores.counts))[::2]
    counted = sum(scores.counts[::2])
    values = torch.stack(
        (
            loss.detach(),
            torch.stack([row.sum() for row in preferred]).sum().to(loss.dtype),
            torch.full_like(loss, counted),
            (margins.detach() > 0).sum().to(loss.dtype),
            margins.detach().sum(),
        )
    )
    return loss, Sums(values)
