"""Calls of many tenants, one after another over one connection, each timed."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import exp, log
from typing import Any
from uuid import uuid4

import psycopg

from .growth_database import plain
from .growth_rows import BASE, Size, key_of
from .sides import ADMIN_KEY

MODELS, MODEL = "/v1/models, 1 to 20 of them", "/v1/models/{model}"
UPLOAD, CREATE = "file upload", "job create"
PAGE, DEEP = "job list, first page", "job list, deep in"
METRICS, READY, REPORT = "/metrics", "/readyz", "usage report of all tenants"
LIMITS = "limits and what is used"
CHAT, COLD_CHAT = "chat completion, 100 tenants", "chat completion, all tenants"

_EXAMPLE = {
    "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]
}
_FILE = b"\n".join([json.dumps(_EXAMPLE).encode()] * 10)
_BOUNDARY = "growth-of-the-gateway"
_UPLOAD = (
    b'--%(b)s\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--%(b)s\r\ncontent-disposition: form-data; name="file"; filename="train.jsonl"\r\n\r\n'
    b"%(file)s\r\n--%(b)s--\r\n"
) % {b"b": _BOUNDARY.encode(), b"file": _FILE}


@dataclass
class Calls:
    """A connection to the gateway at `port`, and seconds of what it was asked, by name."""

    port: int
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def __call__(
        self, name: str, method: str, path: str, key: str, body: Any = None, form: bytes = b""
    ) -> bytes:
        """The answer.

        Raises:
            RuntimeError: it is not 200.
        """
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        if form:
            headers["content-type"] = f"multipart/form-data; boundary={_BOUNDARY}"
        data = form or (b"" if body is None else json.dumps(body).encode())
        begun = time.perf_counter()
        self._connection.request(method, path, data or None, headers)
        response = self._connection.getresponse()
        content = response.read()
        self.seconds.setdefault(name, []).append(time.perf_counter() - begun)
        if response.status not in (200, 503 if path == "/readyz" else 200):
            raise RuntimeError(f"{method} {path}: {response.status} {content[:500]!r}")
        return content


class Tenants:
    """Tenants by chance, half of them each as likely, half by their size; what they have."""

    def __init__(self, url: str, size: Size) -> None:
        self._size = size
        self._random = random.Random(20260401)
        with psycopg.connect(plain(url)) as connection:
            rows = connection.execute(
                "SELECT right(tenant_id, 8)::int, array_agg(name) FROM models"
                " WHERE deleted_at IS NULL GROUP BY 1"
            )
            self.models: dict[int, list[str]] = dict(rows.fetchall())
            rows = connection.execute(
                "SELECT right(tenant_id, 8)::int, (array_agg(id ORDER BY seq))[21] FROM jobs"
                " GROUP BY 1 HAVING count(*) > 40"
            )
            self.deep: dict[int, str] = dict(rows.fetchall())

    def draw(self, among: Iterable[int] | None = None) -> int:
        """A tenant's number."""
        numbers = None if among is None else sorted(among)
        most = self._size.tenants if numbers is None else len(numbers)
        if self._random.random() < 0.5:
            place = self._random.randint(1, most)
        else:
            place = min(most, int(exp(self._random.random() * log(most + 1))))
        return place if numbers is None else numbers[place - 1]

    def draw_model(self) -> tuple[int, str]:
        """A tenant and one of its models."""
        tenant = self.draw(self.models)
        return tenant, self._random.choice(self.models[tenant])

    def some(self, number: int) -> list[int]:
        """So many tenants that have models, from the largest to the smallest."""
        known = sorted(self.models)
        return known[:: max(1, len(known) // number)][:number]

    def one_of(self, pairs: list[tuple[int, str]]) -> tuple[int, str]:
        """A tenant and a model, each pair as likely."""
        return self._random.choice(pairs)

    def with_models(self, least: int, most: int) -> list[int]:
        """Tenants that have so many models."""
        return [t for t, names in self.models.items() if least <= len(names) <= most]


def ask(calls: Calls, tenants: Tenants, times: int) -> None:
    """Everything but chats, in turn, so that a slow spell of the machine meets all of it."""
    few = tenants.with_models(1, 20)

    rounds: list[Callable[[], object]] = [
        lambda: calls(MODELS, "GET", "/v1/models", key_of(tenants.draw(few))),
        lambda: _one_model(calls, tenants),
        lambda: _create(calls, tenants.draw()),
        lambda: calls(PAGE, "GET", "/v1/fine_tuning/jobs", key_of(tenants.draw())),
        lambda: _deep(calls, tenants),
        lambda: calls(LIMITS, "GET", "/v1/organization/limits", key_of(tenants.draw())),
        lambda: calls(READY, "GET", "/readyz", "none"),
    ]
    for _ in range(times):
        for call in rounds:
            call()
    for _ in range(max(1, times // 10)):
        calls(METRICS, "GET", "/metrics", "none")
    for _ in range(max(1, times // 100)):
        calls(REPORT, "GET", "/v1/organization/usage", ADMIN_KEY)


def _one_model(calls: Calls, tenants: Tenants) -> None:
    tenant, name = tenants.draw_model()
    calls(MODEL, "GET", f"/v1/models/{name}", key_of(tenant))


def _create(calls: Calls, tenant: int) -> None:
    key = key_of(tenant)
    file = json.loads(calls(UPLOAD, "POST", "/v1/files", key, form=_UPLOAD))["id"]
    body = {"model": BASE, "training_file": file, "suffix": uuid4().hex[:8]}
    calls(CREATE, "POST", "/v1/fine_tuning/jobs", key, body)


def _deep(calls: Calls, tenants: Tenants) -> None:
    tenant = tenants.draw(tenants.deep)
    path = f"/v1/fine_tuning/jobs?limit=20&after={tenants.deep[tenant]}"
    calls(DEEP, "GET", path, key_of(tenant))


def chat(calls: Calls, tenants: Tenants, times: int, name: str = COLD_CHAT) -> None:
    """Chats with models by chance, one call each; `CHAT`: with ten models of each of 100 tenants.

    Those are as many as there are at the smallest size: the gateway knows as many of them.
    """
    few = [(t, m) for t in tenants.some(100) for m in tenants.models[t][:10]]
    for _ in range(times):
        tenant, model = tenants.one_of(few) if name == CHAT else tenants.draw_model()
        body = {"model": model, "messages": [{"role": "user", "content": "Where is it?"}]}
        calls(name, "POST", "/v1/chat/completions", key_of(tenant), body)
