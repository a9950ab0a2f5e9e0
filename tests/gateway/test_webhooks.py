"""Webhooks over HTTP: the official client manages endpoints, a receiver of ours is told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import openai
import pytest
from sqlalchemy import update
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, wait_for
from tests.gateway.serving import Served
from typer.testing import CliRunner

from tunesmith.gateway.webhooks import guard
from tunesmith.gateway.webhooks.sender import WebhookSender
from tunesmith.platform.cli import webhooks as commands
from tunesmith.platform.database.models import WebhookDelivery
from tunesmith.platform.webhooks.events import EVENT_TYPES

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT: dict[str, Any] = {"id": "evt_1", "object": "event", "type": "batch.completed"}


@dataclass
class Receiver:
    """A tenant's server: keeps what it gets, and answers as it is told."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    silent: bool = False

    def start(self) -> None:
        routes = [Route("/{path:path}", self._answer, methods=["GET", "POST"])]
        self.served = Served(Starlette(routes=routes), lifespan="off")
        self.url = f"{self.served.url}/hook"

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        self.got.append((dict(request.headers), body))
        if self.silent:
            await asyncio.sleep(60)
        return Response(b"x" * 100, status_code=self.status, headers=self.headers)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    yield receiver
    receiver.served.kill()


@pytest.fixture
def local(make_gateway: MakeGateway) -> Gateway:
    """A gateway that may send to this machine."""
    return make_gateway(webhook_private_addresses=True)


def job(gateway: Gateway, tenant: Tenant) -> str:
    found: str = tenant.client.fine_tuning.jobs.create(model=BASE, training_file=tenant.upload()).id
    return found


def test_the_official_client_manages_endpoints(local: Gateway, receiver: Receiver) -> None:
    hooks = local.tenant().client.webhooks
    made = hooks.create(name="mine", url=receiver.url, event_types=["batch.completed"])
    assert made.signing_secret.startswith("whsec_")
    assert made.event_types == ["batch.completed"]
    found = hooks.retrieve(made.id)
    assert found.signing_secret_hint
    assert found.signing_secret_hint[-4:] == made.signing_secret[-4:]
    assert not hasattr(found, "signing_secret")
    changed = hooks.update(made.id, name="ours", event_types=["eval.run.failed"])
    assert (changed.name, changed.url) == ("ours", receiver.url)
    second = hooks.create(name="more", url=receiver.url, event_types=["batch.failed"])
    assert [endpoint.id for endpoint in hooks.list(limit=1)] == [second.id, made.id]
    rotated = hooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    assert rotated.signing_secret != made.signing_secret
    assert hooks.event_types.list().data == list(EVENT_TYPES)
    assert hooks.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        hooks.retrieve(made.id)


def test_a_job_that_ends_is_told_once_and_verifies(local: Gateway, receiver: Receiver) -> None:
    tenant = local.tenant()
    made = tenant.client.webhooks.create(
        name="mine",
        url=receiver.url,
        event_types=["fine_tuning.job.cancelled", "fine_tuning.job.succeeded"],
    )
    cancelled = job(local, tenant)
    tenant.client.fine_tuning.jobs.cancel(cancelled)
    wait_for(lambda: len(receiver.got) == 1)
    local.train(tenant)
    wait_for(lambda: len(receiver.got) == 2)
    for (headers, body), kind in zip(receiver.got, ("cancelled", "succeeded"), strict=True):
        event = tenant.client.webhooks.unwrap(body, headers, secret=made.signing_secret)
        assert event.type == f"fine_tuning.job.{kind}"
        assert Webhook(made.signing_secret).verify(body, headers)["id"] == headers["webhook-id"]
        assert headers["content-type"] == "application/json"
    first: Any = tenant.client.webhooks.unwrap(
        receiver.got[0][1], receiver.got[0][0], secret=made.signing_secret
    )
    assert first.data.id == cancelled
    path = f"/v1/webhook_endpoints/{made.id}/deliveries"
    wait_for(lambda: {d["status"] for d in tenant.http.get(path).json()["data"]} == {"delivered"})
    newest, oldest = tenant.http.get(path).json()["data"]
    assert oldest["object_id"] == cancelled
    assert (newest["attempts"], newest["last_status_code"]) == (1, 200)
    assert tenant.http.get(path, params={"after": newest["id"]}).json()["data"] == [oldest]


