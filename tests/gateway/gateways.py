"""The real gateway on a socket, with tenants, jobs and models as a test needs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

import httpx
import openai

from tunesmith.gateway.app import create_app
from tunesmith.platform import bases, files
from tunesmith.platform.database import Database
from tunesmith.platform.domain.ids import random_text
from tunesmith.platform.domain.names import tuned_model_name
from tunesmith.platform.domain.training import Prepared, StoredAdapter
from tunesmith.platform.jobs import moves, progress, queue
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import CONFIG, WEIGHTS, put_adapter

from .serving import Served

ADMIN_KEY = "sk-ts-admin-of-the-tests"
BASE = "pocket"
BASE_DIGEST = "b" * 64


def examples(count: int = 12, *, seed: str = "") -> bytes:
    """A valid file for fine-tuning."""
    return b"".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"question {seed} {number}"},
                    {"role": "assistant", "content": f"answer {number}"},
                ]
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


def preferences(count: int = 12) -> bytes:
    """A valid file for the method dpo."""
    return b"".join(
        json.dumps(
            {
                "input": {"messages": [{"role": "user", "content": f"question {number}"}]},
                "preferred_output": [{"role": "assistant", "content": f"answer {number}"}],
                "non_preferred_output": [{"role": "assistant", "content": "no"}],
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


@dataclass(frozen=True)
class Tenant:
    """A tenant of a gateway under test, and the official client with its key."""

    id: str
    key: str
    client: openai.OpenAI
    http: httpx.Client

    def upload(self, data: bytes | None = None, name: str = "tickets.jsonl") -> str:
        """Id of a new file for fine-tuning."""
        content = examples(seed=random_text(6)) if data is None else data
        return self.client.files.create(file=(name, content), purpose="fine-tune").id


class Gateway:
    """A gateway that listens, and the database and storage behind it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.served = Served(create_app(settings))
        self.url = self.served.url
        self.database = Database(settings.database_url)
        self.storage = Storage(settings.storage_url)
        self.admin = self._http(ADMIN_KEY)
        self._clients: list[httpx.Client | openai.OpenAI] = [self.admin]
        self.register_base()

    def stop(self) -> None:
        """End it in order."""
        for client in self._clients:
            client.close()
        self.served.stop()
        self.database.dispose()

    def register_base(self, digest: str = BASE_DIGEST) -> None:
        with self.database.transaction() as session:
            bases.register_base(
                session,
                name=BASE,
                source="/bases/pocket",
                digest=digest,
                context_length=512,
                max_rank=64,
                config={},
            )

    def tenant(self, name: str | None = None) -> Tenant:
        """A new tenant, made through the API."""
        answer = self.admin.post("/v1/tenants", json={"name": name or f"t {random_text(8)}"})
        assert answer.status_code == 200, answer.text
        made = answer.json()
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=made["key"], max_retries=0)
        http = self._http(made["key"])
        self._clients += [client, http]
        return Tenant(made["id"], made["key"], client, http)

    def anonymous(self, key: str | None = None) -> httpx.Client:
        """A client with `key`, or with none."""
        client = self._http(key)
        self._clients.append(client)
        return client

    def lease(self, job_id: str) -> queue.Lease:
        """A dispatcher's lease on a job that waits for it."""
        with self.database.transaction() as session:
            job = moves.locked_job(session, job_id)
            assert job is not None
            job.lease_token, job.lease_owner, job.lease_expires_at = random_text(), "test", 4e9
            return queue.Lease(job_id, job.lease_token, 4e9)

    def prepare(self, job_id: str, hyperparameters: dict[str, Any] | None = None) -> None:
        """Do what a dispatcher does with a job's files."""
        lease = self.lease(job_id)
        with self.database.transaction() as session:
            progress.prepared(
                session,
                lease,
                Prepared(
                    hyperparameters
                    or {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.5},
                    {"rank": 16},
                    total_steps=9,
                ),
            )

    def begin(self, job_id: str) -> queue.Lease:
        """Start the training of a queued job."""
        lease = self.lease(job_id)
        with self.database.transaction() as session:
            queue.begin(session, lease, "Fine-tuning job started")
        return lease

    def train(self, tenant: Tenant, *, checkpoints: Sequence[int] = ()) -> tuple[str, str]:
        """Bring a new job to success; its model's name and its adapter's digest."""
        job = tenant.client.fine_tuning.jobs.create(model=BASE, training_file=tenant.upload())
        self.prepare(job.id)
        lease = self.begin(job.id)
        name = tuned_model_name(BASE, "org", None, job.id)
        digest = self.adapter()
        with self.database.transaction() as session:
            for step in checkpoints:
                stored = StoredAdapter(self.adapter(), rank=16, bytes=10)
                progress.record_checkpoint(
                    session, lease, stored, model_name=name, step=step, metrics={"step": step}
                )
            table = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
            sha256 = hashlib.sha256(table).hexdigest()
            key = files.original_key(tenant.id, sha256)
            self.storage.put(key, table)
            result = files.add_file(
                session,
                tenant.id,
                files.StoredFile(key, len(table), sha256),
                filename="result.csv",
                purpose="fine-tune-results",
            )
            progress.complete(
                session,
                lease,
                StoredAdapter(digest, rank=16, bytes=10),
                model_name=name,
                trained_tokens=1234,
                result_file=result.id,
            )
        return name, digest

    def adapter(self) -> str:
        """Digest of a new adapter in storage (of no use to a real engine)."""
        return put_adapter(self.storage, {WEIGHTS: random_text().encode(), CONFIG: b"{}"})

    def metric(self, name: str, **labels: str) -> float:
        """A figure of /metrics; 0 where there is none yet."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            found, _, rest = series.partition("{")
            if found == name and wanted <= set(rest.rstrip("}").split(",")):
                return float(value)
        return 0.0

    def _http(self, key: str | None) -> httpx.Client:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30.0)


def wait_for(met: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return when `met`; fail when that has not come for `seconds`."""
    deadline = monotonic() + seconds
    while not met():
        assert monotonic() < deadline, "it did not come to be"
        sleep(0.02)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer, which must have OpenAI's shape."""
    body = answer.json()
    assert set(body) == {"error"}, body
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    assert isinstance(error["message"], str)
    assert error["message"]
    return error
