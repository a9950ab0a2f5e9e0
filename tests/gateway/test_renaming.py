"""Engines' answers: the digest replaced wherever it stands, however the stream is cut."""

from __future__ import annotations

import json

import pytest

from tunesmith.gateway.inference.renaming import Relay, Renaming
from tunesmith.gateway.inference.usage import Usage, usage_in, usage_in_response
from tunesmith.gateway.models.catalogue import Target

DIGEST = "ab" * 32
NAME = "ft:pocket:acme::abc"
EVENTS = (
    f'data: {{"model":"{DIGEST}","choices":[{{"delta":{{"content":"a\\n"}}}}]}}\n\n'
    f': keep-alive\n\ndata: {{"model":"{DIGEST}","choices":[],'
    '"usage":{"prompt_tokens":7,"total_tokens":11,"completion_tokens":4,'
    '"prompt_tokens_details":{"cached_tokens":1}}}\n\ndata: [DONE]\n\n'
).encode()


def passed_on(pieces: list[bytes], *, drop_usage: bool = False) -> tuple[list[bytes], Usage | None]:
    relay = Relay(Renaming.of(Target("pocket", DIGEST), NAME), drop_usage=drop_usage)
    texts = [relay.passed_on(piece) for piece in pieces]
    return [text for text in (*texts, relay.rest()) if text], relay.usage


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 100, 10_000])
def test_a_stream_is_the_same_however_it_is_cut(size: int) -> None:
    pieces = [EVENTS[start : start + size] for start in range(0, len(EVENTS), size)]
    texts, usage = passed_on(pieces)
    assert b"".join(texts) == EVENTS.replace(DIGEST.encode(), NAME.encode())
    assert all(text.endswith(b"\n") for text in texts)
    assert usage == Usage(7, 4, cached=1)


def test_a_line_without_an_end_is_passed_on() -> None:
    texts, _ = passed_on([b"data: x\n", f"data: {DIGEST}".encode()])
    assert texts == [b"data: x\n", f"data: {NAME}".encode()]


def test_a_name_is_escaped_as_json_needs_it() -> None:
    renaming = Renaming.of(Target("pocket", DIGEST), 'a"b\\c')
    assert json.loads(renaming(json.dumps({"model": DIGEST}).encode())) == {"model": 'a"b\\c'}


def test_a_base_has_nothing_to_rename() -> None:
    text = f'{{"model":"pocket","x":"{DIGEST}"}}'.encode()
    assert Renaming.of(Target("pocket", None), "pocket")(text) is text


def test_the_last_usage_counts_and_a_quoted_one_does_not() -> None:
    first = b'"usage":{"prompt_tokens":7,"total_tokens":8,"completion_tokens":1}'
    last = b'"usage":{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2}'
    assert usage_in(b"{%s}\n{%s}" % (first, last)) == Usage(7, 2)
    quoted = json.dumps({"content": '"usage":{"prompt_tokens":1000,"completion_tokens":1}'})
    assert usage_in(quoted.encode()) is None
    assert usage_in(b'{"usage":null}') is None
    assert usage_in(b'{"usage": {"prompt_tokens": 5, "total_tokens": 5}}') == Usage(5, 0)


def test_a_base_asked_for_by_another_name_is_renamed_where_it_is_the_model_alone() -> None:
    said = {"id": "1", "text": 'pocket, "model":"pocket"', "x": ["pocket"]}
    for separators in ((",", ":"), (", ", ": ")):
        text = json.dumps({"model": "pocket"} | said, separators=separators).encode()
        renamed = Renaming.of(Target("pocket", None), "support-bot")(text)
        assert json.loads(renamed) == {"model": "support-bot"} | said


def test_usage_is_read_in_the_forms_of_chats_responses_and_embeddings() -> None:
    details = b'"prompt_tokens_details": {"cached_tokens": 8}'
    chat = b'"usage": {"prompt_tokens": 9, "completion_tokens": 2, %s}' % details
    assert usage_in(b'{"id": "x", %s, "more": "\xc3\xa4"}' % chat) == Usage(9, 2, cached=8)
    response = (
        b'"usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":4}'
    )
    assert usage_in(b'{"response":{%s}}' % response) == Usage(3, 4, cached=1)
    assert usage_in(
        b'{"usage":{"prompt_tokens":5,"total_tokens":5,"prompt_tokens_details":null}}'
    ) == Usage(5, 0)


@pytest.mark.parametrize("size", [1, 3, 50, 10_000])
def test_a_usage_event_that_was_not_asked_for_is_left_out(size: int) -> None:
    chunk = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
    last = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
    stream = chunk + last + b"data: [DONE]\n\n"
    texts, usage = passed_on(
        [stream[at : at + size] for at in range(0, len(stream), size)], drop_usage=True
    )
    # A line of its own may be left of the empty one that ended the event: it says nothing.
    assert b"".join(texts).replace(b"\n\n\n", b"\n\n") == chunk + b"data: [DONE]\n\n"
    assert usage == Usage(7, 1)


def test_a_tools_schema_is_no_usage_of_a_response() -> None:
    tools = [{"parameters": {"usage": {"input_tokens": 0, "output_tokens": 0}}}]
    usage = {"input_tokens": 5, "output_tokens": 2}
    whole = {"object": "response", "usage": usage, "tools": tools}
    assert usage_in_response(json.dumps(whole).encode()) == Usage(5, 2)
    begun = {"type": "response.created", "response": whole | {"usage": None}}
    ended = {"type": "response.completed", "response": whole}
    first, last = (f"event: x\ndata: {json.dumps(each)}\n\n".encode() for each in (begun, ended))
    assert usage_in_response(first) is None
    assert usage_in_response(first + last) == Usage(5, 2)
    assert usage_in_response(b"data: [DONE]\n\n") is None


def test_events_are_counted_by_their_beginnings() -> None:
    relay = Relay(Renaming.of(Target("pocket", None), "pocket"))
    relay.passed_on(b': a comment\n\ndata: {"a":1}\n\ndata: {"b":"data: {"}\n\ndata: [DONE]\n\n')
    assert relay.events == 3  # a text that looks like one only adds to its own tenant's bill
