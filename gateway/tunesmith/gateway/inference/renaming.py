"""An engine's answer as the client should see it: under the name that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass

from tunesmith.gateway.models.catalogue import Target

_USAGE = re.compile(
    rb'"usage":\s?\{[^{}]*?"prompt_tokens":\s?(\d+)[^{}]*?"completion_tokens":\s?(\d+)|'
    rb'"usage":\s?\{[^{}]*?"prompt_tokens":\s?(\d+)'
)


@dataclass(frozen=True)
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
        base = None
        if target.digest is None and target.base != name:
            base = re.compile(rb'("model":\s?)"' + re.escape(_in_json(target.base)) + rb'"')
        return cls(target.digest.encode() if target.digest else None, base, _in_json(name))

    def __call__(self, text: bytes) -> bytes:
        """`text` with the engine's name replaced."""
        if self.digest is not None:
            return text.replace(self.digest, self.name)
        if self.base is not None:
            return self.base.sub(lambda found: found[1] + b'"' + self.name + b'"', text)
        return text


def _in_json(name: str) -> bytes:
    return json.dumps(name)[1:-1].encode()


@dataclass(frozen=True)
class Usage:
    """Tokens that an engine reported."""

    prompt: int
    completion: int


def usage_in(text: bytes) -> Usage | None:
    """The last usage that a (part of an) answer reports, if it does.

    `"usage":{` cannot stand inside a JSON string, where its quotes would be escaped.
    """
    if b'"usage"' not in text:
        return None
    usage = None
    for found in _USAGE.finditer(text):
        prompt, completion, prompt_only = found.groups()
        usage = Usage(int(prompt or prompt_only), int(completion or 0))
    return usage


async def relay(
    chunks: AsyncIterable[bytes], renaming: Renaming, note: Callable[[Usage], None]
) -> AsyncIterator[bytes]:
    """A stream of server-sent events, passed on in whole lines as they come.

    Args:
        note: told of every usage in the stream; each one includes those before it.
    """
    rest = b""
    async for chunk in chunks:
        text = rest + chunk
        end = text.rfind(b"\n") + 1
        text, rest = text[:end], text[end:]
        if not text:
            continue
        usage = usage_in(text)
        if usage is not None:
            note(usage)
        yield renaming(text)
    if rest:
        yield renaming(rest)
