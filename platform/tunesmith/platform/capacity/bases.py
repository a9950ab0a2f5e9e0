"""The shape of a base by its size: what its weights, adapters and KV cache take."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tunesmith.platform.domain.errors import InvalidRequest

WEIGHT_BYTES = 2
"""bfloat16, of a base and of its KV cache."""

ADAPTER_BYTES = 4
"""float32: adapters are stored as they were trained."""

STATE_BYTES = 16
"""Per trained parameter, as in `tunesmith.workers.trainer.memory`."""


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama family with grouped-query attention.

    Attributes:
        name: its size, such as "8b".
        kv_width: key-value heads times their dimension.
    """

    name: str
    layers: int
    hidden: int
    intermediate: int
    kv_width: int
    vocabulary: int

    @property
    def linear_weights(self) -> int:
        """Of all layers, without the output embedding."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_width
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def embedding_weights(self) -> int:
        """Of the output embedding."""
        return self.vocabulary * self.hidden

    @property
    def weights_bytes(self) -> int:
        """Of the base in memory; both embeddings counted, which is too much where they are tied."""
        return WEIGHT_BYTES * (self.linear_weights + 2 * self.embedding_weights)

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token."""
        return 2 * self.layers * self.kv_width * WEIGHT_BYTES

    def lora_parameters(self, rank: int) -> int:
        """Of an adapter on every linear layer of the decoder."""
        attention = 2 * (2 * self.hidden) + 2 * (self.hidden + self.kv_width)
        mlp = 3 * (self.hidden + self.intermediate)
        return self.layers * rank * (attention + mlp)

    def adapter_bytes(self, rank: int) -> int:
        """Of an adapter in storage; in an engine's memory it has the base's type."""
        return ADAPTER_BYTES * self.lora_parameters(rank)

    def training_flops(self, rank: int, learned_share: float) -> float:
        """Floating-point operations of one trained token: docs/performance.md, "On a GPU".

        4 per frozen weight (forward, and backward to the inputs), 6 per LoRA parameter, 4 per
        weight of the output embedding at learned tokens.
        """
        return (
            4.0 * self.linear_weights
            + 6.0 * self.lora_parameters(rank)
            + 4.0 * self.embedding_weights * learned_share
        )


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("pocket", 4, 256, 512, 256, 2048),
        Shape("0.5b", 24, 896, 4864, 128, 151936),
        Shape("1.5b", 28, 1536, 8960, 256, 151936),
        Shape("3b", 36, 2048, 11008, 256, 151936),
        Shape("7b", 28, 3584, 18944, 512, 152064),
        Shape("8b", 32, 4096, 14336, 1024, 128256),
        Shape("14b", 48, 5120, 13824, 1024, 152064),
        Shape("32b", 64, 5120, 27648, 1024, 152064),
        Shape("70b", 80, 8192, 28672, 1024, 128256),
    )
}
"""The pocket base; Qwen2.5 (0.5b to 7b, 14b, 32b) and Llama 3.1 (8b, 70b), by their configs."""


def shape_of(size: str) -> Shape:
    """The shape of a size such as "8b" or "8"; between those known, the nearest one, stretched.

    Raises:
        InvalidRequest: it is no size.
    """
    known = SHAPES.get(size.lower()) or SHAPES.get(f"{size.lower()}b")
    if known is not None:
        return known
    found = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)b?", size.lower())
    wanted = float(found[1]) * 1e9 if found else 0.0
    if not 1e8 <= wanted <= 4e11:
        raise InvalidRequest(
            f"{size!r} is no size of a base: give one of {', '.join(SHAPES)}, or parameters in"
            " billions from 0.1 to 400, as 13b.",
            param="base_size",
        )
    nearest = min(
        (shape for shape in SHAPES.values() if shape.name != "pocket"),
        key=lambda shape: abs(_parameters(shape) / wanted - 1),
    )
    # Width in both directions: weights grow by its square, and layers stay.
    stretch = (wanted / _parameters(nearest)) ** 0.5
    return replace(
        nearest,
        name=f"{float(found[1]):g}b" if found else size,
        hidden=round(nearest.hidden * stretch),
        intermediate=round(nearest.intermediate * stretch),
    )


def _parameters(shape: Shape) -> float:
    return float(shape.linear_weights + shape.embedding_weights)
