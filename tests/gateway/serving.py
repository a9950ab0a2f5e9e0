"""ASGI applications on real sockets, in threads of the test's process."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any, Literal, cast

import uvicorn
from starlette.types import ASGIApp


class Served:
    """An application that listens on `url` until `stop` or `kill`.

    Args:
        tls: files of a certificate and its key.
    """

    def __init__(
        self,
        app: ASGIApp,
        port: int = 0,
        lifespan: Literal["on", "off"] = "on",
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(128)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self.server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,  # it would write into whichever test runs meanwhile
                lifespan=lifespan,
                timeout_graceful_shutdown=1,
                ssl_certfile=tls[0] if tls else None,
                ssl_keyfile=tls[1] if tls else None,
            ),
            self._ready,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if not self._ready.wait(30) or self._failed is not None:
            raise RuntimeError("the server did not start") from self._failed

    def stop(self) -> None:
        """End it in order."""
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not stop"

    def kill(self) -> None:
        """End it as `kill -9` would: the port refuses, open connections are reset."""
        self.server.loop.call_soon_threadsafe(self._cut)
        self.server.force_exit = True
        self.stop()

    def _cut(self) -> None:
        for listening in self.server.servers:
            listening.close()
        for connection in list(self.server.server_state.connections):
            transport = cast(Any, connection).transport
            linger = bytes([1, 0, 0, 0, 0, 0, 0, 0])  # on, 0 s: a reset instead of an end
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            transport.abort()
        for task in list(self.server.server_state.tasks):
            task.cancel()

    def _run(self) -> None:
        try:
            self.server.run(sockets=[self._socket])
        except BaseException as error:
            self._failed = error
            raise
        finally:
            self._ready.set()


class _Server(uvicorn.Server):
    loop: asyncio.AbstractEventLoop

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._ready.set()