def test_what_is_refused_comes_again_with_the_same_id(local: Gateway, receiver: Receiver) -> None:
    receiver.status = 500
    tenant = local.tenant()
    made = tenant.client.webhooks.create(
        name="mine", url=receiver.url, event_types=["fine_tuning.job.cancelled"]
    )
    tenant.client.fine_tuning.jobs.cancel(job(local, tenant))
    path = f"/v1/webhook_endpoints/{made.id}/deliveries"
    wait_for(lambda: tenant.http.get(path).json()["data"][0]["attempts"] == 1)
    (waiting,) = tenant.http.get(path).json()["data"]
    assert (waiting["status"], waiting["last_status_code"]) == ("pending", 500)
    assert waiting["next_attempt_at"] > waiting["created_at"]
    receiver.status = 204
    with local.database.transaction() as session:
        session.execute(update(WebhookDelivery).values(next_at=0.0))
    wait_for(lambda: tenant.http.get(path).json()["data"][0]["status"] == "delivered")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    for headers, body in receiver.got:
        Webhook(made.signing_secret).verify(body, headers)


def test_an_endpoint_that_answers_410_is_disabled(local: Gateway, receiver: Receiver) -> None:
    receiver.status = 410
    tenant = local.tenant()
    made = tenant.client.webhooks.create(
        name="mine", url=receiver.url, event_types=["fine_tuning.job.cancelled"]
    )
    tenant.client.fine_tuning.jobs.cancel(job(local, tenant))
    path = f"/v1/webhook_endpoints/{made.id}"
    wait_for(lambda: tenant.http.get(path).json()["status"] == "disabled")
    (failed,) = tenant.http.get(path + "/deliveries").json()["data"]
    assert (failed["status"], failed["last_status_code"]) == ("failed", 410)
    answer = tenant.http.post(path, json={"status": "enabled"})
    assert answer.json()["status"] == "enabled"


def test_a_test_is_sent_at_once(local: Gateway, receiver: Receiver) -> None:
    tenant = local.tenant()
    hooks = tenant.client.webhooks
    made = hooks.create(name="mine", url=receiver.url, event_types=["batch.failed"])
    receiver.status = 418
    answer = hooks.test(made.id, event_type="eval.run.succeeded")
    assert (answer.status_code, answer.event_type) == (418, "eval.run.succeeded")
    headers, body = receiver.got[0]
    event = hooks.unwrap(body, headers, secret=made.signing_secret)
    assert event.type == "eval.run.succeeded"
    with socket.socket() as bound:  # nobody listens there
        bound.bind(("127.0.0.1", 0))
        hooks.update(made.id, url=f"http://127.0.0.1:{bound.getsockname()[1]}/")
    failed = tenant.http.post(f"/v1/webhook_endpoints/{made.id}/test")
    assert error_of(failed)["code"] == "webhook_not_sent"


