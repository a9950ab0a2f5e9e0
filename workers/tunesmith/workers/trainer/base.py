"""A base model, resident on one device."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from .errors import BaseUnusable

# What tokenizers report as `model_max_length` when nobody set it (transformers: int(1e30)).
_NO_LIMIT = 1 << 40


@dataclass(frozen=True)
class BaseShape:
    """What a recipe needs to know of a base, without its weights.

    Attributes:
        model_type: `model_type` of the configuration, such as "llama" or "qwen3".
        hidden_size: width of the residual stream.
        linears: dotted module name -> (in_features, out_features) of every linear layer that can
            carry LoRA: all of them except the output embedding.
    """

    model_type: str
    hidden_size: int
    linears: dict[str, tuple[int, int]]

    def lora_parameters(self, rank: int) -> int:
        """Number of trained parameters when every linear layer carries LoRA of this rank."""
        return rank * sum(fan_in + fan_out for fan_in, fan_out in self.linears.values())


@dataclass(frozen=True)
class Base:
    """A frozen causal language model with its tokenizer, held on one device.

    Attributes:
        model: in eval mode, no parameter requires gradients.
        tokenizer: with a chat template.
        context_length: most tokens in one row.
        stop_ids: token ids at which an inference server ends a turn.
        shape: sizes, for recipes and adapter validation.
        slices_logits: whether `model` takes `logits_to_keep`.
    """

    model: Any
    tokenizer: Any
    context_length: int
    stop_ids: frozenset[int]
    shape: BaseShape
    slices_logits: bool

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def environment(self) -> dict[str, str | int]:
        """Everything besides inputs that decides a result's last bits."""
        return {
            "torch": torch.__version__,
            "device": self.device.type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        }


def load_base(
    directory: str | Path,
    device: str = "auto",
    *,
    threads: int | None = None,
    context_length: int | None = None,
) -> Base:
    """Load a base from a local directory; never from a network.

    Args:
        directory: a Hugging Face model directory (config, safetensors, tokenizer, chat template).
        device: "auto" (CUDA where there is one, else CPU), "cpu", "cuda" or "cuda:N".
            float32 on CPU, bfloat16 on CUDA.
        threads: torch's intra-op threads for this whole process. Reductions are split by thread,
            so bit-equal results on CPU need the same count; None leaves torch's own choice.
        context_length: cap below what the model could do, for instance the engines' limit.

    Raises:
        BaseUnusable: the directory is missing or can't be trained as a chat model.
    """
    directory = _existing(directory)
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    target = torch.device(device)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=torch.bfloat16 if target.type == "cuda" else torch.float32,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        raise BaseUnusable(
            f"{directory} holds no loadable causal language model: {error}"
        ) from error
    model.to(target)
    model.eval()
    model.requires_grad_(False)
    if target.type == "cpu":
        _align(model)
    tokenizer = load_tokenizer(directory)
    return Base(
        model=model,
        tokenizer=tokenizer,
        context_length=_context_length(model.config, tokenizer, context_length),
        stop_ids=_stop_ids(directory, tokenizer),
        shape=_shape(model),
        slices_logits="logits_to_keep" in inspect.signature(model.forward).parameters,
    )


def load_tokenizer(directory: str | Path) -> Any:
    """The tokenizer of a local base directory.

    Raises:
        BaseUnusable: no tokenizer, or one without a chat template.
    """
    directory = _existing(directory)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise BaseUnusable(f"{directory} holds no loadable tokenizer: {error}") from error
    if not tokenizer.chat_template:
        raise BaseUnusable(f"the tokenizer in {directory} has no chat template")
    return tokenizer


def load_chat_limits(
    directory: str | Path, tokenizer: Any, context_length: int | None = None
) -> tuple[int, frozenset[int]]:
    """Context length and stop ids of a base directory, without loading its weights."""
    directory = _existing(directory)
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    return _context_length(config, tokenizer, context_length), _stop_ids(directory, tokenizer)


def load_shape(directory: str | Path) -> BaseShape:
    """The sizes of a base directory, from its configuration alone (no weights are read)."""
    directory = _existing(directory)
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    with torch.device("meta"):
        return _shape(AutoModelForCausalLM.from_config(config))  # type: ignore[no-untyped-call]


def _existing(directory: str | Path) -> Path:
    directory = Path(directory)
    if not (directory / "config.json").is_file():
        raise BaseUnusable(f"{directory} is no model directory: config.json is missing")
    return directory


def _shape(model: Any) -> BaseShape:
    head = model.get_output_embeddings()
    linears = {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    if not linears:
        raise BaseUnusable(f"a {model.config.model_type} model has no linear layers to adapt")
    text_config = model.config.get_text_config()
    return BaseShape(
        model_type=str(model.config.model_type),
        hidden_size=int(text_config.hidden_size),
        linears=linears,
    )


def _context_length(config: Any, tokenizer: Any, cap: int | None) -> int:
    limits = [getattr(config.get_text_config(), "max_position_embeddings", None), cap]
    if tokenizer.model_max_length < _NO_LIMIT:
        limits.append(tokenizer.model_max_length)
    known = [int(limit) for limit in limits if limit is not None and math.isfinite(limit)]
    if not known:
        raise BaseUnusable("the base states no context length; name one")
    return min(known)


def _stop_ids(directory: Path, tokenizer: Any) -> frozenset[int]:
    """The ids at which vLLM stops: the tokenizer's EOS and those of generation_config.json."""
    ids: set[int] = set()
    if tokenizer.eos_token_id is not None:
        ids.add(int(tokenizer.eos_token_id))
    if (directory / "generation_config.json").is_file():
        configured = GenerationConfig.from_pretrained(directory, local_files_only=True).eos_token_id
        if isinstance(configured, int):
            ids.add(configured)
        elif configured is not None:
            ids.update(int(token) for token in configured)
    if not ids:
        raise BaseUnusable("the base names no end-of-sequence token, so it could never stop")
    return frozenset(ids)


def _align(model: nn.Module) -> None:
    """Copy weights that a memory-mapped file left unaligned into the allocator's 64-byte blocks.

    BLAS kernels may choose another summation order for unaligned operands; aligned weights take
    that freedom away, so that two processes agree in every bit.
    """
    for parameter in model.parameters():
        if parameter.data_ptr() % 64:
            parameter.data = parameter.data.clone()
