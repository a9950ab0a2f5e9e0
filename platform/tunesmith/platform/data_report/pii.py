"""Personal data and secrets in examples: found, counted, and shown only masked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from .finding import Finding, Severity
from .pii_kinds import PiiKind, Span
from .pii_numbers import find_cards, find_ibans, find_named_ids, find_national_ids
from .pii_phones import find_phones
from .pii_secrets import find_secrets
from .table import Table

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%'-]{0,63}[\w+%-]@(?:[\w-]{1,63}\.){1,8}(?:xn--[\w-]{2,}|[^\W\d_]{2,24})(?![\w-])"
)
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4})(?![\w:])"
)
_VERSION = re.compile(
    r"(?:version|release|firmware|build|\bv|section|chapter)[ .:]*$", re.IGNORECASE
)

# Four digits or more, close together: all numbers but IBANs lie within such a run and a little
# around it. The slower patterns look only there.
_RUN = re.compile(r"[0-9](?:[^0-9]{0,4}[0-9]){3,}")
_BEFORE = 10
_AFTER = 16

_DOTS = 3
_COLONS = 7
"""Fewest in an address (IPv6 written in full)."""

_NAMES = {
    PiiKind.EMAIL: "e-mail addresses",
    PiiKind.PHONE: "telephone numbers",
    PiiKind.CARD: "payment card numbers",
    PiiKind.IBAN: "bank account numbers (IBAN)",
    PiiKind.NATIONAL_ID: "national identity or social security numbers",
    PiiKind.IP_ADDRESS: "IP addresses",
    PiiKind.SECRET: "keys, tokens or passwords",
}
_SEVERITY = {PiiKind.IP_ADDRESS: Severity.NOTE}
_AROUND = 30


def find_pii(text: str) -> list[Span]:
    """The personal data and secrets of a text, in its order, none overlapping another.

    Where two kinds claim the same characters, the one comes first that is the surer: a secret, an
    address, then numbers with check digits, and last a telephone number.
    """
    found: list[Span] = []
    for kind, start, end in _candidates(text):
        if all(end <= other.start or other.end <= start for other in found):
            found.append(Span(kind, start, end))
    return sorted(found, key=lambda span: span.start)


def _candidates(text: str) -> Iterator[Span]:
    for start, end in find_secrets(text):
        yield Span(PiiKind.SECRET, start, end)
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield Span(PiiKind.EMAIL, *match.span())
    windows = _windows(text)
    if windows:
        yield from (Span(PiiKind.IBAN, *found) for found in find_ibans(text))
    for window in windows:
        yield from (Span(PiiKind.CARD, *found) for found in find_cards(text, *window))
    for window in windows:
        yield from (Span(PiiKind.NATIONAL_ID, *found) for found in find_national_ids(text, *window))
    if windows:
        yield from (Span(PiiKind.NATIONAL_ID, *found) for found in find_named_ids(text))
    if text.count(".") >= _DOTS or "::" in text or text.count(":") >= _COLONS:
        yield from (Span(PiiKind.IP_ADDRESS, *found) for found in _addresses(text))
    for window in windows:
        yield from (Span(PiiKind.PHONE, *found) for found in find_phones(text, *window))


def _windows(text: str) -> list[tuple[int, int]]:
    """The parts of a text in which numbers may stand, those that overlap as one."""
    windows: list[tuple[int, int]] = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        if windows and start - _BEFORE <= windows[-1][1]:
            windows[-1] = (windows[-1][0], end + _AFTER)
        else:
            windows.append((max(0, start - _BEFORE), end + _AFTER))
    return windows


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """IP addresses of a machine: none that mean "here" or "anywhere", no version numbers."""
    patterns = (_IPV4, _IPV6) if ":" in text else (_IPV4,)
    for pattern in patterns:
        for match in pattern.finditer(text):
            if pattern is _IPV6 and len(re.findall(r"[0-9A-Fa-f]+", match[0])) < 3:
                continue
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            here = address.is_loopback or address.is_unspecified or address.is_multicast
            mask = match[0].startswith("255.")
            if not here and not mask and not _VERSION.search(text[: match.start()][-20:]):
                yield match.span()


def check_pii(table: Table) -> list[Finding]:
    """A finding for each kind of personal data, about inputs and answers alike."""
    rows: dict[PiiKind, list[int]] = {}
    values: dict[PiiKind, int] = {}
    examples: dict[PiiKind, str] = {}
    for row in range(len(table)):
        seen: set[PiiKind] = set()
        for text in (table.inputs[row], table.answers[row], table.rejected[row]):
            if not text:
                continue
            spans = find_pii(text)
            for span in spans:
                values[span.kind] = values.get(span.kind, 0) + 1
                if span.kind not in seen:
                    seen.add(span.kind)
                    rows.setdefault(span.kind, []).append(row)
                if span.kind not in examples:
                    examples[span.kind] = _masked_around(text, span, spans)
    return [
        Finding.of_rows(
            f"pii_{kind}",
            _SEVERITY.get(kind, Severity.WARNS),
            [table.lines[row] for row in rows[kind]],
            len(table),
            message=f"{len(rows[kind]):,} rows hold {_NAMES[kind]} ({values[kind]:,} in all).",
            advice=_advice(kind),
            example=examples[kind],
            details={"values": values[kind]},
        )
        for kind in PiiKind
        if kind in rows
    ]


def _advice(kind: PiiKind) -> str:
    redact = "Remove them, or train on a redacted copy in which placeholders stand for them"
    if kind is PiiKind.SECRET:
        return f"{redact}, and revoke what is still valid: a model can repeat what it has seen."
    return f"{redact}, unless they are public: a model can repeat what it has seen."


def masked(value: str) -> str:
    """A value of which only the first character and its signs are to be seen."""
    return value[:1] + "".join("•" if character.isalnum() else character for character in value[1:])


def _masked_around(text: str, span: Span, spans: list[Span]) -> str:
    """A piece of text around `span` with every value in it masked."""
    hidden = list(text)
    for other in spans:
        hidden[other.start : other.end] = masked(text[other.start : other.end])
    start, end = max(0, span.start - _AROUND), min(len(text), span.end + _AROUND, span.start + 200)
    return " ".join("".join(hidden[start:end]).split())
