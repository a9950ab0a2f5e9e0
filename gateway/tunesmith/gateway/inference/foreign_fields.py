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
    salt = body.get("cache_salt")
    if salt is not None and not (isinstance(salt, str) and salt):
        raise _invalid("cache_salt", "a text")


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
