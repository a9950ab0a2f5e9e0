"""A base model, resident on one device."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)

from .attention import IMPLEMENTATION, Layout
from .errors import BaseUnusable

log = logging.getLogger(__name__)

Quantization = Literal["4bit"] | None

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

    def lora_parameters(self, rank: int, targets: Collection[str] | None = None) -> int:
        """Number of trained parameters with LoRA of this rank.

        Args:
            targets: last parts of the module names that carry it; None for every linear layer.
        """
        return rank * sum(
            fan_in + fan_out
            for name, (fan_in, fan_out) in self.linears.items()
            if targets is None or name.rpartition(".")[2] in targets
        )


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
        head: [vocabulary, hidden] weight of the output layer where logits are nothing but its
            product with the last hidden state; None where the model does more to them.
        packs: whether rows in one sequence provably don't see each other; where not, such as in
            models with recurrent layers, a pass carries a single item.
    """

    model: Any
    tokenizer: Any
    context_length: int
    stop_ids: frozenset[int]
    shape: BaseShape
    slices_logits: bool
    head: torch.Tensor | None
    packs: bool

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """What the base computes in; its weights may be quantised."""
        dtype: torch.dtype = self.model.dtype
        return dtype

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
    quantization: Quantization = None,
) -> Base:
    """Load a base from a local directory; never from a network.

    Args:
        directory: a Hugging Face model directory (config, safetensors, tokenizer, chat template).
        device: "auto" (CUDA where there is one, else CPU), "cpu", "cuda" or "cuda:N".
            float32 on CPU, bfloat16 on CUDA.
        threads: torch's intra-op threads for this whole process. Reductions are split by thread,
            so bit-equal results on CPU need the same count; None leaves torch's own choice.
        context_length: cap below what the model could do, for instance the engines' limit.
        quantization: "4bit" holds the linear layers as NF4 (QLoRA, arXiv 2305.14314), by the
            bitsandbytes library; None as they are.

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
            **_quantized(quantization, target),
        )
    except (OSError, ValueError) as error:
        raise BaseUnusable(
            f"{directory} holds no loadable causal language model: {error}"
        ) from error
    if quantization is None:
        model.to(target)
    tokenizer = load_tokenizer(directory)
    return as_base(
        model,
        tokenizer,
        context_length=_context_length(model.config, tokenizer, context_length),
        stop_ids=_stop_ids(directory, tokenizer),
    )


def as_base(model: Any, tokenizer: Any, *, context_length: int, stop_ids: frozenset[int]) -> Base:
    """Freeze a model that is on its device, and find out how its passes can be computed.

    Args:
        model: a transformers causal language model.
        tokenizer: with a chat template; only rendering uses it.
        context_length: most tokens in one row.
        stop_ids: token ids at which an inference server ends a turn.
    """
    model.eval()
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Linear) and type(module) is not nn.Linear:
            # A quantised layer in eval mode may repack its weights for kernels that have no
            # gradient (bitsandbytes on CPU does); the flag means nothing else to it.
            module.training = True
    if model.device.type == "cpu":
        _take_over(model)
    if model.supports_gradient_checkpointing:
        # Takes effect only where a layer is in training mode: `passes.recomputing`.
        model.gradient_checkpointing_enable({"use_reentrant": False})
    packs = not _looks_across_rows(model, context_length) and _use_packed_attention(model)
    return Base(
        model=model,
        tokenizer=tokenizer,
        context_length=context_length,
        stop_ids=stop_ids,
        shape=_shape(model),
        slices_logits="logits_to_keep" in inspect.signature(model.forward).parameters,
        head=_plain_head(model),
        packs=packs,
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


def _quantized(quantization: Quantization, target: torch.device) -> dict[str, Any]:
    if quantization is None:
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BaseUnusable(
            "a 4-bit base needs the bitsandbytes library, which is not installed here:"
            " pip install bitsandbytes, or set no quantisation"
        )
    config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if target.type == "cuda" else torch.float32,
    )
    return {"quantization_config": config, "device_map": {"": target}}


def _looks_across_rows(model: Any, context_length: int) -> bool:
    """Whether a model does what the short rows of a trial can't show.

    Longrope (Phi) and dynamic scaling choose every row's rotary frequencies by the longest row of
    the pass; chunked attention (Llama 4) is plain causal attention up to thousands of tokens.
    """
    config: Any = model.config.get_text_config()
    chunked = getattr(config, "attention_chunk_size", None)
    if chunked or "chunked_attention" in (getattr(config, "layer_types", None) or ()):
        log.warning("rows of this base can't be packed: its attention is chunked")
        return True
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    for settings in (rope, *(each for each in rope.values() if isinstance(each, dict))):
        original = settings.get("original_max_position_embeddings")
        original = original or config.max_position_embeddings
        if settings.get("rope_type") in {"longrope", "dynamic"} and context_length > original:
            log.warning(
                "rows of this base can't be packed: beyond %d tokens, its positions depend on the"
                " longest row; a context length up to that avoids it", original,
            )  # fmt: skip
            return True
    return False


def _use_packed_attention(model: Any) -> bool:
    """Switch to packed attention, if two rows packed give what each gives alone, as it was loaded.

    A trial, since no list of architectures could be complete: a recurrent layer, a convolution or
    an attention of the model's own would carry one tenant's tokens into another's. So the second
    row must also not change with the first, which shows leaks too small for the comparison.
    """
    vocabulary = model.config.get_text_config().vocab_size
    rows, other = (
        [
            torch.tensor([[(start + 7 * t) % vocabulary for t in range(count)]]).to(model.device)
            for start, count in starts
        ]
        for starts in (((3, 5), (11, 9)), ((64, 5), (11, 9)))
    )
    before = model.config._attn_implementation
    with torch.no_grad():
        alone = torch.cat([_hidden(model, input_ids=row) for row in rows], dim=1).float()
        try:
            model.set_attn_implementation(IMPLEMENTATION)
            packed, changed = (_packed(model, each) for each in (rows, other))
        except (BaseUnusable, TypeError, ValueError, RuntimeError) as error:
            log.warning("rows of this base can't be packed: %s", error)
            model.set_attn_implementation(before)
            return False
    exact = model.dtype == torch.float32
    wrong = _apart(packed, alone)
    leaked = _apart(changed[:, 5:], packed[:, 5:])
    if not (wrong <= (1e-3 if exact else 5e-2) and leaked <= (1e-6 if exact else 1e-3)):
        log.warning(
            "rows of this base can't be packed: they see each other (%.2g, %.2g)", wrong, leaked
        )
        model.set_attn_implementation(before)
        return False
    return True


def _packed(model: Any, rows: list[torch.Tensor]) -> torch.Tensor:
    lengths = [row.shape[1] for row in rows]
    return _hidden(
        model,
        input_ids=torch.cat(rows, dim=1),
        position_ids=torch.cat([torch.arange(count) for count in lengths])[None].to(model.device),
        packed=Layout.of(lengths, model.device),
    ).float()


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def _plain_head(model: Any) -> torch.Tensor | None:
    """The output layer's weight, if logits are its product with the hidden state and no more.

    The product is made a thousand times larger for the trial: a cap or a temperature on the logits
    shows then, however small they are.
    """
    head: Any = model.get_output_embeddings()
    if type(head) is not nn.Linear or getattr(head, "bias", None) is not None:
        return None
    ids = torch.arange(8, device=model.device).unsqueeze(0)
    hook = head.register_forward_hook(lambda module, inputs, output: output * 1000)  # noqa: ARG005
    try:
        with torch.no_grad():
            product = head(_hidden(model, input_ids=ids))
            logits = model(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    same = logits.shape == product.shape and _apart(logits.float(), product.float()) < 1e-2
    weight: torch.Tensor = head.weight
    return weight if same else None


def _hidden(model: Any, **inputs: Any) -> torch.Tensor:
    hidden: torch.Tensor = model.base_model(**inputs, use_cache=False).last_hidden_state
    return hidden


def _take_over(model: nn.Module) -> None:
    """Copy weights out of the memory-mapped file into the allocator's 64-byte blocks.

    A file that is written anew must not change what jobs train on now. And BLAS kernels may choose
    another summation order for unaligned operands; aligned weights take that freedom away, so that
    two processes agree in every bit.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
