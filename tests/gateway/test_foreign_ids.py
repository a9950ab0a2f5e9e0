"""Every id that is not the tenant's own is answered as one that never existed, on every route."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql
from tests.gateway.conformance.belongings import belongings
from tests.gateway.conformance.slots import IN_PATHS, IN_QUERIES, SLOTS, Slot
from tests.gateway.conftest import settings_for
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, Tenant, error_of
from tests.gateway.routes import ALL_ROUTES

MISSING = {
    "alias": "alias-xxxxxxxx",
    "alias_id": "alias_" + "x" * 24,
    "audit": "audit_log-" + "x" * 24,
    "batch": "batch_" + "x" * 24,
    "batch_file": "file-" + "x" * 24,
    "checkpoint": "ftckpt_" + "x" * 24,
    "checkpoint_model": "ft:pocket:nobody::xxxxxxxx:ckpt-step-3",
    "delivery": "wd_" + "x" * 24,
    "digest": "0" * 64,
    "evaluation": "evalrun_" + "x" * 24,
    "event": "ftevent-" + "x" * 24,
    "file": "file-" + "x" * 24,
    "job": "ftjob-" + "x" * 24,
    "key": "key_" + "x" * 16,
    "model": "ft:pocket:nobody::xxxxxxxx",
    "part": "part_" + "x" * 24,
    "permission": "cp_" + "x" * 24,
    "tenant": "org-" + "x" * 24,
    "upload": "upload_" + "x" * 24,
    "webhook_endpoint": "we_" + "x" * 24,
}
NONSENSE = [
    "%",
    "' OR 1=1 --",
    "..",
    "../../etc/passwd",
    "%2e%2e",
    "{}",
    "*",
    "a b",
    "ÄÖ☃",
    "\u202e\u0000",
    "x" * 3000,
    "file-" + "x" * 23 + "\n",
    "null",
    "0",
    "$(id)",
    "${jndi:ldap://x}",
]
DELETABLE = {
    "file": "/v1/files/",
    "batch_file": "/v1/files/",
    "alias": "/v1/aliases/",
    "webhook_endpoint": "/v1/webhook_endpoints/",
    "key": "/v1/organization/api_keys/",
    "model": "/v1/models/",
}
"""By kind, where one is deleted."""


OWN_DELETED = "deleted"


@dataclass
class World:
    """Who asks, and whose ids they ask for."""

    gateway: Gateway
    asker: Tenant
    own: dict[str, str]
    foreign: dict[str, dict[str, str]]
    """By how they are foreign."""

    def ask(self, slot: Slot, id_: str) -> httpx.Response:
        """The answer to a slot's request with this id in its place."""
        own = {f"{{{kind}}}": value for kind, value in self.own.items()}

        def filled(value: Any, escape: bool = False) -> Any:
            if isinstance(value, dict):
                return {name: filled(inner) for name, inner in value.items()}
            if isinstance(value, list):
                return [filled(inner) for inner in value]
            if not isinstance(value, str):
                return value
            for place, ours in {**own, "{id}": id_}.items():
                value = value.replace(place, escaped(ours) if escape else ours)
            return value

        http = self.gateway.admin if slot.by_admin else self.asker.http
        files = None if slot.form is None else {slot.form: ("a", b"abc")}
        return http.request(
            slot.method, filled(slot.path, escape=True), json=filled(slot.body), files=files
        )


def escaped(id_: str) -> str:
    """An id as a part of a path; one of dots alone would be resolved by the client."""
    return quote(id_, safe="") if id_.strip(".") else id_.replace(".", "%2E")


