"""The lines of a batch's input: whatever comes, each is a request or an error with its number."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.gateway.batches import lines
from tunesmith.gateway.batches.lines import BadLine, Line, check, parse_line, read_lines

ENDPOINT = "/v1/embeddings"

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_body = st.fixed_dictionaries(
    {"model": st.sampled_from(["pocket", "", 3, None])},
    optional={"stream": st.sampled_from([True, False, None, 1, 0, "no"]), "input": _json},
)
_request = st.fixed_dictionaries(
    {
        "custom_id": st.sampled_from(["a", "b", "c", "", 3, None]) | st.text(max_size=600),
        "method": st.sampled_from(["POST", "POST", "GET", None]),
        "url": st.sampled_from([ENDPOINT, ENDPOINT, "/v1/completions", 3]),
        "body": _body | _body | _json,
    }
)
_raw = st.binary(max_size=40).filter(lambda raw: b"\n" not in raw) | _json.map(
    lambda value: json.dumps(value).encode()
)
_line = _request.map(lambda value: json.dumps(value).encode()) | _raw


def good(name: str = "a", **change: Any) -> bytes:
    value = {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": {"model": "m"}}
    return json.dumps(value | change).encode()


def found(data: bytes) -> list[Line | BadLine]:
    return list(read_lines(io.BytesIO(data), ENDPOINT))


@given(st.lists(_line, max_size=12), st.booleans())
def test_every_line_is_a_request_or_an_error_in_its_place(raw: list[bytes], ends: bool) -> None:
    data = b"\n".join(raw) + (b"\n" if ends else b"")
    came = found(data)
    numbers = [item.number if isinstance(item, Line) else item.line for item in came]
    assert numbers == [n for n, text in enumerate(raw, start=1) if text.strip()]
    ids = [item.custom_id for item in came if isinstance(item, Line)]
    assert len(ids) == len(set(ids))
    for item in came:
        if isinstance(item, BadLine):
            assert item.message
            assert item.code
            continue
        value = json.loads(raw[item.number - 1])
        assert (value["method"], value["url"]) == ("POST", ENDPOINT)
        assert 1 <= len(item.custom_id) <= lines.MAX_CUSTOM_ID
        assert item.body == value["body"]
        assert item.model == value["body"]["model"]
        assert not value["body"].get("stream")


@given(st.lists(_line, max_size=12))
def test_a_check_counts_what_reading_finds(raw: list[bytes]) -> None:
    data = b"\n".join(raw)
    checked = check(io.BytesIO(data), ENDPOINT)
    came = found(data)
    assert checked.total == sum(isinstance(item, Line) for item in came)
    wrong = len(came) - checked.total
    assert checked.errors.count == (wrong if came else 1)
    assert set(checked.models) == {item.model for item in came if isinstance(item, Line)}


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (good()[:-1] + b', "url": 1}', "invalid_json_line", "url"),
        (good().replace(b'"m"', b"NaN"), "invalid_json_line", None),
        (good("\ud800"), "invalid_json_line", None),
        (good(body={"model": "m", "x": [[]] * 1, "y": "\udc00"}), "invalid_json_line", None),
        (b'{"custom_id": "a"}', "missing_required_parameter", "method"),
        (good(body=None), "missing_required_parameter", "body"),
        (good(custom_id=7), "invalid_value", "custom_id"),
        (good("x" * 513), "invalid_value", "custom_id"),
        (good(method="post"), "invalid_method", "method"),
        (good(url="/v1/batches"), "invalid_url", "url"),
        (good(body=[]), "invalid_value", "body"),
        (good(body={"model": "a\nb"}), "invalid_value", "body.model"),
        (good(body={"model": "m", "stream": True}), "invalid_value", "body.stream"),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, code: str, param: str | None) -> None:
    with pytest.raises(BadLine) as caught:
        parse_line(raw, 7, ENDPOINT)
    assert (caught.value.code, caught.value.line) == (code, 7)
    if param is not None:
        assert caught.value.param in (param, None)
    assert "body is not valid JSON" not in caught.value.message


def test_a_line_that_is_too_long_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_MAX_LINE", 120)
    data = b"\n".join([good("a"), good("b" * 300), good("c")])
    assert [item.code if isinstance(item, BadLine) else item.custom_id for item in found(data)] == [
        "a",
        "line_too_long",
        "c",
    ]
    assert isinstance(found(good("b" * 300))[0], BadLine)


def test_one_request_too_many_is_the_last_thing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_REQUESTS", 2)
    came = found(b"\n".join(map(good, "abcd")))
    assert [type(item) for item in came] == [Line, Line, BadLine]
    assert isinstance(came[-1], BadLine)
    assert (came[-1].code, came[-1].line) == ("too_many_requests", 3)
