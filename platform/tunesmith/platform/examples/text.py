"""Text that UTF-8, tokenizers and databases can carry."""

from __future__ import annotations

from .errors import Refusal

_MAXIMUM_DEPTH = 64  # of lists and objects: far below what stops Python's JSON writer


def check_text(value: object) -> None:
    """Look at every string in a JSON `value`.

    Raises:
        Refusal: one holds U+0000 or half a surrogate pair, or `value` is nested too deeply.
    """
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if isinstance(item, str):
            _check_string(item)
        elif isinstance(item, dict | list):
            if depth >= _MAXIMUM_DEPTH:
                raise Refusal(f"lists and objects are nested more than {_MAXIMUM_DEPTH} deep.")
            waiting.extend((child, depth + 1) for child in item)
            if isinstance(item, dict):
                waiting.extend((child, depth + 1) for child in item.values())


def _check_string(text: str) -> None:
    if "\0" in text:
        raise Refusal("a text holds the character U+0000, which no text needs. Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise Refusal(
            f"a text holds {half}, half of a surrogate pair, which is not a character. Remove it,"
            " or write the character itself."
        ) from error
