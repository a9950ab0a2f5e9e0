"""From what a person names ('pocket', a directory, a hub id) to a base that can be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.names import check_base_name
from tunesmith.workers.bases.digest import base_digest
from tunesmith.workers.pocket import NAME as POCKET_NAME
from tunesmith.workers.pocket import model_directory

POCKET = "pocket"
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


class BaseNotUsable(Exception):
    """The base cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class ResolvedBase:
    """A base on this machine's disk.

    Attributes:
        name: in the API.
        directory: Hugging Face files.
        digest: of these files.
        context_length: tokens of prompt and answer together, by its configuration.
        config: architecture, hidden size and layers, to be shown.
    """

    name: str
    directory: Path
    digest: str
    context_length: int
    config: dict[str, Any]


def resolve_base(
    source: str, *, name: str | None = None, cache: Path | None = None
) -> ResolvedBase:
    """Find a base and look it over, without loading its weights.

    Args:
        source: 'pocket', a directory, or the id of a repository on the Hugging Face hub.
        name: in the API; by default the hub id, or the directory's name.
        cache: where digests of large files are remembered.

    Raises:
        BaseNotUsable: it is missing, cannot be fetched, or cannot be tuned and served.
    """
    if source == POCKET:
        directory = model_directory()
    elif Path(source).expanduser().is_dir():
        directory = Path(source).expanduser().resolve()
    elif source.startswith(("/", "./", "../", "~")) or source.count("/") > 1:
        raise BaseNotUsable(f"There is no directory {source!r} to take the base from.")
    else:
        directory = _fetch(source)
    config = _checked_config(directory, source)
    return ResolvedBase(
        name=check_base_name(name or default_name(source)),
        directory=directory,
        digest=base_digest(directory, cache),
        context_length=int(config["context_length"]),
        config=config,
    )


def default_name(source: str) -> str:
    """The name that a base gets in the API when none is given."""
    if source == POCKET:
        return POCKET_NAME
    directory = Path(source).expanduser()
    return directory.resolve().name if directory.is_dir() else source


def _fetch(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=_HUB_FILES))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise BaseNotUsable(
            f"The base {repository!r} is neither a directory here nor can it be had from the"
            f" Hugging Face hub ({reason}). Name a directory with the model's files, or check the"
            " id, the network and HF_TOKEN."
        ) from error


def _checked_config(directory: Path, source: str) -> dict[str, Any]:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise BaseNotUsable(f"The base {source!r} has no usable config.json: {reason}") from error
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise BaseNotUsable(
            f"The base {source!r} is a {config.model_type!r} model; only causal language models"
            " can be tuned and served."
        )
    if not list(directory.glob("*.safetensors")):
        raise BaseNotUsable(
            f"The base {source!r} has no *.safetensors files in {directory}; other formats are"
            " not loaded, because a pickle can run code."
        )
    from tunesmith.workers.trainer.base import load_chat_limits, load_tokenizer
    from tunesmith.workers.trainer.errors import BaseUnusable

    try:
        tokenizer = load_tokenizer(directory)
        context_length, _ = load_chat_limits(directory, tokenizer)
    except BaseUnusable as error:
        raise BaseNotUsable(f"The base {source!r} cannot be tuned: {error}") from error
    return {
        "architecture": (config.architectures or ["unknown"])[0],
        "model_type": config.model_type,
        "hidden_size": getattr(config.get_text_config(), "hidden_size", None),
        "layers": getattr(config.get_text_config(), "num_hidden_layers", None),
        "context_length": context_length,
    }
