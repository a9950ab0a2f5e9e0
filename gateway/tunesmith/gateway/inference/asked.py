"""What a client asks of a model, read as far as the gateway must know it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tunesmith.gateway.strict_json import parse_object
from tunesmith.platform.domain.errors import InvalidRequest

_ANSWER_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_STATEFUL = ("previous_response_id", "background", "conversation")


@dataclass(slots=True)
class Asked:
    """A request for inference; every field but the model's name is the engine's matter.

    Attributes:
        name: of the model, as the client says it.
        user: who it is for: OpenAI's `user`, or `safety_identifier`, which replaces it there.
        streamed: whether the answer comes as server-sent events.
        wants_usage: whether the client asked for the usage event of a stream.
        most_tokens: of the answer, where the client bounds it.
    """

    path: str
    raw: bytes
    body: dict[str, Any]
    name: str
    user: str | None
    streamed: bool
    wants_usage: bool
    most_tokens: int | None

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
        if path == "/v1/responses":
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
            isinstance(options, dict) and bool(options.get("include_usage")),
            next((n for k in _ANSWER_LIMITS if type(n := body.get(k)) is int and n > 0), None),
        )

    def for_engine(self, model: str) -> bytes:
        """The body under the engine's name of the model.

        A stream is asked to end with its usage, which is counted and, where the client did not
        want it, left out. Responses are not kept: an engine would show one tenant's to another.
        """
        if self.path == "/v1/responses":
            return _encode(self.body | {"model": model, "store": False})
        if self.streamed and not self.wants_usage and self.path in _WITH_STREAM_OPTIONS:
            options = self.body.get("stream_options")
            if options is None or isinstance(options, dict):
                options = (options or {}) | {"include_usage": True}
            return _encode(self.body | {"model": model, "stream_options": options})
        if model == self.name:
            return self.raw
        return self._with_name(model) or _encode(self.body | {"model": model})

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


_WITH_STREAM_OPTIONS = ("/v1/chat/completions", "/v1/completions")
_NAMED = re.compile(rb'("model"\s*:\s*)"(?:[^"\\]|\\.)*"')


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _refuse_state(body: dict[str, Any]) -> None:
    for field in _STATEFUL:
        if body.get(field):
            raise InvalidRequest(
                f"`{field}` is not supported: responses are not kept here. Send the conversation"
                " so far as `input`.",
                param=field,
                code="unsupported_parameter",
            )
