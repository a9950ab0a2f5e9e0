"""What was let in is settled once, whatever engines and clients do: turns, limits, the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Message
from tests.gateway.chaotic_engine import BASE, Asked, ChaoticEngine, Say, by_chance, response

from tunesmith.gateway.engines.breaker import BreakerState
from tunesmith.gateway.engines.http_client import EngineClient, NotAccepted
from tunesmith.gateway.engines.pool import EnginePool
from tunesmith.gateway.inference import disconnect
from tunesmith.gateway.inference.answering import Inference
from tunesmith.gateway.inference.paths import InferencePaths
from tunesmith.gateway.inference.sending import Sender
from tunesmith.gateway.limits.in_force import NO_LIMITS
from tunesmith.gateway.limits.request_limits import RequestLimits
from tunesmith.gateway.limits.store import MemoryStore
from tunesmith.gateway.metrics import Metrics
from tunesmith.gateway.models.catalogue import Choice, Target
from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.tenants import Caller

DIGESTS = {f"ft:{number}": f"{number:064x}" for number in range(3)}
LIMIT = 1_000_000_000
LIMITS = {
    "requests_per_minute": LIMIT,
    "tokens_per_minute": LIMIT,
    "concurrent_requests": LIMIT,
}


class Ledger:
    """What was counted, by the key that it was counted for."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[int, int]]] = {}

    def record(
        self, _t: str, key: str, _m: str, _a: str, prompt: int, completion: int, _c: int
    ) -> None:
        self.rows.setdefault(key, []).append((prompt, completion))


class Names:
    async def choose(self, _tenant: str, name: str, _user: str | None) -> Choice:
        await asyncio.sleep(0)
        if name != BASE and name not in DIGESTS:
            raise NotFound("No such model.", param="model")
        return Choice(name, Target(BASE, DIGESTS.get(name)))


class Client:
    """A client of the ASGI application: what it got, and how it goes away."""

    def __init__(self, gateway: Gateway, key: str, body: dict[str, Any], tenant: str) -> None:
        self.key = key
        self.raw = json.dumps(body).encode()
        self.status = 0
        self.body = b""
        self.complete = False
        self.limited = True
        self.gone = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self._gateway = gateway
        self._asked = False
        self._tenant = tenant

    async def ask(self) -> None:
        caller = Caller(self.key, self._tenant, key_limits=LIMITS if self.limited else None)
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/completions",
            "headers": [],
            "state": {
                "request_id": self.key,
                "caller": caller,
                "resources": SimpleNamespace(
                    settings=SimpleNamespace(inference_seconds=0.3),
                    inference=self._gateway.inference,
                ),
            },
        }
        with suppress(ClientDisconnect):
            await self._gateway.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.raw}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        await asyncio.sleep(0)
        if message["type"] == "http.response.start":
            assert not self.status, "one answer to one request"
            self.status = message["status"]
        else:
            self.body += message["body"]
            self.complete = not message.get("more_body", False)


