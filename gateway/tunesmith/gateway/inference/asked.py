"""What a client asks of a model, read as far as the gateway must know it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tunesmith.gateway.strict_json import parse_object
from tunesmith.platform.domain.errors import InvalidRequest

from .foreign_fields import check_fields, check_urls, may_have_urls

BYTES_PER_TOKEN = 4
_STATEFUL = ("previous_response_id", "background", "conversation")


@dataclass(slots=True)
class Asked:
    """A request for inference; every field but the model's name is the engine's matter.

    Attributes:
        name: of the model, as the client says it.
        user: who it is for: OpenAI's `user`, or `safety_identifier`, which replaces it there.
        streamed: whether the answer comes as server-sent events.
        wants_usage: whether the client asked for the usage event of a stream.
    """

    path: str
    raw: bytes
    body: dict[str, Any]
    name: str
    user: str | None
    streamed: bool
    wants_usage: bool

    @classmethod
    def of(cls, path: str, raw: bytes) -> Asked:
        """A request's body.

        Raises:
            InvalidRequest: it cannot be passed on.
        """
        body = parse_object(raw)
        name = body.get("model")
        if not isinstance(name, str) or not name or not name.isprintable():
            raise InvalidRequest(
                "You must provide a `model`: the name of a base, of one of your tuned models, or"
                " of one of your aliases.",
                param="model",
                code="missing_required_parameter" if name is None else "invalid_value",
            )
        check_fields(body)
        if path == _RESPONSES:
            _refuse_state(body)
        user = body.get("user") or body.get("safety_identifier")
        options = body.get("stream_options")
        return cls(
            path,
            raw,
            body,
            name,
            user if isinstance(user, str) else None,
            body.get("stream") is True,
            options is not None and options.get("include_usage") is True,
        )

    @property
    def prompt_tokens(self) -> int:
        """About how many tokens the prompt has, where the engine did not say."""
        return len(self.raw) // BYTES_PER_TOKEN

    @property
    def tokens_an_event(self) -> int:
        """How many tokens an event of a stream may have, as the client asked."""
        interval = self.body.get("stream_interval")
        return interval if type(interval) is int and 1 <= interval <= _LONGEST_INTERVAL else 1

    def check_urls(self) -> None:
        """Refuse URLs that the engine would fetch.

        Raises:
            InvalidRequest: it has one.
        """
        if may_have_urls(self.raw):
            check_urls(self.body)

    def for_engine(self, model: str, salt: str | None = None) -> bytes:
        """The body under the engine's name of the model.

        A stream is asked to end with its usage, which is counted and, where the client did not
        want it, left out. Responses are not kept: an engine would show one tenant's to another.

        Args:
            salt: of letters, digits and `-_`, in which the engine's cache of prompts is told apart
                from that of other salts.
        """
        if salt is not None and self.path in _WITHOUT_CACHE:
            salt = None
        if not (self.streamed or self.path == _RESPONSES or "cache_salt" in self.body):
            renamed = self.raw if model == self.name else self._with_name(model)
            if renamed is not None:
                return renamed if salt is None else _with_salt(renamed, salt)
        changes: dict[str, Any] = {"model": model}
        if self.path == _RESPONSES:
            changes["store"] = False
        elif self.streamed and not self.wants_usage and self.path in _WITH_STREAM_OPTIONS:
            options = dict(self.body.get("stream_options") or {})
            # Without `include_usage` it does nothing, and it must not begin to.
            options.pop("continuous_usage_stats", None)
            changes["stream_options"] = options | {"include_usage": True}
        if salt is not None:
            changes["cache_salt"] = self._salted(salt)
        return _encode(self.body | changes)

    def _salted(self, salt: str) -> str:
        own = self.body.get("cache_salt")
        return salt if own is None else f"{salt}-{sha256(own.encode()).hexdigest()[:40]}"

    def _with_name(self, model: str) -> bytes | None:
        r"""The bytes as they came with the name replaced, where it is plain which are the name's.

        `"model"` that stands once in a text without `\u` escapes is the key that was read: as a
        key of something inside, or as a value, it would stand there another time.
        """
        if self.raw.count(b'"model"') != 1 or b"\\u" in self.raw:
            return None
        changed, count = _NAMED.subn(
            lambda found: found[1] + json.dumps(model).encode(), self.raw, count=1
        )
        return changed if count else None


_LONGEST_INTERVAL = 1_000_000
_WITH_STREAM_OPTIONS = ("/v1/chat/completions", "/v1/completions")
_RESPONSES = "/v1/responses"
_WITHOUT_CACHE = ("/tokenize", "/detokenize")
_NAMED = re.compile(rb'("model"\s*:\s*)"(?:[^"\\]|\\.)*"')


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _encode(body: dict[str, Any]) -> bytes:
    return _ENCODER.encode(body).encode()


def _with_salt(raw: bytes, salt: str) -> bytes:
    """An object's text with a salt before its other fields, of which it has at least one."""
    at = raw.find(b"{") + 1
    return b'%b"cache_salt":"%b",%b' % (raw[:at], salt.encode(), raw[at:])


def _refuse_state(body: dict[str, Any]) -> None:
    for field in _STATEFUL:
        if body.get(field):
            raise InvalidRequest(
                f"`{field}` is not supported: responses are not kept here. Send the conversation"
                " so far as `input`.",
                param=field,
                code="unsupported_parameter",
            )
