"""From what a person names ('pocket', a directory, a hub id) to a base that can be used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.platform.domain.names import check_base_name
from tunesmith.workers.bases.digest import base_digest
from tunesmith.workers.bases.linears import linear_sizes
from tunesmith.workers.pocket import NAME as POCKET_NAME
from tunesmith.workers.pocket import model_directory

POCKET = "pocket"
# What tokenizers write as `model_max_length` when nobody set it (transformers: int(1e30)).
_NO_LIMIT = 1 << 40
HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


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
        config: architecture, hidden size and layers, to be shown; `linears`, the sizes of the
            linear layers by the last part of their names, for checks at job creation.
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
        cache: where digests of large files are remembered; beside it, sizes of linear layers.

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
    digest = base_digest(directory, cache)
    linears = linear_sizes(
        directory,
        _read_json(directory / "config.json", source),
        digest,
        None if cache is None else cache.with_name("base-linears.json"),
    )
    return ResolvedBase(
        name=check_base_name(name or default_name(source)),
        directory=directory,
        digest=digest,
        context_length=int(config["context_length"]),
        config=config | {"linears": linears},
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
        return Path(snapshot_download(repository, allow_patterns=HUB_FILES))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise BaseNotUsable(
            f"The base {repository!r} is neither a directory here nor can it be had from the"
            f" Hugging Face hub ({reason}). Name a directory with the model's files, or check the"
            " id, the network and HF_TOKEN."
        ) from error


def _checked_config(directory: Path, source: str) -> dict[str, Any]:
    """What the directory's own files say; importing transformers for it would cost seconds."""
    config = _read_json(directory / "config.json", source)
    architecture = (config.get("architectures") or [""])[0]
    if not architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        raise BaseNotUsable(
            f"The base {source!r} is a {architecture or 'nameless'} model; only causal language"
            " models can be tuned and served."
        )
    if not list(directory.glob("*.safetensors")):
        raise BaseNotUsable(
            f"The base {source!r} has no *.safetensors files in {directory}; other formats are"
            " not loaded, because a pickle can run code."
        )
    tokenizer = _read_json(directory / "tokenizer_config.json", source)
    if not tokenizer.get("chat_template") and not list(directory.glob("chat_template.*")):
        raise BaseNotUsable(
            f"The base {source!r} has no chat template, so chats cannot be rendered: take the"
            " model's instruct or chat variant, or add chat_template.jinja to its directory."
        )
    text = config.get("text_config") or config
    limits = [text.get("max_position_embeddings"), tokenizer.get("model_max_length")]
    known = [int(limit) for limit in limits if limit and limit < _NO_LIMIT]
    if not known:
        raise BaseNotUsable(
            f"The base {source!r} states no context length (`max_position_embeddings`)."
        )
    return {
        "architecture": architecture,
        "model_type": config.get("model_type"),
        "hidden_size": text.get("hidden_size"),
        "layers": text.get("num_hidden_layers"),
        "context_length": min(known),
    }


def _read_json(path: Path, source: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BaseNotUsable(
            f"The base {source!r} is no Hugging Face model: {path} is missing."
        ) from error
    except ValueError as error:
        raise BaseNotUsable(f"The base {source!r} is damaged: {path}: {error}") from error
    if not isinstance(content, dict):
        raise BaseNotUsable(f"The base {source!r} is damaged: {path} holds no JSON object.")
    return content
