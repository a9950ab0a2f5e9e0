"""Personal data: every kind found, look-alikes left alone, nothing shown in the open."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.data_report.pii import check_pii, find_pii
from tunesmith.platform.data_report.pii_kinds import PiiKind
from tunesmith.platform.data_report.table import Table
from tunesmith.platform.examples import Example

Make = Callable[[random.Random], str]


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits, k=count))


def luhn(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def card(rng: random.Random) -> str:
    number = luhn(rng.choice(["4", "51", "55", "2221"]) + digits(rng, 20))[:15]
    number = luhn(number)
    return rng.choice(["", " ", "-"]).join(number[n : n + 4] for n in range(0, 16, 4))


def iban(rng: random.Random) -> str:
    country, bank = rng.choice(
        [("DE", digits(rng, 18)), ("NL", "ABNA" + digits(rng, 10)), ("BE", digits(rng, 12))]
    )
    code = "".join(str(int(c, 36)) for c in bank + country + "00")
    number = f"{country}{98 - int(code) % 97:02}{bank}"
    if rng.random() < 0.5:
        return number
    return " ".join(number[n : n + 4] for n in range(0, len(number), 4))


def ssn(rng: random.Random) -> str:
    return f"{rng.randrange(1, 665):03}-{rng.randrange(1, 99):02}-{rng.randrange(1, 9999):04}"


def dni(rng: random.Random) -> str:
    number = rng.randrange(10**7, 10**8)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def cpf(rng: random.Random) -> str:
    numbers = [rng.randrange(10) for _ in range(9)]
    for _ in range(2):
        weighted = sum(n * (len(numbers) + 1 - i) for i, n in enumerate(numbers))
        numbers.append(weighted * 10 % 11 % 10)
    text = "".join(map(str, numbers))
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def phone(rng: random.Random) -> str:
    area, line = rng.randrange(201, 989), digits(rng, 4)
    return rng.choice(
        [
            f"({area}) {rng.randrange(200, 999)}-{line}",
            f"{area}-{rng.randrange(200, 999)}-{line}",
            f"+1 {area} {rng.randrange(200, 999)} {line}",
            f"+49 30 {rng.randrange(200, 999)}{line}",
            f"+44 20 7946 {line}",
            f"030/{rng.randrange(200, 999)}{line}",
            f"06 {rng.randrange(10, 99)} {rng.randrange(10, 99)} {line[:2]} {line[2:]}",
        ]
    )


def secret(rng: random.Random) -> str:
    return rng.choice(
        [
            f"sk-{letters(rng, 32)}",
            f"sk-proj-{letters(rng, 40)}",
            "AKIA" + "".join(rng.choices(string.ascii_uppercase + string.digits, k=16)),
            f"ghp_{letters(rng, 36)}",
            f"eyJhbGciOiJIUzI1NiJ9.eyJz{letters(rng, 20)}.{letters(rng, 43)}",
            f"xoxb-{digits(rng, 12)}-{digits(rng, 12)}-{letters(rng, 24)}",
            f"-----BEGIN RSA PRIVATE KEY-----\n{letters(rng, 64)}\n-----END RSA PRIVATE KEY-----",
        ]
    )


KINDS: dict[PiiKind, Make] = {
    PiiKind.EMAIL: lambda r: f"{letters(r, 6)}.{letters(r, 4)}@{letters(r, 7).lower()}.co.uk",
    PiiKind.PHONE: phone,
    PiiKind.CARD: card,
    PiiKind.IBAN: iban,
    PiiKind.NATIONAL_ID: lambda r: r.choice([ssn, dni, cpf])(r),
    PiiKind.IP_ADDRESS: lambda r: ".".join(str(r.randrange(1, 224)) for _ in range(4)),
    PiiKind.SECRET: secret,
}

AROUND = (
    "Hello, {} is what I have on file.",
    "Please use {}.",
    "I sent it ({}) on 2024-03-05 at 10:30.",
    "Mine: {}\nThanks!",
    "It says {}, but that's wrong",
)

CLEAN = (
    "Order {8} was placed on 2024-0{1}-1{1} at 1{1}:3{1} and costs 1,{3}.99 EUR.",
    "ISBN 978-3-16-148410-0, article {5}-{3}, page {2} of {3}.",
    "Version 1.{1}.{2}.{1} of the firmware, build {7}, was released in 2023.",
    "Ticket #{6} (customer {10}) is waiting since 0{1}/1{1}/2024.",
    "The parcel weighs {2}.{1} kg and measures {2} x {2} x {2} cm; tracking 1Z{3}AA{8}.",
    "Coordinates 52.{6}, 13.{6}; the ratio is {1}:{2}, or 0.{9}.",
    "Write @support in the chat, or open a::b::c in foo.bar().",
    "Invoice 2024-{4}-{5} over 12 {3} {3} units, 24-48 hours, 1 800 {3} pieces.",
    "We are open from 9:00 to 17:30, Monday-Friday, and closed on 24.12.2024.",
    "The password is too short; your token is invalid. Reset the key in the settings.",
    "SKU AB-{4}-{4}-X and revision {3}f8{2}e387550fdab8{2}ed7e6dc88{1}.",
)


def clean(rng: random.Random) -> str:
    text = rng.choice(CLEAN)
    for count in range(1, 11):
        while f"{{{count}}}" in text:
            text = text.replace(f"{{{count}}}", digits(rng, count), 1)
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_planted_values_are_found_whole(kind: PiiKind) -> None:
    rng = random.Random(f"planted {kind}")
    found, missed = 0, []
    for _ in range(400):
        value = KINDS[kind](rng)
        text = rng.choice(AROUND).format(value)
        if [text[s.start : s.end] for s in find_pii(text) if s.kind is kind] == [value]:
            found += 1
        else:
            missed.append((text, find_pii(text)))
    assert found >= 0.95 * 400, missed[:20]


def test_numbers_of_other_kinds_are_left_alone() -> None:
    rng = random.Random("clean")
    texts = [clean(rng) for _ in range(3000)]
    alarms = [text for text in texts if find_pii(text)]
    assert len(alarms) <= 0.02 * len(texts), alarms[:20]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # Luhn
        "DE89 3704 0044 0532 0130 01",  # check digits
        "12345678A",  # a Spanish DNI with another letter
        "000-12-3456",
        "999.1.1.1",
        "127.0.0.1 and ::1 and 0.0.0.0 and mask 255.255.255.0",
        "password: ********",
        "12:30:45",
        "std::vector<int>::iterator",
    ],
)
def test_what_fails_its_check_is_none(text: str) -> None:
    assert find_pii(text) == []


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("my ssn: 123456789", "123456789", PiiKind.NATIONAL_ID),
        ("phone 2025550123.", "2025550123", PiiKind.PHONE),
        ("the password is hunter2!x.", "hunter2!x", PiiKind.SECRET),
        ('{"api_key": "a1B2c3D4e5F6g7H8"}', "a1B2c3D4e5F6g7H8", PiiKind.SECRET),
        ("postgres://app:s3cr3t@db/x", "s3cr3t", PiiKind.SECRET),
        ("from 2001:db8::8a2e:370:7334", "2001:db8::8a2e:370:7334", PiiKind.IP_ADDRESS),
        ("IBAN GB82 WEST 1234 5698 7654 32 please", "GB82 WEST 1234 5698 7654 32", PiiKind.IBAN),
        ("RSSMRA85T10A562S", "RSSMRA85T10A562S", PiiKind.NATIONAL_ID),
        ("jörg@müller.example", "jörg@müller.example", PiiKind.EMAIL),
    ],
)
def test_context_and_form_decide(text: str, value: str, kind: PiiKind) -> None:
    assert [(s.kind, text[s.start : s.end]) for s in find_pii(text)] == [(kind, value)]


@given(st.lists(st.sampled_from([*AROUND, *CLEAN, "@", "+49", "::", "4111111111111111"])))
@settings(max_examples=60, deadline=None)
def test_spans_are_ordered_and_do_not_overlap(pieces: list[str]) -> None:
    text = " ".join(pieces)
    spans = find_pii(text)
    assert spans == find_pii(text)
    ends = [0]
    for span in spans:
        assert ends[-1] <= span.start < span.end <= len(text)
        ends.append(span.end)


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read(text: str) -> None:
    find_pii(text)


def table_of(rows: list[tuple[str, str]]) -> Table:
    return Table.of(
        Example(
            line,
            [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}],
        )
        for line, (asked, answered) in enumerate(rows, start=2)
    )


def test_findings_name_the_rows_and_mask_the_values() -> None:
    rows = [("What is up?", "Nothing.")] * 10
    rows[3] = ("I am ada@example.org, call +49 30 1234567", "Hello.")
    rows[7] = ("Hi", "Use sk-abcdefghijklmnopqrstuvwx, or grace@example.org.")
    findings = {finding.check: finding for finding in check_pii(table_of(rows))}
    assert set(findings) == {"pii_email", "pii_phone", "pii_secret"}
    assert findings["pii_email"].rows == (5, 9)
    assert findings["pii_email"].details == {"values": 2}
    assert findings["pii_secret"].rows == (9,)
    assert "revoke" in findings["pii_secret"].advice
    for finding in findings.values():
        example = finding.example or ""
        assert "•" in example
        for value in ("ada", "example.org", "1234567", "abcdef", "grace"):
            assert value not in example
