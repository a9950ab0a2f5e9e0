"""Work that ends when its client goes away."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from tunesmith.platform.domain.errors import Unavailable

LOOK_AFTER_SECONDS = 0.02
"""Answers that come sooner need no look at whether their client waits: it costs a task."""

STALLED_SECONDS = 60.0
"""How long a client may take nothing of a stream that waits for it: it holds a slot of an engine.
nginx's `send_timeout` is the same."""


class WhileConnected:
    """`async with`: cancels the block when the client goes, which is then `ClientDisconnect`.

    The request's body was read before: what comes next can only be its end.

    Args:
        seconds: after which the block is cancelled, too, unless it is `answering` by then.

    Attributes:
        sending: pieces of a stream that were given to the client's connection.
        sent: those of them that it took. Where one is not taken for `STALLED_SECONDS`, the client
            counts as gone.

    Raises:
        ClientDisconnect: the client has gone.
        Unavailable: there was no answer in time.
    """

    def __init__(self, receive: Receive, seconds: float) -> None:
        self.sending = 0
        self.sent = 0
        self._receive = receive
        self._seconds: float | None = seconds
        self._gone = False
        self._late = False
        self._over = False
        self._cancels = 0
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WhileConnected:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = asyncio.get_running_loop().call_later(LOOK_AFTER_SECONDS, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over()
        if (self._gone or self._late) and kind is asyncio.CancelledError:
            for _ in range(self._cancels):
                self._task.uncancel()
            if self._task.cancelling():
                return  # somebody else cancels it as well
            if self._gone:
                raise ClientDisconnect from error
            raise Unavailable(
                f"The model did not answer within {self._seconds:g} seconds. Ask for fewer tokens,"
                " or for a stream.",
                code="answer_timeout",
            ) from error

    def answering(self) -> None:
        """The answer has begun: it may take as long as it takes, while the client takes it."""
        self._seconds = None
        if self._watch is not None:
            self._timer.cancel()
            self._look_for_progress(0)

    def over(self) -> None:
        """The answer is all but sent: what is received from now on is no reason to end."""
        self._over = True
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _look(self) -> None:
        self._watch = asyncio.create_task(self._wait())
        if self._seconds is None:
            self._look_for_progress(0)
        else:
            left = self._seconds - LOOK_AFTER_SECONDS
            self._timer = asyncio.get_running_loop().call_later(left, self._be_late)

    def _look_for_progress(self, waiting_for: int) -> None:
        """Look every now and then: a timer for each piece would cost more than the piece."""
        if waiting_for > self.sent:
            self._gone = True
            self._cancel()
            return
        piece = self.sending if self.sending > self.sent else 0
        self._timer = asyncio.get_running_loop().call_later(
            STALLED_SECONDS, self._look_for_progress, piece
        )

    def _be_late(self) -> None:
        self._late = True
        self._cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._over:
            self._gone = True
            self._cancel()

    def _cancel(self) -> None:
        self._cancels += 1
        self._task.cancel()