class Gateway:
    """The way of a generation over real sockets, without server and database."""

    def __init__(
        self, pool: EnginePool, limits: RequestLimits, capacity: int, patience: float
    ) -> None:
        self.pool = pool
        self.limits = limits
        self.client = EngineClient()
        self.ledger = Ledger()
        self.sender = Sender(
            pool, self.client, capacity=capacity, queue_seconds=patience, adapter_seconds=1
        )
        self.inference = Inference(
            catalogue=cast(Any, Names()),
            sender=self.sender,
            limits=limits,
            defaults=NO_LIMITS,
            ledger=cast(Any, self.ledger),
            metrics=Metrics(),
        )
        self.app = InferencePaths(_nothing)

    def taken(self, key: str) -> float:
        """Tokens that were taken from a key's limit and not put back; no time passes."""
        budget = self.limits._budgets.get(f"key:{key}:tokens")
        return 0 if budget is None else LIMIT - budget.balance

    async def assert_at_rest(self) -> None:
        await asyncio.sleep(0.01)
        for engine in self.pool.engines:
            assert (engine.in_flight, engine.running) == (0, {}), engine.url
            queue = self.sender.queue_of(engine)
            assert (queue.running, queue.waiting, queue._held) == (0, 0, {})
        assert all(gate.open == 0 for gate in self.limits._gates.values())
        assert all(count.now == 0 for count in self.limits._running.values())
        idle = sum(map(len, self.client._idle.values()))
        assert self.client.open_connections <= idle, "a connection that nobody has"

    def assert_counted(self, client: Client, engines: Sequence[ChaoticEngine]) -> None:
        """What a request took of its key's limit, and what it was counted with."""
        rows = self.ledger.rows.get(client.key, [])
        assert len(rows) <= 1
        reported = [u for engine in engines for u in engine.reported.get(client.key, [])]
        assert len(reported) <= 2, "asked again more than once"
        lost = b"engine was lost" in client.body
        if client.status == 200 and client.complete and not lost:
            assert rows
            assert rows[0] in reported
            assert not client.limited or self.taken(client.key) == sum(rows[0])
        elif client.status not in (0, 200):
            assert not rows
            late = b"answer_timeout" in client.body
            assert self.taken(client.key) in ({0, len(client.raw) // 4} if late else {0})
        else:  # cut, or its client went away
            prompt = len(client.raw) // 4
            assert self.taken(client.key) in {0, prompt, *map(sum, rows)}


async def _nothing(*_: object) -> None:
    raise AssertionError("no path of inference")


@asynccontextmanager
async def gateway_before(
    engines: Sequence[str], *, capacity: int = 16, patience: float = 0.2
) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as parts:
        pool = await parts.enter_async_context(
            EnginePool(engines, wait_seconds=patience, slots=4, holds=64, look_seconds=0.02)
        )
        limits = await parts.enter_async_context(
            RequestLimits(MemoryStore(lambda: 0.0), clock=lambda: 0.0)
        )
        gateway = Gateway(pool, limits, capacity, patience)
        parts.push_async_callback(gateway.client.close)
        while len(pool.serving(BASE)) < len(engines):  # noqa: ASYNC110 - a pool tells nobody
            await asyncio.sleep(0.01)
        yield gateway


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with structlog.testing.capture_logs():
        yield


def body_of(random: Random) -> dict[str, Any]:
    model = random.choice([BASE, *DIGESTS, "none"] if random.random() < 0.3 else [BASE, "ft:0"])
    body: dict[str, Any] = {"model": model, "prompt": "x" * random.randint(1, 100)}
    if random.random() < 0.5:
        body["stream"] = True
        if random.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
    return body


@pytest.mark.parametrize("seed", range(4))
def test_everything_is_settled_once_whatever_fails(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnect, "LOOK_AFTER_SECONDS", 0.002)
    random = Random(seed)

    async def work() -> None:
        async with AsyncExitStack() as parts:
            engines = [
                await parts.enter_async_context(ChaoticEngine(by_chance(random), random))
                for _ in range(3)
            ]
            urls = [engine.url for engine in engines]
            gateway = await parts.enter_async_context(gateway_before(urls, capacity=6))
            clients: list[Client] = []
            places = asyncio.Semaphore(40)

            async def one(number: int) -> None:
                client = Client(gateway, f"r{number}", body_of(random), f"t{number % 5}")
                clients.append(client)
                async with places:
                    asking = asyncio.create_task(client.ask())
                    fate = random.random()
                    if fate < 0.3:
                        await asyncio.sleep(random.random() * 0.1)
                        client.gone.set()
                    elif fate < 0.4:  # as a server that ends does
                        await asyncio.sleep(random.random() * 0.1)
                        asking.cancel()
                    with suppress(asyncio.CancelledError):
                        await asking

            await asyncio.gather(*map(one, range(250)))
            await gateway.assert_at_rest()
            for client in clients:
                gateway.assert_counted(client, engines)
            statuses = {client.status for client in clients}
            assert {0, 200, 503} <= statuses <= {0, 200, 400, 404, 503}

    asyncio.run(asyncio.wait_for(work(), 60))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("by_client", [False, True])
def test_a_request_may_end_at_any_moment(
    streamed: bool, by_client: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disconnect, "LOOK_AFTER_SECONDS", 0.0)

    async def say(asked: Asked) -> None:
        if streamed:
            await asked.stream()
        else:
            whole = asked.whole()
            await asked.write(whole[:30], whole[30:100], whole[100:])

    async def work() -> None:
        random = Random(1)
        async with ChaoticEngine(say, random) as engine, gateway_before([engine.url]) as gateway:
            whole = 0
            for turns in range(80):
                name = BASE if turns % 2 else "ft:1"
                body = {"model": name, "prompt": "x", "stream": streamed}
                client = Client(gateway, f"r{turns}", body, "t")
                asking = asyncio.create_task(client.ask())
                for _ in range(turns):
                    await asyncio.sleep(0)
                if by_client:
                    client.gone.set()
                else:
                    asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking
                await gateway.assert_at_rest()
                gateway.assert_counted(client, [engine])
                whole += client.complete
            assert whole, "some were answered"

    asyncio.run(asyncio.wait_for(work(), 60))


def serve(
    *says: Say,
    body: dict[str, Any] | None = None,
    before: Callable[[Client], Any] = lambda _: None,
    counted: bool = True,
) -> Client:
    """What a client gets from engines that say this, one engine each."""
    random = Random(1)

    async def work() -> Client:
        async with AsyncExitStack() as parts:
            engines = [await parts.enter_async_context(ChaoticEngine(say, random)) for say in says]
            gateway = await parts.enter_async_context(gateway_before([e.url for e in engines]))
            client = Client(gateway, "r", {"model": BASE, "prompt": "x"} | (body or {}), "t")
            before(client)
            await client.ask()
            await gateway.assert_at_rest()
            if counted:
                gateway.assert_counted(client, engines)
            client.asked = [len(engine.bodies) for engine in engines]  # type: ignore[attr-defined]
            return client

    return asyncio.run(asyncio.wait_for(work(), 30))


def saying(status: int, body: bytes = b'{"error": {"message": "no"}}') -> Say:
    async def say(asked: Asked) -> None:
        await asked.write(response(status, body))

    return say


async def well(asked: Asked) -> None:
    """Answer."""
    if asked.body.get("stream"):
        await asked.stream()
    else:
        await asked.write(asked.whole())


async def gone(asked: Asked) -> None:
    """Close before the first byte."""
    asked.close(hard=True)


async def cut(asked: Asked) -> None:
    """Close within the answer."""
    await asked.stream(cut_after=0) if asked.body.get("stream") else await asked.write(
        asked.whole()[:60]
    )
    asked.close(hard=True)


@pytest.mark.parametrize("first", [gone, saying(503)])
def test_another_engine_is_asked_once_and_not_a_third(first: Say) -> None:
    for _ in range(3):  # whichever engine is first
        assert serve(first, well).status == 200
    client = serve(first, first, first)
    assert client.status == 503
    assert sum(cast(Any, client).asked) == 2


@pytest.mark.parametrize("first", [saying(500), saying(400), saying(429), cut])
def test_nothing_else_is_asked_again(first: Say) -> None:
    assert sum(cast(Any, serve(first, first)).asked) == 1


def test_what_is_the_platforms_fault_is_no_refusal() -> None:
    for status in (201, 307, 401, 403, 500, 599):
        client = serve(saying(status, b'{"error": {"message": "secret"}}'))
        assert client.status == 503, status
        assert b"secret" not in client.body


def test_a_number_of_tokens_that_no_float_holds_is_no_fault_of_ours() -> None:
    for fields in ({"max_tokens": 10**400}, {"max_tokens": 10**400, "n": 128}):
        assert serve(well, body=fields).status == 429
        free = serve(well, body=fields, before=lambda c: setattr(c, "limited", False))
        assert free.status == 200


def test_an_answer_of_many_megabytes_is_passed_on() -> None:
    async def say(asked: Asked) -> None:
        data = json.dumps({"model": BASE, "data": "x" * 5_000_000, "usage": {"prompt_tokens": 1}})
        asked.usage = 1, 0
        await asked.write(response(200, data.encode()))

    async def work() -> None:
        async with (
            ChaoticEngine(say, Random(1)) as engine,
            gateway_before([engine.url], patience=20) as gateway,
        ):
            client = Client(gateway, "r", {"model": BASE, "prompt": "x"}, "t")
            await client.ask()
            assert client.status == 200, client.body
            assert len(client.body) > 5_000_000

    asyncio.run(asyncio.wait_for(work(), 30))


def test_an_engines_error_in_a_stream_is_passed_on_without_the_digest() -> None:
    async def fails(asked: Asked) -> None:
        error = json.dumps({"error": {"message": f"{asked.body['model']} broke"}})
        text = f'data: {{"choices": [{{}}]}}\n\ndata: {error}\n\ndata: [DONE]\n\n'.encode()
        await asked.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b"
            % (len(text), text)
        )

    client = serve(fails, body={"model": "ft:0", "stream": True}, counted=False)
    assert b'"ft:0 broke"' in client.body
    assert client.body.endswith(b"data: [DONE]\n\n")
    assert DIGESTS["ft:0"].encode() not in client.body


def test_a_stream_of_several_choices_reports_its_usage_once_where_asked() -> None:
    for options, usages in ((None, 0), ({"include_usage": True}, 1)):
        body = {"stream": True, "n": 3, "stream_options": options}
        text = serve(well, body=body).body
        assert text.count(b'"usage"') == usages
        assert text.count(b": so many bytes") >= 2, "comments stay"


def test_half_an_event_is_ended_before_the_error_that_cut_it() -> None:
    async def half(asked: Asked) -> None:
        await asked.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
            b'1b\r\ndata: {"choices": []}\n\ndata:\r\n'
        )
        asked.close(hard=True)

    *events, last = serve(half, body={"stream": True}).body.split(b"\n\n")
    assert last == b""
    parts = [json.loads(event.strip()[5:]) for event in events if event.strip()]
    assert list(parts[0]) == ["choices"]
    assert parts[-1]["error"]["code"] == "engine_unavailable"


