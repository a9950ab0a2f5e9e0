"""The output layer in chunks gives the log-probabilities and gradients that autograd gives."""

from __future__ import annotations

import pytest
import torch

from tunesmith.workers.trainer import passes

TOKENS, WIDTH, VOCABULARY = 32, 64, 384


def gradients(dtype: torch.dtype, gain: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ours, autograd's over all logits, and autograd's in float64, of the same hidden states.

    Args:
        gain: how certain the model is of its tokens; at 3, of nearly all.
    """
    torch.manual_seed(0)
    weight = torch.randn(VOCABULARY, WIDTH).to(dtype)
    targets = torch.arange(TOKENS)
    hidden = (weight[targets] * gain / 8).detach()
    weights_of_loss = torch.linspace(0.5, 2, TOKENS)

    def plain(type_: torch.dtype) -> torch.Tensor:
        leaf = hidden.to(type_).clone().requires_grad_()
        logits = (leaf @ weight.to(type_).T).to(max(torch.float32, type_, key=lambda t: t.itemsize))
        log_probs = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        (log_probs * weights_of_loss.to(log_probs.dtype)).sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return leaf.grad.double()

    leaf = hidden.clone().requires_grad_()
    log_probs, correct = passes._HeadLogProbs.apply(leaf[None], targets, targets, weight)  # type: ignore[no-untyped-call]
    (log_probs * weights_of_loss).sum().backward()
    assert correct.all()
    assert leaf.grad is not None
    return leaf.grad.double(), plain(dtype), plain(torch.float64)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("gain", [0.3, 1.0, 3.0])
def test_float32_gradients(gain: float) -> None:
    ours, stock, exact = gradients(torch.float32, gain)
    assert apart(ours, exact) < 2 * apart(stock, exact) + 1e-5


@pytest.mark.parametrize("gain", [0.3, 1.0, 3.0])
def test_bfloat16_gradients_are_as_good_as_autograds(gain: float) -> None:
    """What a late step learns from are the few per cent that are missing to certainty."""
    ours, stock, exact = gradients(torch.bfloat16, gain)
    assert apart(ours, exact) < 1.2 * apart(stock, exact) + 1e-3


def test_chunks_change_rounding_only(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = gradients(torch.float32, 1.0)
    monkeypatch.setattr(passes, "LOGITS_BYTES", 1)
    torch.manual_seed(1)
    leaf = torch.randn(1, 200, WIDTH, requires_grad=True)
    weight, targets = torch.randn(VOCABULARY, WIDTH), torch.arange(150)
    index = torch.arange(20, 170)
    log_probs, _ = passes._HeadLogProbs.apply(leaf, index, targets, weight)  # type: ignore[no-untyped-call]
    logits = leaf[0, index] @ weight.T
    expected = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
    assert torch.allclose(log_probs, expected, atol=1e-4)
    (ours,) = torch.autograd.grad(log_probs.sum(), leaf)
    (theirs,) = torch.autograd.grad(expected.sum(), leaf)
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert whole.shape == (TOKENS, WIDTH)
