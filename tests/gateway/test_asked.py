"""What of a body reaches an engine: under which model, with which fields, in which bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tunesmith.gateway import strict_json
from tunesmith.gateway.inference.asked import Asked
from tunesmith.platform.domain.errors import InvalidRequest

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
DIGEST = "ab" * 32
SALT = "tenant_1"

_TEXTS = st.one_of(
    st.sampled_from(["model", '"model"', '\\"model"', '"model": "x"', "m\u006fdel", "\\u006d", ""]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        _TEXTS,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
_SET_BY_US = {"stream", "stream_options", "cache_salt", "store"}
_REFUSED = {
    *("priority", "request_id", "kv_transfer_params", "ec_transfer_params"),
    *("data_parallel_rank", "lora_request"),
    *("previous_response_id", "background", "conversation"),
}


def seen(text: bytes) -> dict[str, Any]:
    """What an engine reads, which sees no key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    read: dict[str, Any] = json.loads(text, object_pairs_hook=unique)
    return read


def _escaped(text: str, which: set[int]) -> str:
    return "".join(
        f"\\u{ord(c):04x}"
        if n in which and ord(c) < 0x10000
        else json.dumps(c, ensure_ascii=False)[1:-1]
        for n, c in enumerate(text)
    )


@given(
    fields=st.dictionaries(_TEXTS, _VALUES, max_size=5),
    name=st.text(st.characters(exclude_categories=["Cs", "C", "Z"]), min_size=1, max_size=8),
    key_escapes=st.sets(st.integers(0, 5), max_size=2),
    name_escapes=st.sets(st.integers(0, 8), max_size=2),
    space=st.sampled_from(["", " ", "\n\t\r "]),
    place=st.integers(0, 5),
    path=st.sampled_from([CHAT, "/v1/completions", "/v1/embeddings", RESPONSES, "/tokenize"]),
    stream=st.sampled_from([None, False, True]),
    salt=st.sampled_from([None, SALT]),
)
@example({"x": '"model"'}, "a", set(), set(), "", 0, CHAT, None, None)
@example({"x": {"model": "other"}}, "a", {0}, set(), " ", 0, CHAT, True, SALT)
def test_an_engine_sees_the_model_that_was_let_in_and_nothing_else_changed(
    fields: dict[str, Any],
    name: str,
    key_escapes: set[int],
    name_escapes: set[int],
    space: str,
    place: int,
    path: str,
    stream: bool | None,
    salt: str | None,
) -> None:
    fields = {k: v for k, v in fields.items() if k not in {"model", *_SET_BY_US, *_REFUSED}}
    items = [f"{json.dumps(k)}{space}:{space}{json.dumps(v)}" for k, v in fields.items()]
    key, value = _escaped("model", key_escapes), _escaped(name, name_escapes)
    items.insert(place, f'"{key}"{space}:{space}"{value}"')
    if stream is not None:
        items.append(f'"stream":{json.dumps(stream)}')
    raw = f"{space}{{{space}{f'{space},'.join(items)}}}{space}".encode()
    asked = Asked.of(path, raw)
    assert asked.name == name
    sent = seen(asked.for_engine(DIGEST, salt))
    assert sent.pop("model") == DIGEST
    if salt is not None and path != "/tokenize":
        assert sent.pop("cache_salt") == SALT
    if path == RESPONSES:
        assert sent.pop("store") is False
    elif stream and path in (CHAT, "/v1/completions"):
        assert sent.pop("stream_options") == {"include_usage": True}
    assert sent.pop("stream", None) is stream
    assert sent == fields


def test_bytes_stay_as_they_came_but_for_the_name() -> None:
    raw = b' { "model" :\t"a\\/b" , "x": 1.0e0, "y": "\xc3\xa4 \\"model\\"" } '
    sent = Asked.of(CHAT, raw).for_engine(DIGEST)
    assert sent == raw.replace(b'"a\\/b"', b'"%b"' % DIGEST.encode())
    salted = Asked.of(CHAT, raw).for_engine("a/b", SALT)
    assert salted == b' {"cache_salt":"tenant_1",' + raw[2:]


