"""Where engines come from, and that they come and go while the gateway runs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.gateway.serving import Served

from tunesmith.gateway.engines.engine import Engine
from tunesmith.gateway.engines.kubernetes import KubernetesSource
from tunesmith.gateway.engines.membership import EMPTY_TIMES, Membership
from tunesmith.gateway.engines.sources import DnsSource, ListedSource, sources_of

A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"


def test_a_setting_names_sources() -> None:
    found = sources_of([A + "/", "dns://engines:8000", "https://b", "kubernetes://prod/vllm:8000"])
    assert [source.name for source in found] == [
        "settings",
        "dns://engines:8000",
        "kubernetes://prod/vllm:8000",
    ]
    assert isinstance(found[0], ListedSource)
    assert found[0].urls == [A, "https://b"]


@pytest.mark.parametrize(
    "entry",
    [
        "engine:8000",
        "dns://engines",
        "dns+tls://engines:8000",
        "kubernetes://vllm",
        "kubernetes://a/b",
        "ftp://a",
    ],
)
def test_a_setting_that_names_none_says_so(entry: str) -> None:
    with pytest.raises(ValueError, match=r"TUNESMITH_ENGINES .* Write http://HOST:PORT"):
        sources_of([entry])


def resolving(monkeypatch: pytest.MonkeyPatch, answers: list[str] | OSError) -> Any:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if isinstance(answers, OSError):
            raise answers
        return [(0, 0, 0, "", (address, 8000)) for address in answers]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asyncio.run(DnsSource("engines", 8000).find())


def test_engines_behind_tls_are_checked_by_the_name_that_found_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_name, by_service = sources_of(
        ["dns+https://engines.prod.svc:8000", "kubernetes+https://prod/vllm:8000"]
    )
    assert (by_name.name, by_name.server_name) == (
        "dns+https://engines.prod.svc:8000",
        "engines.prod.svc",
    )
    assert by_service.server_name == "vllm.prod.svc"

    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 8000)) for address in ("10.0.0.1", "fd00::2")]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    ready, _ = asyncio.run(by_name.find())
    assert list(ready) == ["https://10.0.0.1:8000", "https://[fd00::2]:8000"]


def test_every_address_of_a_name_is_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, draining = resolving(monkeypatch, ["10.0.0.1", "fd00::2"])
    assert list(ready) == [A, "http://[fd00::2]:8000"]
    assert list(draining) == []


def test_a_name_without_addresses_is_no_engine_and_a_silent_server_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready, _ = resolving(monkeypatch, socket.gaierror(socket.EAI_NONAME, "unknown"))
    assert list(ready) == []
    with pytest.raises(OSError, match="again"):
        resolving(monkeypatch, socket.gaierror(socket.EAI_AGAIN, "try again"))


class ApiServer:
    """The route of Kubernetes' API that lists EndpointSlices."""

    def __init__(self) -> None:
        self.endpoints: list[dict[str, Any]] = []
        self.asked: list[Request] = []
        self.answer: Response | None = None
        path = "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices"
        app = Starlette(routes=[Route(path, self._list)])
        self.served = Served(app, 0, lifespan="off")

    async def _list(self, request: Request) -> Response:
        self.asked.append(request)
        items = [{"addressType": "IPv4", "endpoints": self.endpoints}, {"endpoints": None}]
        return self.answer or JSONResponse({"items": items})


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.served.kill()


def find(api: ApiServer, tmp_path: Path) -> tuple[set[str], set[str]]:
    token = tmp_path / "token"
    token.write_text("secret\n")
    source = KubernetesSource(
        "prod",
        "vllm",
        8000,
        api=f"http://127.0.0.1:{api.served.port}",
        token=token,
        authority=tmp_path / "ca.crt",
    )
    ready, draining = asyncio.run(source.find())
    return set(ready), set(draining)


def test_ready_pods_are_engines_and_ending_ones_drain(api: ApiServer, tmp_path: Path) -> None:
    api.endpoints = [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": False, "terminating": True}},
        {"addresses": ["10.0.0.3"], "conditions": {"ready": False}},
        {"addresses": ["10.0.0.4"]},
    ]
    assert find(api, tmp_path) == ({A, "http://10.0.0.4:8000"}, {B})
    (asked,) = api.asked
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.query_params["labelSelector"] == "kubernetes.io/service-name=vllm"


@pytest.mark.parametrize(
    "answer",
    [Response(status_code=403), JSONResponse({"items": [{"endpoints": [1]}]}), Response("no")],
)
def test_what_is_no_list_of_pods_is_an_error(
    api: ApiServer, tmp_path: Path, answer: Response
) -> None:
    api.answer = answer
    with pytest.raises((OSError, ValueError)):
        find(api, tmp_path)


class Told:
    """A source that says what a test has it say."""

    name = "told"
    server_name: str | None = None

    def __init__(self) -> None:
        self.ready: list[str] = [A, B]
        self.leaving: list[str] = []
        self.broken = False

    async def find(self) -> tuple[Iterable[str], Iterable[str]]:
        if self.broken:
            raise OSError("It does not answer.")
        return self.ready, self.leaving


class Followed:
    """A membership that is asked step by step."""

    def __init__(self) -> None:
        self.engines: list[Engine] = []
        self.source = Told()
        self.came: list[str] = []
        self.changes = 0
        self._membership = Membership(
            self.engines, lambda engine: self.came.append(engine.url), self._changed
        )

    def _changed(self) -> None:
        self.changes += 1

    def step(self) -> list[str]:
        """The engines that take requests, after the sources were asked once more."""
        asyncio.run(self._membership.ask_all([self.source]))
        return [engine.url for engine in self.engines if not engine.leaving]


def test_an_address_that_another_service_has_by_now_is_checked_by_that_ones_name() -> None:
    followed = Followed()
    for name in ("one.ai.svc", "other.ai.svc"):
        followed.source.server_name = name
        followed.step()
        assert {engine.server_name for engine in followed.engines} == {name}


def test_engines_come_and_one_that_is_not_named_any_more_drains_until_it_is_empty() -> None:
    followed = Followed()
    assert followed.step() == [A, B]
    followed.engines[1].entered(None)
    followed.source.ready = [A]
    assert followed.step() == [A]
    assert len(followed.engines) == 2
    followed.engines[1].left(None)
    followed.step()
    assert [engine.url for engine in followed.engines] == [A]
    assert followed.came == [A, B]
    changes = followed.changes
    followed.step()
    assert followed.changes == changes


def test_one_that_ends_stays_while_it_is_named_and_may_come_back() -> None:
    followed = Followed()
    followed.step()
    followed.source.ready, followed.source.leaving = [A], [B]
    assert followed.step() == [A]
    assert len(followed.engines) == 2
    followed.source.ready, followed.source.leaving = [A, B], []
    assert followed.step() == [A, B]
    assert followed.came == [A, B]


def test_a_source_that_does_not_answer_goes_on_counting() -> None:
    followed = Followed()
    followed.step()
    followed.source.broken = True
    assert followed.step() == [A, B]


def test_that_there_is_no_engine_is_believed_when_it_is_said_again() -> None:
    followed = Followed()
    followed.step()
    followed.source.ready = []
    for _ in range(EMPTY_TIMES - 1):
        assert followed.step() == [A, B]
    assert followed.step() == []
