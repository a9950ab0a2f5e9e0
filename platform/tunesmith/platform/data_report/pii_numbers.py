"""Numbers that name a person or an account: cards, bank accounts, national identity numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

_CARD = re.compile(r"(?<![\w.,-])(?:\d[ -]?){12,18}\d(?![\w-]|[.,]\d)")
_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)\d*|3[47]\d{13}"
    r"|6(?:011|5|4[4-9])\d*|35\d{14}|3(?:0[0-5]|[689])\d*|62\d{14,17}|(?:5018|5020|5038|6304|67)\d*"
)
"""Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay, Maestro."""

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{2,4}){2,9}(?![A-Za-z0-9])")
_IBAN_HINT = re.compile(r"[0-9]{2}(?<=[A-Za-z]{2}[0-9]{2})[ -]?[A-Za-z0-9]{4}")

_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\w-])")
_NAMED_SSN = re.compile(
    r"(?:\bssn\b|social security)\D{0,25}((?!000|666|9)\d{3}(?!00)\d{2}(?!0000)\d{4})(?!\d)",
    re.IGNORECASE,
)

_IDS: tuple[tuple[str, str], ...] = (
    ("br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    ("ca.sin", r"[1-79]\d{2}SEP\d{3}SAME\d{3}"),
    ("ch.ssn", r"756\.?\d{4}\.?\d{4}\.?\d{2}"),
    ("cl.rut", r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]"),
    ("cn.ric", r"[1-8]\d{5}(?:19|20)\d{9}[\dX]"),
    ("de.idnr", r"\d{2} \d{3} \d{3} \d{3}"),
    ("es.dni", r"\d{8}-?[A-HJ-NP-TV-Z]"),
    ("es.nie", r"[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z]"),
    ("fi.hetu", r"\d{6}[-+A]\d{3}[0-9A-FHJ-NPR-Y]"),
    ("fr.nir", r"[12] ?\d{2} ?[01]\d ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}"),
    ("in_.aadhaar", r"[2-9]\d{3}SEP\d{4}SAME\d{4}"),
    ("in_.pan", r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]"),
    ("it.codicefiscale", r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]"),
    ("kr.rrn", r"\d{6}-[1-4]\d{6}"),
    ("mx.curp", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z0-9]\d"),
    ("pl.pesel", r"\d{11}"),
    ("be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"),
    ("se.personnummer", r"(?:19|20)?\d{6}[-+]\d{4}"),
)
"""python-stdnum's module, and the form in which the number is written; SEP is a space or a hyphen,
and SAME the same one again. Left out are numbers that
are mere digits with a weak checksum, such as nine digits, of which every eleventh would be one."""

_NINO = r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"
"""The British national insurance number, which has no checksum."""


def _named(name: str, form: str) -> str:
    separated = form.replace("SEP", f"(?P<{name}s>[ -])").replace("SAME", f"(?P={name}s)")
    return f"(?P<{name}>{separated})"


_ANY_ID = re.compile(
    # The look-ahead passes over words at once, which would be tried against every form.
    r"(?<![\w.,/-])(?=\d|[A-Z]{1,6}[ -]?\d)(?:"
    + "|".join(
        _named(name, form)
        for name, form in (*((f"i{n}", form) for n, (_, form) in enumerate(_IDS)), ("nino", _NINO))
    )
    + r")(?![\w/-]|[.,]\d)"
)


def find_cards(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Payment cards: 13 to 19 digits of an issuer with Luhn's check digit."""
    for match in _CARD.finditer(text, start, end):
        digits = match[0].replace(" ", "").replace("-", "")
        if _ISSUERS.fullmatch(digits) and len(set(digits)) > 1 and _validator("luhn")(digits):
            yield match.span()


def find_ibans(text: str) -> Iterator[tuple[int, int]]:
    """International bank account numbers with their length and check digits (ISO 13616)."""
    if not _IBAN_HINT.search(text):
        return
    from stdnum import iban

    for match in _IBAN.finditer(text):
        number = match[0]
        while number:
            if iban.is_valid(number, check_country=False):
                yield match.start(), match.start() + len(number)
                break
            # The next word may look like one more group.
            shorter = re.sub(r"[ -][A-Za-z0-9]+$", "", number)
            number = shorter if shorter != number else ""


def find_named_ids(text: str) -> Iterator[tuple[int, int]]:
    """Bare nine digits that the text calls a social security number."""
    for match in _NAMED_SSN.finditer(text):
        yield match.span(1)


def find_national_ids(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """National identity, tax and insurance numbers: of the form, and with the check digit."""
    for match in _SSN.finditer(text, start, end):
        yield match.span()
    for match in _ANY_ID.finditer(text, start, end):
        name = match.lastgroup or ""
        if name.endswith("s"):  # a separator's group closed last
            name = name[:-1]
        if name == "nino" or _validator(_IDS[int(name[1:])][0])(match[0]):
            yield match.span()


@cache
def _validator(module: str) -> Callable[[str], bool]:
    is_valid: Callable[[str], bool] = import_module(f"stdnum.{module}").is_valid
    return is_valid
