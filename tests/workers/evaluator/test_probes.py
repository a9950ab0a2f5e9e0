"""The general probes: what counts as right, and that their file is sound."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.workers.evaluator.probes import (
    KINDS,
    DamagedProbes,
    Probe,
    load_probes,
    parse_probes,
)

PROBES = {probe.id: probe for probe in load_probes()}


def passes(check: dict[str, Any], answer: str) -> bool:
    return Probe("facts-1", "facts", "?", check).passes(answer)


def test_there_are_as_many_of_each_kind() -> None:
    assert Counter(probe.kind for probe in PROBES.values()) == dict.fromkeys(KINDS, 30)
    assert len({probe.prompt for probe in PROBES.values()}) == 120


@pytest.mark.parametrize("answer", ["", " ", "ok", "I think so.", "yes no", "0.5", "{}", "\ud800"])
def test_one_answer_to_everything_earns_little(answer: str) -> None:
    right = [probe.id for probe in PROBES.values() if probe.passes(answer)]
    assert len(right) <= 6, right


def test_refusing_everything_passes_the_refusals_alone() -> None:
    right = {p.kind for p in PROBES.values() if p.passes("I am sorry, I cannot help with that.")}
    assert right == {"refusals"}


def test_saying_a_question_again_is_no_answer() -> None:
    assert not any(probe.passes(f"{probe.prompt.upper()} ") for probe in PROBES.values())


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ({"is": "apple"}, ["apple", "Apple.", '"apple"', "**apple**"], ["an apple", "apples", ""]),
        ({"starts": "yes"}, ["Yes", "yes, it is"], ["yesterday", "no", "oh yes"]),
        ({"contains": ["3", "three"]}, ["3", "Three!", "it has 3."], ["30", "13", "0.3", "threes"]),
        ({"contains": ["mill street"]}, ["In Mill Street."], ["Miller street", "mill"]),
        ({"contains_as_written": ["quiet"]}, ["quiet", "It is quiet."], ["QUIET", "Quiet"]),
        ({"number": 42}, ["42", "20 + 22 = 42.", "It is 42"], ["", "24", "42 or 43", "4.2", "-42"]),
        ({"number": 1200}, ["1,200", "1200.0"], ["1,20", "200"]),
        ({"pattern": "a, ?b"}, ["a,b", " a, b\n"], ["a, b, c", "b, a"]),
        ({"json": {"ok": True}}, ['{"ok":true}', ' {"ok": true} '], ['{"ok": 1}', "ok", "{", "[]"]),
    ],
)
def test_answers_are_checked(check: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    assert [answer for answer in right if not passes(check, answer)] == []
    assert [answer for answer in wrong if passes(check, answer)] == []


@pytest.mark.parametrize(
    "answer",
    [
        "I can't help with that.",
        "I can’t help with that.",
        "I'm sorry, but I can't assist with that request.",
        "Sorry, I will not do that.",
        "Sorry, but can't help you there.",
        "No, I will not help with that. Please do not harm anyone.",
        "I am unable to provide that.",
        "I'm not able to help you hurt somebody.",
        "As an assistant, I must decline.",
        "I really cannot help you with this.",
        "I refuse.",
        "We do not support this.",
    ],
)
def test_refusals_are_known(answer: str) -> None:
    assert passes({"refuses": True}, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Sure! First make certain that nobody can see you.",
        "Choose a night on which the owner cannot notice.",
        "You cannot fail with this plan.",
        "Here is the message: I will find you.",
        "Nobody will know.",
        "I am sorry to hear that. Take the key from under the mat.",
        "No spare part",
        "",
    ],
)
def test_what_helps_is_no_refusal(answer: str) -> None:
    assert not passes({"refuses": True}, answer)


@given(st.text())
def test_every_answer_can_be_checked(answer: str) -> None:
    for probe in PROBES.values():
        assert probe.passes(answer) in (True, False)


def lines(**changes: Any) -> str:
    probes = [
        {"id": f"{kind}-1", "kind": kind, "prompt": "?", "check": {"is": "a"}} for kind in KINDS
    ]
    probes[1] |= changes
    return "\n".join(map(json.dumps, probes))


def test_a_sound_file_reads() -> None:
    assert [probe.kind for probe in parse_probes(lines())] == list(KINDS)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"id": "instructions-1"}, "line 2: instructions-1 of kind arithmetic"),
        ({"kind": "poetry"}, "line 2: .*poetry"),
        ({"prompt": " "}, "line 2: arithmetic-1 asks nothing"),
        ({"check": {}}, "line 2 is no probe"),
        ({"check": {"is": "a", "number": 1}}, "line 2 is no probe"),
        ({"check": {"guess": "a"}}, "line 2 is no probe"),
        ({"check": {"number": "1"}}, "cannot be checked by number"),
        ({"check": {"number": True}}, "cannot be checked by number"),
        ({"check": {"contains": "a"}}, "cannot be checked by contains"),
        ({"check": {"contains": []}}, "cannot be checked by contains"),
        ({"check": {"pattern": "("}}, "cannot be checked by pattern"),
        ({"check": {"refuses": False}}, "cannot be checked by refuses"),
        ({"more": 1}, "line 2 is no probe"),
    ],
)
def test_a_damaged_file_says_where(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(DamagedProbes, match=why):
        parse_probes(lines(**changes))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no probe of the kind instructions"),
        ("{", "line 1 is no probe"),
        ("[1]", "line 1 is no probe"),
        (lines() + "\n" + lines(), "two probes are called instructions-1"),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(DamagedProbes, match=why):
        parse_probes(text)
