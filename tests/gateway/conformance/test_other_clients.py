"""Clients that are not Python's official one: Node's, LangChain's, and curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conformance.environments import HERE, langchain_python, node_folder
from tests.gateway.gateways import BASE, Gateway, Tenant, examples

TEXT = "Hello world from base"
_CURL = ("curl", "-sS", "--fail-with-body", "--max-time", "30")


def journey(command: list[str], gateway: Gateway, tenant: Tenant, **more: str) -> dict[str, Any]:
    """What a client's script found."""
    done = subprocess.run(
        command,
        env=os.environ
        | {"BASE_URL": f"{gateway.url}/v1", "API_KEY": tenant.key, "MODEL": BASE}
        | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_official_node_client(sqlite_gateway: Gateway) -> None:
    folder = node_folder()
    shutil.copy(HERE / "node" / "journey.mjs", folder)
    found = journey(
        ["node", str(folder / "journey.mjs")],
        sqlite_gateway,
        sqlite_gateway.tenant(),
        EXAMPLES=examples().decode(),
    )
    assert found == {
        "file": ["file", "processed", "tickets.jsonl"],
        "listed": True,
        "content": True,
        "jobs": [True],
        "events": True,
        "cancelled": "cancelled",
        "chat": TEXT,
        "requestId": True,
        "chunks": ["Hel", "lo", " wor", "ld", "11 tokens"],
        "response": "Hello world",
        "embeddings": [[0.5, 0.0], [0.5, 1.0]],
        "errors": {
            "missing": ["NotFoundError", 404, "model_not_found", "model"],
            "refused": ["NotFoundError", 404, "file_not_found", "training_file"],
            "stranger": ["AuthenticationError", 401, "invalid_api_key", None],
        },
        "deleted": True,
    }


def test_langchain(sqlite_gateway: Gateway) -> None:
    script = HERE / "langchain" / "journey.py"
    found = journey([str(langchain_python()), str(script)], sqlite_gateway, sqlite_gateway.tenant())
    assert found == {
        "answer": TEXT,
        "tokens": 11,
        "streamed": "Hello world",
        "streamed_tokens": [11],
        "call": ["weather", {"place": "text", "days": 7}],
        "structured": {"text": "text", "sure": True},
        "by_tool": {"text": "text", "sure": True},
        "responses": "Hello world",
        "embeddings": [[0.5, 0.0], [0.5, 1.0]],
        "batch": 3,
        "error": "model_not_found",
    }


class Curl:
    """curl as a tenant."""

    def __init__(self, gateway: Gateway, tenant: Tenant) -> None:
        self.url = gateway.url
        self.key = tenant.key

    def __call__(self, path: str, *arguments: str) -> str:
        """The body of an answer, which must be a good one."""
        done = subprocess.run(
            [*_CURL, "-H", f"Authorization: Bearer {self.key}", *arguments, self.url + path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, path: str, *arguments: str) -> Any:
        """The same, read."""
        return json.loads(self(path, *arguments))

    def post(self, path: str, **body: Any) -> Any:
        """The answer to a JSON body."""
        kind = ("-H", "Content-Type: application/json")
        return self.json(path, *kind, "-d", json.dumps(body))


@pytest.fixture
def curl(sqlite_gateway: Gateway) -> Curl:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: install the package `curl`.")
    return Curl(sqlite_gateway, sqlite_gateway.tenant())


def test_curl_trains(curl: Curl, tmp_path: Path) -> None:
    path = tmp_path / "tickets.jsonl"
    path.write_bytes(examples())
    form = ("-F", "purpose=fine-tune", "-F", f"file=@{path}")
    file = curl.json("/v1/files", *form)["id"]
    assert curl(f"/v1/files/{file}/content") == path.read_text()
    upload = curl.post(
        "/v1/uploads",
        filename="a.jsonl",
        purpose="fine-tune",
        bytes=path.stat().st_size,
        mime_type="text/jsonl",
    )["id"]
    part = curl.json(f"/v1/uploads/{upload}/parts", "-F", f"data=@{path}")["id"]
    done = curl.post(f"/v1/uploads/{upload}/complete", part_ids=[part])
    assert done["file"]["bytes"] == path.stat().st_size

    key = ("-H", "Idempotency-Key: once", "-H", "Content-Type: application/json")
    body = json.dumps({"model": BASE, "training_file": file})
    first = curl.json("/v1/fine_tuning/jobs", *key, "-d", body)
    assert curl.json("/v1/fine_tuning/jobs", *key, "-d", body)["id"] == first["id"]
    job = f"/v1/fine_tuning/jobs/{first['id']}"
    assert curl.json(job)["status"] in ("validating_files", "queued")
    assert curl.json(job + "/cancel", "-X", "POST")["status"] == "cancelled"
    assert [item["id"] for item in curl.json("/v1/fine_tuning/jobs")["data"]] == [first["id"]]
    assert curl.json(f"/v1/files/{file}", "-X", "DELETE")["deleted"]


def test_curl_asks(curl: Curl) -> None:
    messages = [{"role": "user", "content": "hi"}]
    chat = curl.post("/v1/chat/completions", model=BASE, messages=messages)
    assert chat["choices"][0]["message"]["content"] == TEXT
    assert curl.post("/v1/completions", model=BASE, prompt="x")["choices"][0]["text"] == TEXT
    assert curl.post("/v1/responses", model=BASE, input="x")["status"] == "completed"
    assert len(curl.post("/v1/embeddings", model=BASE, input="x")["data"]) == 1
    tokens = curl.post("/tokenize", model=BASE, prompt="hey")["tokens"]
    assert curl.post("/detokenize", model=BASE, tokens=tokens)["prompt"] == "hey"
    asked = json.dumps({"model": BASE, "messages": messages, "stream": True})
    kind = ("-N", "-H", "Content-Type: application/json")
    lines = curl("/v1/chat/completions", *kind, "-d", asked).splitlines()
    events = [line.removeprefix("data: ") for line in lines if line]
    assert events[-1] == "[DONE]"
    said = [json.loads(event)["choices"][0]["delta"]["content"] for event in events[:-1]]
    assert "".join(said) == "Hello world"


def test_curl_manages(curl: Curl) -> None:
    key = curl.post("/v1/organization/api_keys", name="laptop", scopes=["inference"])
    change = ("-X", "PATCH", "-H", "Content-Type: application/json", "-d", '{"name": "desk"}')
    path = f"/v1/organization/api_keys/{key['id']}"
    assert curl.json(path, *change)["name"] == "desk"
    assert curl.json(path + "/rotate", "-X", "POST")["key"] != key["key"]
    assert curl.json("/v1/usage")["data"] == []
    assert curl("/v1/usage?format=csv").splitlines()[0].startswith("day,")
    assert BASE in {model["id"] for model in curl.json("/v1/models")["data"]}
    assert curl.json("/v1/organization/limits")["requests_per_minute"]["limit"] is None
    assert curl.post("/v1/aliases", name="support", model=BASE)["revision"] == 1
    assert curl.json("/v1/aliases/support", "-X", "DELETE")["deleted"]
