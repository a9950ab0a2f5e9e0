"""Small models of any architecture, and what transformers itself makes of a row."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from tunesmith.workers.trainer.base import Base, as_base
from tunesmith.workers.trainer.render import Row

SMALL: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "initializer_range": 0.2,
}


def made(config: Any, context_length: int = 256) -> tuple[Any, Base]:
    """A model as transformers computes it, and the same as a base."""
    torch.manual_seed(5)
    stock = AutoModelForCausalLM.from_config(config).float().eval()  # type: ignore[no-untyped-call]
    base = as_base(
        copy.deepcopy(stock), None, context_length=context_length, stop_ids=frozenset({2})
    )
    return stock, base


def log_probs(model: Any, row: Row) -> torch.Tensor:
    """Of the row's learned tokens, by transformers, alone."""
    ids = torch.tensor([list(row.input_ids)])
    learned = torch.tensor(list(row.loss_mask), dtype=torch.bool)
    predicted = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    found: torch.Tensor = predicted[learned[1:]].gather(1, ids[0, learned].unsqueeze(1))
    return found.squeeze(1)
