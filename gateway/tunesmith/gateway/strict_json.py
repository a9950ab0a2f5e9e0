"""JSON objects, read strictly: what two parsers could read differently is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import inf
from typing import Any

from tunesmith.platform.domain.errors import InvalidRequest

MAX_DEPTH = 100
"""Deepest nesting of lists and objects."""

MAX_VALUES = 500_000
MAX_BRACKETS = 200_000
"""Commas, and opening brackets, in a body, those in texts included. 16 MiB of `[],[],` take many
seconds to read, in which nobody else is answered; this much takes 0.2 s at most. A million tokens
of text, or half a million token ids, are below both."""

# UTF-8 has no bytes for half a pair and a JSON text none for NUL: both come as escapes alone.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidRequest: it is not JSON by RFC 8259 (NaN, Infinity), not an object, has a number
            beyond a double's, names a key twice, has half a surrogate pair, is nested deeper
            than `MAX_DEPTH`, or has more parts than `MAX_VALUES` and `MAX_BRACKETS` allow.
    """
    brackets = raw.count(b"{") + raw.count(b"[")
    if brackets > MAX_BRACKETS or (len(raw) > MAX_VALUES and raw.count(b",") > MAX_VALUES):
        raise InvalidRequest(
            f"The body has too many parts: more than {MAX_VALUES:,} commas or {MAX_BRACKETS:,}"
            " brackets. Send it in several requests.",
            code="too_many_values",
        )
    try:
        value = _DECODER.decode(raw.decode())
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).",
            code="invalid_json",
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not UTF-8.", code="invalid_json") from error
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:  # a number of thousands of digits
        raise InvalidRequest(
            f"The body is not valid JSON: {error}.", code="invalid_json"
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    # Most bodies have fewer brackets than the limit has levels: those need no second look.
    if brackets > MAX_DEPTH:
        _check_depth(value)
    if _SURROGATE.search(raw):
        check_texts(value, _refuse_half_a_character)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidRequest(
                    f"The body names {key[:80]!r} twice in one object.",
                    param=key[:80],
                    code="duplicate_key",
                )
            seen.add(key)
    return value


def _refuse_constant(name: str) -> Any:
    raise InvalidRequest(f"The body is not valid JSON: {name} is no number.", code="invalid_json")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def check_texts(value: Any, check: Callable[[str], None]) -> None:
    """Have `check` look at every key and text in a value, however deep."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            rest.extend(item.keys())
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, str):
            check(item)


def _refuse_half_a_character(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The body has a text with half of a surrogate pair, which is no character.",
            code="invalid_text",
        ) from error


def _too_deep() -> InvalidRequest:
    return InvalidRequest(
        f"The body is nested deeper than {MAX_DEPTH} levels.", code="nesting_too_deep"
    )


def _finite(text: str) -> float:
    value = float(text)
    if value in (inf, -inf):
        raise InvalidRequest(f"The body has a number that is too large: {text[:40]}.")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
)
