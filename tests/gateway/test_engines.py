"""The engine pool: engines that die, come back, serve nothing, or are not there."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import openai
import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.fake_engine import WORDS, FakeEngine
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, wait_for

from tunesmith.platform import bases

HI: Any = [{"role": "user", "content": "hi"}]


def ask(tenant: Tenant, model: str = BASE, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": HI} | fields
    return tenant.http.post("/v1/chat/completions", json=body)


def is_up(gateway: Gateway) -> bool:
    (state,) = httpx.get(f"{gateway.url}/readyz").json()["engines"]
    return bool(state["status"] == "up")


def test_a_dead_engine_is_a_503_and_then_it_serves_again(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway()
    tenant = gateway.tenant()
    name, digest = gateway.train(tenant)
    engine.adapters.add(digest)
    assert ask(tenant, name).status_code == 200
    assert gateway.metric("tunesmith_engines", status="up") == 1
    assert gateway.metric("tunesmith_engine_adapters", engine=engine.url) == 1
    assert gateway.metric("tunesmith_engine_adapter_loads_total", engine=engine.url) == 1

    engine.kill()
    answer = ask(tenant, name)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "x-should-retry" not in answer.headers
    assert error_of(answer)["code"] == "engine_unavailable"
    with pytest.raises(openai.InternalServerError):
        tenant.client.chat.completions.create(model=BASE, messages=HI)
    assert not is_up(gateway)
    assert gateway.metric("tunesmith_engine_up", engine=engine.url) == 0

    engine.start()
    wait_for(lambda: is_up(gateway))
    wait_for(lambda: digest in engine.loaded)  # warmed: nobody asked for it yet
    assert engine.pulls[-1]["model"] == digest
    assert ask(tenant, name).status_code == 200
    assert gateway.metric("tunesmith_engine_up", engine=engine.url) == 1


def test_a_request_waits_a_little_for_an_engine_that_comes_up(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    engine.kill()
    gateway = make_gateway(engine_wait_seconds=20)
    tenant = gateway.tenant()
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(ask(tenant)))
    asking.start()
    wait_for(lambda: gateway.metric("tunesmith_requests_in_flight") >= 2)  # the scrape is one
    engine.start()
    asking.join(20)
    assert [answer.status_code for answer in answers] == [200]


def test_an_engine_lost_before_its_first_byte_is_a_503_and_nothing_is_sent_again(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    tenant = make_gateway().tenant()
    engine.hold.clear()
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(ask(tenant)))
    asking.start()
    assert engine.started.wait(10)
    engine.kill()
    asking.join(10)
    (answer,) = answers
    assert answer.status_code == 503
    assert error_of(answer)["code"] == "engine_unavailable"
    assert len(engine.requests) == 1


def test_an_engine_lost_in_a_stream_ends_it_with_an_error(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    tenant = make_gateway().tenant()
    engine.hold.clear()
    stream = tenant.client.chat.completions.create(model=BASE, messages=HI, stream=True)
    chunks = iter(stream)
    assert next(chunks).choices[0].delta.content == WORDS[0]
    engine.kill()
    with pytest.raises(openai.APIError, match="engine was lost"):
        list(chunks)


def test_an_engine_that_says_it_is_not_well_gets_no_requests(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway()
    tenant = gateway.tenant()
    assert ask(tenant).status_code == 200
    engine.healthy = False
    wait_for(lambda: not is_up(gateway))
    assert ask(tenant).status_code == 503
    engine.healthy = True
    wait_for(lambda: is_up(gateway))
    assert ask(tenant).status_code == 200


def test_a_base_that_no_engine_serves_is_a_503_without_waiting(
    make_gateway: MakeGateway, engine: FakeEngine
) -> None:
    gateway = make_gateway(engine_wait_seconds=600)
    tenant = gateway.tenant()
    assert ask(tenant).status_code == 200  # the engine is known by now
    with gateway.database.transaction() as session:
        bases.register_base(
            session,
            name="other",
            source="/x",
            digest="c" * 64,
            context_length=10,
            max_rank=8,
            config={},
        )
    assert ask(tenant, "other").status_code == 503
    # A base of an earlier installation must not keep the others' gateway from being ready.
    assert httpx.get(f"{gateway.url}/readyz?part=engines").status_code == 200


def test_without_engines_it_says_so(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(engines=[])
    answer = ask(gateway.tenant())
    assert answer.status_code == 503
    assert "No engine is configured" in error_of(answer)["message"]


def test_an_engine_that_accepts_and_never_answers_is_not_up(make_gateway: MakeGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = make_gateway(engines=[f"http://127.0.0.1:{silent.getsockname()[1]}"])
        assert ask(gateway.tenant()).status_code == 503


@pytest.fixture
def second_engine() -> Any:
    engine = FakeEngine()
    engine.start()
    yield engine
    engine.kill()


def test_two_engines_share_a_base_and_one_may_die(
    make_gateway: MakeGateway, engine: FakeEngine, second_engine: FakeEngine
) -> None:
    gateway = make_gateway(engines=[engine.url, second_engine.url])
    tenant = gateway.tenant()

    def all_up() -> bool:
        states = httpx.get(f"{gateway.url}/readyz").json()["engines"]
        return all(state["status"] == "up" for state in states)

    wait_for(all_up)
    name, digest = gateway.train(tenant)
    engine.adapters.add(digest)
    second_engine.adapters.add(digest)
    for _ in range(6):
        assert ask(tenant, name).status_code == 200
    homes = [one for one in (engine, second_engine) if digest in one.loaded]
    assert len(homes) == 1, "an adapter stays where it is"
    homes[0].kill()
    for _ in range(4):  # a refused connection has brought nothing anywhere: the other is asked
        assert ask(tenant, name).status_code == 200


def test_a_deleted_model_is_unloaded_everywhere_and_a_dead_engine_is_no_obstacle(
    make_gateway: MakeGateway, engine: FakeEngine, second_engine: FakeEngine
) -> None:
    gateway = make_gateway(engines=[engine.url, second_engine.url])
    tenant = gateway.tenant()
    name, digest = gateway.train(tenant)
    engine.adapters.add(digest)
    engine.loaded.add(digest)
    wait_for(lambda: gateway.metric("tunesmith_engine_up", engine=engine.url) == 1)
    second_engine.kill()
    tenant.client.models.delete(name)
    assert engine.unloaded == [digest]
    assert digest not in engine.loaded
