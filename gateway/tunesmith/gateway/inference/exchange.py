"""An engine's answer under way."""

from __future__ import annotations

from tunesmith.gateway.engines.answer import Answer, AnswerLost, AnswerTooLarge
from tunesmith.gateway.engines.engine import Engine
from tunesmith.gateway.fairness.turn import Turn

from .errors import answer_too_large, engine_lost


class Exchange:
    """An engine's answer whose head is here and whose body is to be read; to be closed.

    Closing it before its end closes the connection, by which vLLM aborts the generation.
    """

    __slots__ = ("_answer", "_digest", "_turn", "content_type", "engine", "status")

    def __init__(self, engine: Engine, digest: str | None, turn: Turn, answer: Answer) -> None:
        self.engine = engine
        self.status = answer.status
        self.content_type = answer.content_type
        self._digest = digest
        self._turn = turn
        self._answer = answer

    async def read(self) -> bytes:
        """All of the body.

        Raises:
            Unavailable: the engine ended before the body did.
            InvalidRequest: it has too many bytes.
        """
        try:
            return await self._answer.read()
        except AnswerLost as error:
            raise engine_lost(error) from error
        except AnswerTooLarge as error:
            raise answer_too_large() from error

    async def next(self) -> bytes:
        """What has come of the body, empty at its end; raises `AnswerLost` where it is cut."""
        return await self._answer.next()

    def close(self, tokens: int | None = None) -> None:
        """Let go of the engine; an answer that was read whole leaves its connection open.

        Args:
            tokens: that the engine worked on, where it said so.
        """
        self._answer.close()
        self._turn.leave(tokens)
        self.engine.left(self._digest)
