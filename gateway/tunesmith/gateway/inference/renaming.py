"""An engine's answer as the client should see it: the model's name where the digest was."""

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
    """Replaces the digest, wherever the engine names it.

    Without parsing: a digest is 64 hex digits that occur nowhere by chance, and a model's name
    needs no escape in JSON beyond what `json.dumps` gives it.
    """

    digest: bytes | None
    name: bytes

    @classmethod
    def of(cls, target: Target, name: str) -> Renaming:
        """For answers about `target`, asked for as `name`."""
        return cls(
            target.digest.encode() if target.digest else None, json.dumps(name)[1:-1].encode()
        )

    def __call__(self, text: bytes) -> bytes:
        """`text` with the digest replaced."""
        return text if self.digest is None else text.replace(self.digest, self.name)


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
