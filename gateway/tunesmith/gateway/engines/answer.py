"""An engine's answer as it comes over a connection."""

from __future__ import annotations

import asyncio
from typing import Protocol

MOST_BUFFERED = 1024 * 1024
"""Bytes of a stream that wait for a slow client before the engine is read no further."""

LARGEST = 256 * 1024 * 1024
"""Bytes of an answer that is read whole: 2,000 embeddings of 4,096 numbers have 180 MB."""


class AnswerLost(Exception):
    """The engine closed the connection, or broke the protocol, before its answer's end.

    Attributes:
        begun: whether a byte of the answer had come.
        reused: whether the connection had been used before. An engine may close one that is idle
            in the moment in which it is used again.
    """

    def __init__(self, message: str, *, begun: bool, reused: bool = False) -> None:
        super().__init__(message)
        self.begun = begun
        self.reused = reused


class AnswerTooLarge(Exception):
    """An answer that is read whole has more than `LARGEST` bytes."""


class Source(Protocol):
    """The connection that an answer comes over."""

    def resume(self) -> None:
        """Read on, after a pause."""

    def abort(self) -> None:
        """Close it now."""


class Answer:
    """An engine's answer whose head is here; read it whole, or in pieces as they come."""

    __slots__ = (
        "_lost",
        "_most",
        "_pieces",
        "_size",
        "_source",
        "_waiting",
        "content_type",
        "ended",
        "status",
    )

    def __init__(self, source: Source) -> None:
        self.status = 0
        self.content_type = ""
        self.ended = False
        self._source: Source | None = source
        self._pieces: list[bytes] = []
        self._size = 0
        self._most = MOST_BUFFERED
        self._lost: AnswerLost | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """All of the body.

        Raises:
            AnswerLost: it was cut.
            AnswerTooLarge: it has too many bytes to be kept.
        """
        if not self.ended:
            self._most = LARGEST
            if self._source is not None:
                self._source.resume()
            while not self.ended:
                await self._more()
                if self._size >= LARGEST:
                    raise AnswerTooLarge
        return b"".join(self._pieces)

    async def next(self) -> bytes:
        """What has come of the body since the last call, waited for; empty at its end.

        Raises:
            AnswerLost: it was cut; what had come before it was given out.
        """
        while not self._pieces:
            if self.ended:
                return b""
            await self._more()
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self._source is not None:
            self._source.resume()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Let go of it: before its end, by closing the connection, which aborts the generation."""
        source, self._source = self._source, None
        if source is not None and not self.ended:
            source.abort()

    async def _more(self) -> None:
        self._raise_if_lost()
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
        if not self._pieces:
            self._raise_if_lost()

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            raise self._lost

    # What the connection calls

    def add(self, piece: bytes) -> bool:
        """A piece came; whether more may."""
        self._pieces.append(piece)
        self._size += len(piece)
        self._wake()
        return self._size < self._most

    def end(self) -> None:
        """Its last byte has come."""
        self.ended = True
        self._source = None
        self._wake()

    def lose(self, error: AnswerLost) -> None:
        """The connection was lost before that."""
        self._lost = error
        self._source = None
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
