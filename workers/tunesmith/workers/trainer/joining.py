"""What a slot brings with it, checked before it joins a cohort."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from .adapter import AdapterFiles
from .base import Base
from .errors import AdapterInvalid, HyperparameterInvalid
from .lora import AttachedAdapter
from .render import Item, Pair
from .spec import SlotSpec
from .validation import adapter_parameters, validate_adapter


def check_items(
    spec: SlotSpec, items: Sequence[Item], validation_items: Sequence[Item], base: Base
) -> None:
    """Check that all items can be trained on.

    Raises:
        HyperparameterInvalid: none, of another method's kind, nothing learned, longer than the
            context, or a token that the base doesn't know; the message names the example.
    """
    limit, vocabulary = base.context_length, base.model.get_input_embeddings().weight.shape[0]
    if not items:
        raise HyperparameterInvalid("rows", 0, "at least one")
    for item in itertools.chain(items, validation_items):
        if isinstance(item, Pair) != (spec.method == "dpo"):
            kind = "pairs" if spec.method == "dpo" else "rows"
            raise HyperparameterInvalid("rows", type(item).__name__, f"{kind} for {spec.method}")
        for row in item.rows:
            if not row.learned_tokens:
                # Such a row would train nothing and report a loss of zero.
                raise HyperparameterInvalid(
                    f"learned tokens of example {row.example + 1}", 0, "at least 1"
                )
            if len(row) > limit:
                raise HyperparameterInvalid(
                    f"tokens of example {row.example + 1}", len(row), f"at most {limit}"
                )
            for token in (min(row.input_ids), max(row.input_ids)):
                if not 0 <= token < vocabulary:  # on CUDA, one would end every slot's training
                    raise HyperparameterInvalid(
                        f"token ids of example {row.example + 1}", token, f"below {vocabulary}"
                    )


def continue_from(files: AdapterFiles, adapter: AttachedAdapter, base: Base) -> None:
    """Fill an attached adapter with an earlier one's weights.

    Raises:
        AdapterInvalid: they don't fit the base, or have another rank, alpha or targets.
    """
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
    adapter.refresh()
