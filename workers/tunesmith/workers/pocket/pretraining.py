"""Pre-training of the pocket base: next-token prediction on the corpus, on the CPU.

Everything random comes from the seed, so that the same machine, versions and number of threads
give the same bytes.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from tunesmith.workers.pocket.corpus import documents
from tunesmith.workers.pocket.documents import Document
from tunesmith.workers.pocket.tokenization import END_OF_TEXT, TURN_END, pieces, special_id


@dataclass(frozen=True)
class Recipe:
    """How the base is shaped and trained.

    Attributes:
        tokens_per_step: tokens in one optimizer step.
        row_lengths: lengths in tokens of the rows of a step, drawn with `row_weights`. Long rows
            teach far positions, short rows are quicker.
        learning_rate: peak rate, after `warmup` (a share of the steps) and before a linear decay.
        others_weight: weight of the loss on what users and system prompts say; the assistant's
            words and running text weigh 1.
        fold: by how much the inputs of the linear layers are made smaller at the end; see `_fold`.
    """

    hidden_size: int = 256
    layers: int = 4
    head_dim: int = 64
    intermediate_size: int = 512
    vocabulary: int = 2048
    context: int = 1024
    steps: int = 3600
    tokens_per_step: int = 2048
    row_lengths: tuple[int, ...] = (128, 256, 1024)
    row_weights: tuple[float, ...] = (0.75, 0.18, 0.07)
    learning_rate: float = 8e-3
    warmup: float = 0.04
    weight_decay: float = 0.05
    gradient_norm: float = 1.0
    others_weight: float = 0.5
    fold: float = 4.0
    seed: int = 20


def configuration(recipe: Recipe, tokenizer: Tokenizer) -> LlamaConfig:
    """The Llama configuration of the base."""
    heads = recipe.hidden_size // recipe.head_dim
    return LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=special_id(tokenizer, TURN_END),
        pad_token_id=special_id(tokenizer, END_OF_TEXT),
    )


def _encode(
    tokenizer: Tokenizer, document: Document, others: float
) -> tuple[list[int], list[float]]:
    """Token ids of `document` and the end of text behind it, with a loss weight for each."""
    ids: list[int] = []
    weights: list[float] = []
    for text, spoken in pieces(document):
        part = tokenizer.encode(text, add_special_tokens=False).ids
        ids += part
        weights += [1.0 if spoken else others] * len(part)
    ids.append(special_id(tokenizer, END_OF_TEXT))
    weights.append(others)
    return ids, weights


def _batches(recipe: Recipe, tokenizer: Tokenizer) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and loss weights, each `[rows, length]`; every row begins with a new document."""
    rng = random.Random(recipe.seed)  # noqa: S311 - sample text, nothing secret
    stream = documents(recipe.seed)
    while True:
        (length,) = rng.choices(recipe.row_lengths, recipe.row_weights)
        rows = max(1, recipe.tokens_per_step // length)
        ids = torch.empty((rows, length), dtype=torch.long)
        weights = torch.empty((rows, length))
        for row in range(rows):
            row_ids: list[int] = []
            row_weights: list[float] = []
            while len(row_ids) < length:
                more_ids, more_weights = _encode(tokenizer, next(stream), recipe.others_weight)
                row_ids += more_ids
                row_weights += more_weights
            ids[row] = torch.tensor(row_ids[:length])
            weights[row] = torch.tensor(row_weights[:length])
        yield ids, weights


def _optimizers(model: torch.nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embedding and the norms.

    Muon's updates are scaled to the size of AdamW's, so that both share one learning rate. It
    reaches the same loss in about half of the steps here.
    """
    embedding = [each for name, each in model.named_parameters() if "embed" in name]
    vectors = [each for each in model.parameters() if each.ndim == 1]
    matrices = [
        each for name, each in model.named_parameters() if each.ndim == 2 and "embed" not in name
    ]
    return [
        torch.optim.Muon(
            matrices,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [
                {"params": embedding, "weight_decay": recipe.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.95),
        ),
    ]


def _rate(step: int, recipe: Recipe) -> float:
    """The share of the peak rate at `step`: linear up, then linear down to zero."""
    warm = max(1, round(recipe.steps * recipe.warmup))
    if step < warm:
        return (step + 1) / warm
    return (recipe.steps - step) / max(1, recipe.steps - warm)


@torch.no_grad()
def _fold(model: Any, factor: float) -> None:
    """Divide what enters the linear layers by `factor`, and multiply their weights by it.

    The function of the model stays the same. What changes is how far a LoRA step goes: rules for
    its learning rate are fitted to large models, whose norms' gains are well below one, while
    short pre-training leaves them at one. With a power of two no bit of precision is lost.
    """
    for layer in model.model.layers:
        attention, feedforward = layer.self_attn, layer.mlp
        for gain in (layer.input_layernorm.weight, layer.post_attention_layernorm.weight):
            gain.div_(factor)
        for matrix in (attention.q_proj, attention.k_proj, feedforward.gate_proj):
            matrix.weight.mul_(factor)
        # v and up read smaller inputs and hand them on, so that o and down read smaller ones too.
        for matrix in (attention.o_proj, feedforward.down_proj):
            matrix.weight.mul_(factor)


def pretrain(
    recipe: Recipe, tokenizer: Tokenizer, report: Callable[[int, float, float], None]
) -> Any:
    """Train a base from random weights.

    Args:
        recipe: shape, schedule and seed.
        tokenizer: the base's own.
        report: called after each step with the step (from 1), its mean weighted loss in nats, and
            the seconds since the start.

    Returns:
        A `LlamaForCausalLM` with float32 weights, in evaluation mode.
    """
    torch.manual_seed(recipe.seed)
    architecture: Any = LlamaForCausalLM
    model = architecture(configuration(recipe, tokenizer))
    model.train()
    optimizers = _optimizers(model, recipe)
    batches = _batches(recipe, tokenizer)
    start = time.monotonic()
    for step in range(recipe.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _rate(step, recipe)
        ids, weights = next(batches)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids, use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none"
        )
        weight = weights[:, 1:].flatten()
        loss = (losses * weight).sum() / weight.sum()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        report(step + 1, float(loss.detach()), time.monotonic() - start)
    _fold(model, recipe.fold)
    return model.eval()