def test_a_client_that_takes_nothing_of_its_stream_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disconnect, "STALLED_SECONDS", 0.05)
    client = serve(well, body={"stream": True}, before=lambda client: client.reads.clear())
    assert not client.complete


def test_an_engine_that_stands_still_gets_its_requests_all_the_same() -> None:
    """It was not down: requests that could not be put to it in time are tried again."""

    async def work() -> None:
        async with (
            ChaoticEngine(well, Random(1)) as engine,
            gateway_before([engine.url]) as gateway,
        ):
            connect = gateway.client._connect
            tries, refused = 0, 4

            async def busy(url: str, address: Any) -> Any:
                nonlocal tries
                tries += 1
                if tries <= refused:
                    raise NotAccepted("busy")
                return await connect(url, address)

            gateway.client._connect = busy  # type: ignore[method-assign]
            for number in range(3):
                tries = 0
                client = Client(gateway, f"r{number}", {"model": BASE, "prompt": "x"}, "t")
                gateway.client._idle.clear()  # each over a new connection
                await client.ask()
                assert (client.status, tries) == (200, 5)
            (only,) = gateway.pool.engines
            assert only.is_up
            assert only.breaker.state is BreakerState.CLOSED
            tries, refused = 0, 1000
            gateway.client._idle.clear()
            client = Client(gateway, "last", {"model": BASE, "prompt": "x"}, "t")
            await client.ask()
            assert (client.status, tries) == (503, 5)

    asyncio.run(asyncio.wait_for(work(), 30))
