"""A tenant with batches, the engine that answers them, and runners at work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from tunesmith.gateway.batches.runner import BatchRunner
from tunesmith.platform import files
from tunesmith.platform.batches import creation, reading
from tunesmith.platform.database.models import Batch
from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.files import StoredFile
from tunesmith.platform.storage import Storage

if TYPE_CHECKING:
    from tests.platform.conftest import World

ENDPOINT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True)
class Reply:
    """What the gateway answers to one request."""

    status: int = 200
    body: bytes = b'{"object": "chat.completion"}'
    request_id: str = "req_1"


def error(status: int, code: str) -> Reply:
    return Reply(status, json.dumps({"error": {"message": "no", "code": code}}).encode())


@dataclass
class Engine:
    """Answers in the engines' place; counts how often each request was asked."""

    reply: Callable[[dict[str, Any]], Awaitable[Reply]] | None = None
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def __call__(
        self, *, tenant_id: str, key_id: str, path: str, body: dict[str, Any]
    ) -> Reply:
        assert (path, bool(tenant_id), bool(key_id)) == (ENDPOINT, True, True)
        self.asked.append(body["prompt"])
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            return Reply() if self.reply is None else await self.reply(body)
        finally:
            self.at_once -= 1


def line(name: str, **change: Any) -> dict[str, Any]:
    body = {"model": "pocket", "prompt": name}
    return {"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body} | change


def number(body: dict[str, Any]) -> int:
    """Which request it is: 3 of `r3`."""
    return int(body["prompt"][1:])


@dataclass
class Desk:
    """A tenant with batches, and what runners of them need."""

    world: World
    storage: Storage
    tenant: str
    key: str

    def batch(self, requests: list[dict[str, Any]] | bytes, **more: Any) -> str:
        """Id of a new batch."""
        data = (
            requests
            if isinstance(requests, bytes)
            else b"".join(json.dumps(r).encode() + b"\n" for r in requests)
        )
        key = files.original_key(self.tenant, random_text())
        self.storage.put(key, data)
        with self.world.database.transaction() as session:
            stored = StoredFile(key, len(data), "0" * 64)
            file = files.add_file(
                session, self.tenant, stored, filename="in.jsonl", purpose="batch"
            )
            request = creation.BatchRequest(file.id, ENDPOINT, **more)
            return creation.create_batch(session, self.tenant, self.key, request).id

    def row(self, batch: str) -> Batch:
        with self.world.database.reading() as session:
            return reading.get_batch(session, self.tenant, batch)

    def change(self, table: Any, where: Any, **values: Any) -> None:
        with self.world.database.transaction() as session:
            session.execute(update(table).where(where).values(**values))

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of a batch's file."""
        if file_id is None:
            return []
        with self.world.database.reading() as session:
            file = files.get_file(session, self.tenant, file_id)
        assert file.purpose == "batch_output"
        data = self.storage.get(file.storage_key)
        assert len(data) == file.bytes
        return [json.loads(found) for found in data.splitlines()]

    async def find_model(self, tenant_id: str, name: str) -> None:
        assert tenant_id == self.tenant
        if name != "pocket":
            raise NotFound(f"No model {name}.", param="model", code="model_not_found")

    def runner(self, engine: Engine, *, concurrency: int = 4, lease: float = 30.0) -> BatchRunner:
        return BatchRunner(
            self.world.database,
            self.storage,
            engine,
            self.find_model,
            concurrency=concurrency,
            lease_seconds=lease,
            poll_seconds=0.02,
        )

    async def until(self, met: Callable[[], object], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not met():  # noqa: ASYNC110 - it is in the database or in storage
                await asyncio.sleep(0.02)

    async def ended(self, batch: str) -> Batch:
        """The batch, once it has ended and been cleared away."""

        def met() -> bool:
            row = self.row(batch)
            return row.status in ENDED and row.lease_expires_at is None

        await self.until(met)
        return self.row(batch)


@asynccontextmanager
async def running(desk: Desk, engine: Engine, **more: Any) -> AsyncIterator[None]:
    async with desk.runner(engine, **more):
        yield
