"""Bodies that are none: refused with what is wrong and where, and no engine hears of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.gateway.conformance.belongings import belongings
from tests.gateway.conftest import settings_for
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import Gateway, Tenant, error_of, wait_for
from tests.gateway.routes import TENANT_ROUTES

INFERENCE = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/tokenize",
    "/detokenize",
)
LARGEST = 16 * 1024 * 1024
DEEP = 50_000


class World:
    """A gateway in front of an engine that counts, and the ids of a tenant."""

    def __init__(self, gateway: Gateway, engine: FakeEngine) -> None:
        self.engine = engine
        self.tenant: Tenant = gateway.tenant()
        own = belongings(gateway, self.tenant, gateway.tenant())
        batches = self.tenant.client.batches  # its request is no body of ours
        wait_for(lambda: batches.retrieve(own["batch"]).status == "completed")
        self.ids = {
            "files": own["file"],
            "uploads": own["upload"],
            "jobs": own["job"],
            "checkpoints": own["model"],
            "evaluations": own["evaluation"],
            "aliases": own["alias"],
            "batches": own["batch"],
            "webhook_endpoints": own["webhook_endpoint"],
            "api_keys": own["key"],
        }

    def path(self, template: str) -> str:
        """A route's path with the tenant's own id in it."""
        parts = template.split("/")
        return "/".join(
            self.ids[parts[i - 1]] if part == "x" else part for i, part in enumerate(parts)
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    engine = FakeEngine()
    engine.start()
    home = tmp_path_factory.mktemp("home")
    gateway = Gateway(settings_for(home, engine, webhook_private_addresses=True))
    yield World(gateway, engine)
    gateway.stop()
    engine.kill()


def with_bodies() -> list[tuple[str, str]]:
    """Routes that read JSON."""
    forms = ("/v1/files", "/v1/uploads/x/parts")
    none = ("cancel", "pause", "resume")
    return [
        (method, path)
        for method, path in TENANT_ROUTES
        if method in ("POST", "PATCH") and path not in forms and not path.endswith(none)
    ]


BAD: dict[str, tuple[bytes, str | None]] = {
    "nothing but a word": (b"hello", "invalid_json"),
    "cut off": (b'{"model": "pocket"', "invalid_json"),
    "a list": (b"[]", "invalid_json"),
    "a number": (b"1", "invalid_json"),
    "null": (b"null", "invalid_json"),
    "two objects": (b"{}{}", "invalid_json"),
    "NaN": (b'{"temperature": NaN}', "invalid_json"),
    "minus infinity": (b'{"temperature": -Infinity}', "invalid_json"),
    "beyond a double": (b'{"temperature": 1e999}', None),
    "too many digits": (b'{"n": ' + b"9" * 5000 + b"}", "invalid_json"),
    "not UTF-8": (b'{"model": "\xff"}', "invalid_json"),
    "UTF-16": ('{"model": "pocket"}'.encode("utf-16"), "invalid_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "invalid_json"),
    "half a surrogate pair": (b'{"model": "\\ud800"}', "invalid_text"),
    "a key twice": (b'{"model": "pocket", "model": "other"}', "duplicate_key"),
    "a key twice inside": (b'{"a": [{"b": 1, "b": 2}]}', "duplicate_key"),
    "too deep": (b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}", "nesting_too_deep"),
    "far too deep": (b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}", "nesting_too_deep"),
    "a comment": (b'{"model": "pocket" /* x */}', "invalid_json"),
    "single quotes": (b"{'model': 'pocket'}", "invalid_json"),
}


@pytest.mark.parametrize(("method", "path"), with_bodies())
def test_what_is_no_json_object_is_refused(world: World, method: str, path: str) -> None:
    seen = len(world.engine.requests)
    for name, (body, code) in BAD.items():
        answer = world.tenant.http.request(
            method, world.path(path), content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, (name, answer.text)
        error = error_of(answer)
        assert error["code"] == code, (name, error)
        if code == "duplicate_key":
            assert error["param"] == ("b" if "inside" in name else "model")
    assert len(world.engine.requests) == seen


@pytest.mark.parametrize("path", INFERENCE)
def test_what_is_too_large_for_inference_is_refused(world: World, path: str) -> None:
    seen = len(world.engine.requests)
    body = b'{"model": "pocket", "prompt": "' + b"x" * LARGEST + b'"}'
    headers = {"content-type": "application/json"}

    def in_chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for content in (body, in_chunks()):
        answer = world.tenant.http.post(path, content=content, headers=headers)
        assert answer.status_code == 413, answer.text
        assert error_of(answer)["code"] == "request_too_large"
    assert len(world.engine.requests) == seen


@pytest.mark.parametrize(
    ("method", "path"), [route for route in with_bodies() if route[1] not in INFERENCE]
)
def test_what_is_too_large_for_a_route_is_refused(world: World, method: str, path: str) -> None:
    body = b'{"name": "' + b"x" * 1024 * 1024 + b'"}'
    headers = {"content-type": "application/json"}
    answer = world.tenant.http.request(method, world.path(path), content=body, headers=headers)
    assert answer.status_code == 413, answer.text
    assert error_of(answer)["code"] == "request_too_large"


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/chat/completions", {"model": 5, "messages": []}, "model"),
    ("/v1/chat/completions", {"model": None, "messages": []}, "model"),
    ("/v1/chat/completions", {"model": ["pocket"], "messages": []}, "model"),
    ("/v1/chat/completions", {"messages": []}, "model"),
    ("/v1/completions", {"model": "", "prompt": "x"}, "model"),
    ("/v1/responses", {"model": {}, "input": "x"}, "model"),
    ("/v1/responses", {"model": "pocket", "input": "x", "background": True}, "background"),
    ("/v1/embeddings", {"input": "x"}, "model"),
    ("/tokenize", {"model": False, "prompt": "x"}, "model"),
    ("/v1/fine_tuning/jobs", {"model": "pocket", "training_file": 1}, "training_file"),
    ("/v1/fine_tuning/jobs", {"model": "pocket"}, "training_file"),
    ("/v1/fine_tuning/jobs", {"model": "pocket", "training_file": "f", "x": 1}, "x"),
    ("/v1/batches", {"input_file_id": True}, "input_file_id"),
    ("/v1/uploads", {"filename": "a", "purpose": "evals", "bytes": "6"}, "bytes"),
    ("/v1/evaluations", {"model": 1}, "model"),
    ("/v1/aliases", {"name": "a", "model": 1}, "model"),
    ("/v1/webhook_endpoints", {"name": "a", "url": 1, "event_types": []}, "url"),
    ("/v1/organization/api_keys", {"name": 1}, "name"),
    ("/v1/policy", {"maximum_forgetting": "1"}, "maximum_forgetting"),
    ("/v1/advice", {"months": 1.5}, "months"),
]


@pytest.mark.parametrize(("path", "body", "param"), WRONG)
def test_a_wrong_type_is_named(world: World, path: str, body: dict[str, Any], param: str) -> None:
    seen = len(world.engine.requests)
    answer = world.tenant.http.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code == 400, answer.text
    assert error_of(answer)["param"] == param
    assert len(world.engine.requests) == seen


JSON = {"content-type": "application/json"}