def without(answer: httpx.Response, id_: str) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers but for the id, and for what no two answers share."""
    spellings = {id_, repr(id_)[1:-1], id_.encode("unicode_escape").decode(), quote(id_, safe="")}
    text = answer.text
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, "{id}")
    changing = {"x-request-id", "openai-processing-ms", "date", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in changing}
    return answer.status_code, text, headers


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_engine: FakeEngine,
) -> Iterator[World]:
    changes: dict[str, object] = {"webhook_private_addresses": True}
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        name = f"foreign_{uuid4().hex}"
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        changes["database_url"] = url.replace("/postgres?", f"/{name}?")
    gateway = Gateway(settings_for(tmp_path_factory.mktemp("home"), shared_engine, **changes))
    asker, friend = gateway.tenant(), gateway.tenant()
    own = belongings(gateway, asker, friend)
    foreign = {}
    for how in ("another tenant's", "a suspended tenant's", "another tenant's deleted"):
        owner = gateway.tenant()
        foreign[how] = belongings(gateway, owner, friend)
        if how == "a suspended tenant's":
            answer = gateway.admin.patch(f"/v1/tenants/{owner.id}", json={"suspended": True})
            assert answer.status_code == 200
        elif how == "another tenant's deleted":
            delete(owner, foreign[how])
    gone = belongings(gateway, asker, friend)
    deleted = delete(asker, gone)
    foreign[OWN_DELETED] = {kind: gone[kind] for kind in deleted if kind != "key"}
    yield World(gateway, asker, own, foreign)
    gateway.stop()


def delete(owner: Tenant, things: dict[str, str]) -> list[str]:
    """Delete what can be; the kinds that were."""
    permissions = f"/v1/fine_tuning/checkpoints/{things['model']}/permissions/"
    owner.http.delete(permissions + things["permission"]).raise_for_status()
    owner.http.post(f"/v1/uploads/{things['upload']}/cancel").raise_for_status()
    for kind, path in DELETABLE.items():
        owner.http.delete(path + things[kind]).raise_for_status()
    return ["permission", *DELETABLE]


def test_the_matrix_has_every_id_of_every_route() -> None:
    in_matrix = {(slot.method, re.sub(r"{\w+}", "x", slot.path)) for slot in IN_PATHS}
    with_ids = {(method, path) for method, path in ALL_ROUTES if "/x" in path}
    # The administrator sees all tenants: there, no tenant's id is foreign.
    of_tenants = {
        (method, path)
        for method, path in with_ids
        if path.startswith("/v1/tenants/x") and not path.startswith("/v1/tenants/x/keys/x")
    }
    assert with_ids - of_tenants == in_matrix


@pytest.mark.parametrize("slot", SLOTS, ids=str)
def test_a_foreign_id_is_a_missing_one(world: World, slot: Slot) -> None:
    for kind in slot.kinds:
        missing = world.ask(slot, MISSING[kind])
        expected = without(missing, MISSING[kind])
        assert missing.status_code == slot.status, missing.text
        if slot.status >= 400:
            error_of(missing)
        for how, things in world.foreign.items():
            if kind not in things or (how == OWN_DELETED and slot in IN_QUERIES):
                continue  # a list goes on after what was deleted since
            answer = world.ask(slot, things[kind])
            assert without(answer, things[kind]) == expected, (how, kind)
            shown = answer.text + str(answer.headers.raw)
            for other, value in things.items():
                if value != things[kind] and value not in things[kind]:
                    assert value not in shown, (how, other)


@pytest.mark.parametrize("slot", [slot for slot in SLOTS if slot.status == 404], ids=str)
def test_an_own_id_of_the_wrong_kind_is_a_missing_one(world: World, slot: Slot) -> None:
    named_by = {"model", "checkpoint_model", "alias"} if "alias" in slot.kinds else set(slot.kinds)
    if "model" in slot.kinds or {"file", "batch_file"} & set(slot.kinds):
        named_by |= {"model", "checkpoint_model", "file", "batch_file", "alias", "alias_id"}
    for kind, id_ in world.own.items():
        if kind not in named_by and kind not in slot.kinds:
            answer = world.ask(slot, id_)
            assert answer.status_code in (400, 404), (kind, answer.text)
            assert "Traceback" not in error_of(answer)["message"]


@pytest.mark.parametrize("slot", SLOTS, ids=str)
def test_nonsense_is_refused_and_never_a_fault(world: World, slot: Slot) -> None:
    for nonsense in NONSENSE:
        answer = world.ask(slot, nonsense)
        assert answer.status_code in {slot.status, 400, 404, 405}, (nonsense, answer.text)
        if answer.status_code >= 400:
            error_of(answer)
        for how, things in world.foreign.items():
            assert how == OWN_DELETED or things["tenant"] not in answer.text


@pytest.mark.parametrize(
    "slot",
    [s for s in SLOTS if s.method == "GET" and not s.path.endswith("/evaluations/{id}/report")],
    ids=str,
)
def test_an_own_id_is_answered(world: World, slot: Slot) -> None:
    # What the others say means nothing if nothing is found at all.
    answer = world.ask(slot, world.own[slot.kinds[0]])
    assert answer.status_code == (200 if slot.status == 404 else slot.status), answer.text