def test_a_clients_own_salt_stays_within_its_tenants() -> None:
    def salt_of(own: str, tenant: str) -> str:
        raw = json.dumps({"model": "m", "cache_salt": own}).encode()
        salt = seen(Asked.of(CHAT, raw).for_engine(DIGEST, tenant))["cache_salt"]
        assert isinstance(salt, str)
        assert len(salt) <= 128  # vLLM's limit, and no `@`, `/` or `\`
        assert not set("@/\\\0") & set(salt)
        return salt

    salts = {salt_of(own, t) for own in ("a", "tenant_2", "x" * 500, "@/") for t in ("t_1", "t_2")}
    assert len(salts) == 8
    assert not salts & {"t_1", "t_2"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": 1}, "stream"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        (
            {"stream": True, "stream_options": {"include_usage": "no"}},
            "stream_options.include_usage",
        ),
        (
            {"stream_options": {"continuous_usage_stats": 1}},
            "stream_options.continuous_usage_stats",
        ),
        ({"cache_salt": 5}, "cache_salt"),
        ({"cache_salt": ""}, "cache_salt"),
        ({"priority": -1}, "priority"),
        ({"request_id": "x"}, "request_id"),
        ({"kv_transfer_params": {"do_remote_prefill": True}}, "kv_transfer_params"),
        ({"ec_transfer_params": {}}, "ec_transfer_params"),
        ({"lora_request": {"lora_path": "/x"}}, "lora_request"),
        ({"data_parallel_rank": 1}, "data_parallel_rank"),
        ({"n": 129}, "n"),
        ({"n": "9000"}, "n"),
        ({"n": 9000.0}, "n"),
        ({"prompt": ["x"] * 1025}, "prompt"),
        ({"prompt": [[1, 2]] * 9, "n": 128}, "prompt"),
        ({"input": ["x"] * 2049}, "input"),
    ],
)
def test_what_is_not_the_clients_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Asked.of(CHAT, json.dumps({"model": "m"} | fields).encode())
    assert refused.value.param == param


def test_what_says_nothing_is_let_through() -> None:
    fields = {"priority": 0, "request_id": None, "stream": None, "stream_options": None, "n": None}
    Asked.of(CHAT, json.dumps({"model": "m"} | fields).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": [7] * 9000, "n": 128},
        {"prompt": ["x"] * 1024},
        {"input": ["x"] * 2048},
        {"input": [{}] * 5000},
    ],
)
def test_many_texts_in_one_request_are_fine(fields: dict[str, Any]) -> None:
    Asked.of(CHAT, json.dumps({"model": "m"} | fields).encode())


def test_continuous_usage_that_would_have_done_nothing_does_not_begin_to() -> None:
    options = {"include_usage": False, "continuous_usage_stats": True, "other": 1}
    body = {"model": "m", "stream": True, "stream_options": options}
    sent = seen(Asked.of(CHAT, json.dumps(body).encode()).for_engine("m"))
    assert sent["stream_options"] == {"include_usage": True, "other": 1}
    body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    asked = Asked.of(CHAT, json.dumps(body).encode())
    assert asked.wants_usage
    assert seen(asked.for_engine("m")) == body


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("http://169.254.169.254/latest/meta-data", True),
        ("https://example.com/cat.png", True),
        ("file:///etc/passwd", True),
        ("//host/x", True),
        (" data:image/png;base64,xx", True),
        ("", True),
        ("data:image/png;base64,xx", False),
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_engines_fetch_no_urls(url: str, is_refused: bool, escaped: bool) -> None:
    image = {"type": "image_url", "image_url": {"url": url}}
    flat = {"type": "input_image", "image_url": url}
    for path, body in (
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, image]}]}),
        ("/tokenize", {"messages": [{"role": "user", "content": [{"audio_url": url}]}]}),
        ("/v1/embeddings", {"messages": [{"role": "user", "content": [image]}]}),
        (RESPONSES, {"input": [{"role": "user", "content": [flat]}]}),
        (RESPONSES, {"input": [{"type": "input_file", "file_url": url}]}),
    ):
        text = json.dumps({"model": "m"} | body)
        if escaped:
            text = text.replace("_url", "\\u005furl")
        asked = Asked.of(path, text.encode())
        if is_refused:
            with pytest.raises(InvalidRequest) as refused:
                asked.check_urls()
            assert refused.value.code == "unsupported_url"
        else:
            asked.check_urls()


def test_words_that_are_no_urls_to_fetch_are_fine() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "see http://x/ and image_url"}],
        "tools": [{"function": {"parameters": {"properties": {"photo_url": {"type": "string"}}}}}],
        "input": [{"annotations": [{"type": "url_citation", "url": "https://x/"}]}],
    }
    Asked.of(CHAT, json.dumps(body).encode()).check_urls()


def test_a_body_of_too_many_parts_is_refused_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strict_json, "MAX_VALUES", 1000)
    monkeypatch.setattr(strict_json, "MAX_BRACKETS", 500)
    for part, most in (("0", 1000), ("[]", 400)):
        for count, refused in ((most // 2, False), (2 * most, True)):
            raw = f'{{"model": "m", "prompt": [{",".join([part] * count)}]}}'.encode()
            if not refused:
                Asked.of(CHAT, raw)
                continue
            with pytest.raises(InvalidRequest) as error:
                Asked.of(CHAT, raw)
            assert error.value.code == "too_many_values"


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_a_refusal(raw: bytes) -> None:
    try:
        asked = Asked.of(CHAT, raw)
    except InvalidRequest:
        return
    assume(asked)
    assert seen(asked.for_engine(DIGEST))["model"] == DIGEST
