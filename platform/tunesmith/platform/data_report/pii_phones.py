"""Telephone numbers, international and as some countries write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CANDIDATE = re.compile(
    r"(?<![\w.,:/+=#-])"
    r"(?:\+|00(?=[1-9]))?\(?\d(?:[ ./()\u00a0\u2011-]{0,2}\d){6,14}"
    r"(?:[ ,]*(?:x|ext\.?|extension)[ .]*\d{1,5})?"
    r"(?![\w]|[-.,:/]\d|%| ?[€$£])"
)
_AMERICAN = re.compile(
    r"(?:(?:\+|00)?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([-. ]))[2-9]?\d{2}[-. ]\d{4}"
    r"(?:[ ,]*(?:x|ext\.?|extension)[ .]*\d{1,5})?"
)
_CALL = re.compile(
    r"(?:phone|tel|telephone|telefon|téléphone|teléfono|telefone|telefono|mobile?|mobil|handy|cell|fax"
    r"|call|ring|text|whatsapp|sms|dial|reach|number is|nummer|anrufen|ruf|hotline|rückruf|móvil"
    r"|celular|portable)\b[^\d\n]{0,25}$",
    re.IGNORECASE,
)
"""Words before a number that make it one to call."""

_DATE_OR_TIME = re.compile(
    r"(?:19|20)\d\d[-./ ][01]?\d[-./ ][0-3]?\d(?:\D.*)?"
    r"|[0-3]?\d[-./ ][0-3]?\d[-./ ](?:19|20)\d\d(?:\D.*)?"
)
_TRUNK = ("DE", "GB", "FR", "NL", "AT", "CH", "IT", "BE", "SE", "AU", "JP", "IN", "ZA")
"""Countries whose numbers start with 0 at home, or did."""

_OTHERS = ("ES", "PT", "PL", "DK", "NO", "US", "BR", "MX")


def find_phones(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Telephone numbers: international ones that exist, North American ones by their form, others
    as they are written at home, and bare digits after a word such as "phone".
    """
    for match in _CANDIDATE.finditer(text, start, end):
        number = match[0]
        begin = match.start()
        if number.startswith("(") and ")" not in number:  # it opens a remark, not an area code
            number, begin = number[1:], begin + 1
        if _DATE_OR_TIME.fullmatch(number):
            continue
        named = _CALL.search(text, max(0, match.start() - 45), match.start()) is not None
        if _is_phone(number, named=named):
            yield begin, match.end()


def _is_phone(number: str, *, named: bool) -> bool:
    digits = re.sub(r"\D", "", number)
    if len(set(digits)) == 1:
        return False
    if _AMERICAN.fullmatch(number):
        return True
    if number.startswith(("+", "00", "(+")):
        return _possible(number if "+" in number else "+" + number[2:], None)
    separated = len(re.findall(r"\d+", number)) > 1
    if named:
        return (
            _american_digits(digits)
            or any(_valid(number, region) for region in (*_TRUNK, *_OTHERS))
            or (separated and 7 <= len(digits) <= 15)
        )
    if not number.startswith(("0", "(0")):
        return False
    groups = re.findall(r"\d+", number)
    return separated and len(groups[0]) >= 2 and any(_valid(number, r) for r in _TRUNK)


def _american_digits(digits: str) -> bool:
    return re.fullmatch(r"1?[2-9]\d{2}[2-9]\d{6}", digits) is not None


def _possible(number: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return bool(phonenumbers.is_possible_number(phonenumbers.parse(number, region)))
    except phonenumbers.NumberParseException:
        return False


def _valid(number: str, region: str) -> bool:
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, region)))
    except phonenumbers.NumberParseException:
        return False
