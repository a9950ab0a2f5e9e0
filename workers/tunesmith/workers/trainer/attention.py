"""Attention over packed rows: each row sees itself alone, and no time goes to padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every torch user knows
from transformers import AttentionInterface

from .errors import BaseUnusable

IMPLEMENTATION = "tunesmith_packed"
"""The name under which transformers' models find `packed_attention`."""


@dataclass(frozen=True)
class Layout:
    """Where the rows lie that were put one after another.

    Attributes:
        lengths: tokens of each row.
        boundaries: [rows + 1] int32 on the model's device, 0 to the sum of `lengths`; None where no
            kernel wants it.
        longest: the longest row's tokens.
    """

    lengths: list[int]
    boundaries: torch.Tensor | None
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Layout:
        """The layout of rows of these lengths."""
        boundaries = None
        if device.type == "cuda":
            sums = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
            boundaries = sums.to(device, non_blocking=True)
        return cls(list(lengths), boundaries, max(lengths))


def packed_attention(
    module: Any,  # noqa: ARG001 - the interface's
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    packed: Layout | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row, as transformers' attention interface calls it.

    On CUDA in half precision, one variable-length flash kernel; else SDPA row by row, which on a
    CPU is two times faster than one call over padded rows and ten times faster than one over a
    block-diagonal mask (measured at 16 rows of 20 to 120 tokens).

    Args:
        query: [1, heads, tokens, head width]; key, value: [1, key-value heads, tokens, width].
        packed: the rows; without it the whole sequence is one row.

    Returns:
        [1, tokens, heads, width], and no weights.

    Raises:
        BaseUnusable: the model wants a kind of attention that isn't computed here.
    """
    if softcap is not None or s_aux is not None or attention_mask is not None:
        raise BaseUnusable("the base's attention (soft caps, sinks or masks) isn't supported")
    tokens = query.shape[2]
    layout = packed or Layout.of([tokens], query.device)
    window = sliding_window if sliding_window and sliding_window < layout.longest else None
    if layout.boundaries is not None and query.dtype in (torch.bfloat16, torch.float16):
        return _flash(query, key, value, layout, layout.boundaries, scaling, window), None
    grouped = key.shape[1] != query.shape[1]
    rows = zip(
        torch.split(query, layout.lengths, dim=2),
        torch.split(key, layout.lengths, dim=2),
        torch.split(value, layout.lengths, dim=2),
        strict=True,
    )
    seen = [
        F.scaled_dot_product_attention(
            q, k, v,
            attn_mask=_band(q, window),
            is_causal=window is None or q.shape[2] <= window,
            scale=scaling,
            enable_gqa=grouped,
        ).transpose(1, 2)
        for q, k, v in rows
    ]  # fmt: skip
    return torch.cat(seen, dim=1), None  # contiguous: some models view it


def _flash(  # noqa: PLR0917 - what attention is a function of
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    layout: Layout,
    boundaries: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    seen = varlen_attn(
        query.squeeze(0).transpose(0, 1),
        key.squeeze(0).transpose(0, 1),
        value.squeeze(0).transpose(0, 1),
        boundaries,
        boundaries,
        layout.longest,
        layout.longest,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=key.shape[1] != query.shape[1],
    )
    assert isinstance(seen, torch.Tensor)
    return seen.unsqueeze(0)


def _band(query: torch.Tensor, window: int | None) -> torch.Tensor | None:
    """The mask of a row that is longer than the model's sliding window."""
    length = query.shape[2]
    if window is None or length <= window:
        return None
    ones = torch.ones(length, length, dtype=torch.bool, device=query.device)
    return ones.tril().triu(1 - window)


AttentionInterface.register(IMPLEMENTATION, packed_attention)