def test_another_tenants_endpoint_is_unknown(local: Gateway, receiver: Receiver) -> None:
    made = local.tenant().client.webhooks.create(
        name="mine", url=receiver.url, event_types=["batch.failed"]
    )
    other = local.tenant()
    for method, end in (
        ("GET", ""),
        ("POST", ""),
        ("DELETE", ""),
        ("POST", "/rotate_secret"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
    ):
        answers = [
            other.http.request(method, f"/v1/webhook_endpoints/{name}{end}")
            for name in (made.id, "we_unknown")
        ]
        found, unknown = (error_of(answer) for answer in answers)
        assert [answer.status_code for answer in answers] == [404, 404]
        assert found["message"].replace(made.id, "we_unknown") == unknown["message"]
    assert receiver.got == []


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://[::ffff:169.254.169.254]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://no-such-name.invalid/",
        "http://example.com/",
    ],
)
def test_a_private_address_is_refused(tenant: Tenant, url: str) -> None:
    answer = tenant.http.post(
        "/v1/webhook_endpoints",
        json={"name": "mine", "url": url, "event_types": ["batch.failed"]},
    )
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_webhook_url"
    assert error_of(answer)["param"] == "url"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"event_types": ["response.completed"]}, "event_types"),
        ({"event_types": []}, "event_types"),
        ({"name": ""}, "name"),
        ({"secret": "mine"}, "secret"),
        ({"url": 7}, "url"),
    ],
)
def test_bad_input_is_refused(tenant: Tenant, body: dict[str, Any], param: str) -> None:
    good = {"name": "mine", "url": "https://8.8.8.8/", "event_types": ["batch.failed"]}
    answer = tenant.http.post("/v1/webhook_endpoints", json=good | body)
    assert answer.status_code == 400
    assert error_of(answer)["param"].split(".")[0] == param


def test_the_commands(local: Gateway, receiver: Receiver) -> None:
    tenant = local.tenant()
    given = ["--url", local.url, "--api-key", tenant.key]

    def run(*words: str) -> str:
        result = CliRunner().invoke(commands.app, [*words, *given], terminal_width=300)
        assert result.exit_code == 0, result.output
        return result.output

    made = json.loads(run("create", receiver.url, "--event", "fine_tuning.job.cancelled", "--json"))
    assert made["signing_secret"].startswith("whsec_")
    assert json.loads(run("list", "--json"))[0]["id"] == made["id"]
    receiver.status = 418
    assert "418" in run("test", made["id"])
    tenant.client.fine_tuning.jobs.cancel(job(local, tenant))
    wait_for(lambda: "418" in run("deliveries", made["id"], "--json"))
    assert run("list")
    assert run("deliveries", made["id"])
    assert "deleted" in run("delete", made["id"])
    assert "whsec_" in run("create", receiver.url)
    everything = json.loads(run("list", "--json"))[0]["event_types"]
    assert everything == list(EVENT_TYPES)


# The sender by itself


def send(url: str, **made: Any) -> Any:
    async def once() -> Any:
        async with WebhookSender(**({"private": True} | made)) as sender:
            return await sender.send(url, [SECRET], EVENT)

    return asyncio.run(once())


def test_no_redirect_is_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 307, {"location": receiver.url}
    assert send(receiver.url).status == 307
    assert len(receiver.got) == 1


def test_a_silent_endpoint_is_given_up(receiver: Receiver) -> None:
    receiver.silent = True
    outcome = send(receiver.url, seconds=0.2)
    assert outcome.status is None
    assert "0.2 s" in outcome.why


def test_what_does_not_listen_is_an_outcome() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        outcome = send(f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert outcome.status is None
    assert not outcome.is_taken


def test_a_name_that_resolves_anew_to_this_machine_is_not_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name was public when it was checked, and is 127.0.0.1 at the connect."""

    class Rebinding(guard.PublicOnly):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": 2}
            return [found | {"proto": 0, "flags": 0}]

    monkeypatch.setattr(guard, "PublicOnly", Rebinding)
    port = receiver.served.port
    outcome = send(f"https://rebound.example:{port}/hook", private=False)
    assert outcome.status is None
    assert "no public address" in outcome.why
    outcome = send(f"https://127.0.0.1:{port}/hook", private=False)
    assert "no public address" in outcome.why
    assert receiver.got == []


def test_the_connector_refuses_a_number_that_was_not_checked_before(receiver: Receiver) -> None:
    async def connect() -> None:
        async with aiohttp.ClientSession(
            connector=guard.guarded_connector(private=False)
        ) as session:
            await session.post(receiver.url)

    with pytest.raises((OSError, aiohttp.ClientError)):
        asyncio.run(connect())
    assert receiver.got == []
