"""An engine's answer as the client should see it: under the name that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from tunesmith.gateway.models.catalogue import Target

from .usage import Usage, usage_in

_NO_CHOICES = re.compile(rb'"choices":\s?\[\]')


@dataclass(frozen=True, slots=True)
class Renaming:
    """Replaces the engine's name of a model by the name that was asked for.

    Without parsing: a digest is 64 hex digits that occur nowhere by chance, and a model's name
    needs no escape in JSON beyond what `json.dumps` gives it. A base's name may occur in a text,
    so only `"model":"base"` is replaced, which cannot stand inside a JSON string.
    """

    digest: bytes | None
    base: re.Pattern[bytes] | None
    name: bytes

    @classmethod
    def of(cls, target: Target, name: str) -> Renaming:
        """For answers about `target`, asked for as `name`."""
        return _renaming(target, name)

    def __call__(self, text: bytes) -> bytes:
        """`text` with the engine's name replaced."""
        if self.digest is not None:
            return text.replace(self.digest, self.name)
        if self.base is not None:
            return self.base.sub(lambda found: found[1] + b'"' + self.name + b'"', text)
        return text


@lru_cache(maxsize=10_000)
def _renaming(target: Target, name: str) -> Renaming:
    base = None
    if target.digest is None and target.base != name:
        base = re.compile(rb'("model":\s?)"' + re.escape(_in_json(target.base)) + rb'"')
    return Renaming(target.digest.encode() if target.digest else None, base, _in_json(name))


def _in_json(name: str) -> bytes:
    return json.dumps(name)[1:-1].encode()


class Relay:
    """A stream of server-sent events, passed on in whole lines as they come.

    Args:
        drop_usage: leave out the event that has nothing but the usage.
        usage_in: reads the usage of a part of the stream.
    """

    def __init__(
        self,
        renaming: Renaming,
        *,
        drop_usage: bool = False,
        usage_in: Callable[[bytes], Usage | None] = usage_in,
    ) -> None:
        self.usage: Usage | None = None
        """The last that was in the stream; it includes those before it."""
        self.events = 0
        self._renaming = renaming
        self._drop_usage = drop_usage
        self._usage_in = usage_in
        self._rest = b""

    def passed_on(self, chunk: bytes) -> bytes:
        """What is to be sent now that `chunk` has come; may be empty."""
        text = self._rest + chunk if self._rest else chunk
        if text.endswith(b"\n"):
            self._rest = b""
        else:
            end = text.rfind(b"\n") + 1
            text, self._rest = text[:end], text[end:]
        self.events += text.count(b"data: {")
        if b'"usage"' in text:
            usage = self._usage_in(text)
            if usage is not None:
                self.usage = usage
                if self._drop_usage:
                    text = _without_usage_event(text)
        return self._renaming(text)

    def rest(self) -> bytes:
        """What is left at the stream's end: a line without one."""
        return self._renaming(self._rest)


def _without_usage_event(text: bytes) -> bytes:
    kept: list[bytes] = []
    dropped = False
    for line in text.splitlines(keepends=True):
        if line.startswith(b"data:") and b'"usage"' in line and _NO_CHOICES.search(line):
            dropped = True
        elif dropped and not line.strip():
            dropped = False  # the empty line that ended the event
        else:
            kept.append(line)
    return b"".join(kept)
