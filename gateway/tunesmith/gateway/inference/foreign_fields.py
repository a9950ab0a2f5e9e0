"""Fields of a body that are not the client's to set, and those that the gateway must be sure of.

vLLM takes more than OpenAI does, and trusts who asks: of several tenants, none is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.platform.domain.errors import InvalidRequest

_OPERATORS = frozenset(
    (
        "kv_transfer_params",  # blocks of another engine's cache, by their ids
        "ec_transfer_params",
        "request_id",  # ids are the gateway's
        "priority",  # turns are the gateway's
        "data_parallel_rank",
        "lora_request",
    )
)
_FLAGS = ("include_usage", "continuous_usage_stats")
_MOST_CHOICES = 128  # OpenAI's bound; vLLM's own is 16,384
_MOST_TEXTS = 2048  # likewise, of `input`
_MOST_SEQUENCES = 1024
_ASKED_OF = ("messages", "input", "prompt", "previous_input_messages")


def check_fields(body: Mapping[str, Any]) -> None:
    """Refuse what is the operator's matter, and flags that the engine might read otherwise.

    Raises:
        InvalidRequest: with the field as `param`.
    """
    for field in () if _OPERATORS.isdisjoint(body) else sorted(_OPERATORS & body.keys()):
        if body[field] not in (None, 0):
            raise InvalidRequest(
                f"`{field}` is not supported: it is for the engine's operator. Leave it out.",
                param=field,
                code="unsupported_parameter",
            )
    # vLLM takes "yes" and 1 for true: the gateway must know whether usage comes, and how.
    if "stream" in body:
        _check_flag(body["stream"], "stream")
    options = body.get("stream_options")
    if options is not None:
        if not isinstance(options, dict):
            raise _invalid("stream_options", "an object")
        for flag in _FLAGS:
            _check_flag(options.get(flag), f"stream_options.{flag}")
    _check_share(body)
    salt = body.get("cache_salt")
    if salt is not None and not (isinstance(salt, str) and salt):
        raise _invalid("cache_salt", "a text")


def _check_share(body: Mapping[str, Any]) -> None:
    """Refuse a request that is hundreds in the engine, where all tenants' sequences share steps.

    Turns and limits count requests, so one of them must not be a crowd.
    """
    choices = body.get("n")
    if choices is not None and type(choices) is not int:  # vLLM reads "9000" as a number
        raise _invalid("n", "a whole number")
    if choices is not None and choices > _MOST_CHOICES:
        raise _too_many("n", f"{_MOST_CHOICES}")
    prompts, texts = _texts(body.get("prompt")), _texts(body.get("input"))
    if prompts * max(1, choices or 1) > _MOST_SEQUENCES:
        raise _too_many("prompt", f"{_MOST_SEQUENCES} answers, prompts times `n`")
    if texts > _MOST_TEXTS:
        raise _too_many("input", f"{_MOST_TEXTS} texts")


def _texts(value: Any) -> int:
    """How many texts are asked about: a list of tokens is one, and so is one of messages."""
    several = isinstance(value, list) and value and isinstance(value[0], str | list)
    return len(value) if several else 1


def _too_many(name: str, most: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{name}` is for at most {most}: send several requests, or a batch.",
        param=name,
        code="too_many_values",
    )


def may_have_urls(raw: bytes) -> bool:
    r"""Whether a body may name a file by URL: a look that spares most bodies the search.

    A key that ends in `_url` has these letters, unless it is written with `\u` escapes.
    """
    return b"_url" in raw or b"\\u" in raw


def check_urls(body: Mapping[str, Any]) -> None:
    """Refuse URLs that the engine would fetch, as its own network lets it.

    Raises:
        InvalidRequest: an image, sound or file is not given as a `data:` URL.
    """
    rest: list[Any] = [body.get(field) for field in _ASKED_OF]
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, dict):
            for key, value in item.items():
                if key.endswith("_url"):
                    _check_url(key, value)
                rest.append(value)


def _check_url(key: str, value: Any) -> None:
    url = value.get("url") if isinstance(value, dict) else value
    if isinstance(url, str) and not url.startswith("data:"):
        raise InvalidRequest(
            f"`{key}` must be a `data:` URL with the content in base64: no engine fetches it here.",
            param=key,
            code="unsupported_url",
        )


def _check_flag(value: Any, name: str) -> None:
    if value is not None and not isinstance(value, bool):
        raise _invalid(name, "true or false")


def _invalid(name: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"`{name}` must be {what}.", param=name, code="invalid_type")
