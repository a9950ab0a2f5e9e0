"""A release of the chart with all that it needs, as local processes, and ways to harm it."""

from __future__ import annotations

import copy
import json
import secrets
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from sqlalchemy import select

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import Model

from .control.cluster import Cluster
from .node.pod import RunningPod
from .release import Release
from .servers import BUCKET, REGION, S3, PostgreSql, Redis
from .storage_proxy import StorageProxy

NAMESPACE, RELEASE = "tuning", "tunesmith"
POCKET = "tunesmith-pocket"
_TINY = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}


def values(s3_url: str) -> dict[str, Any]:
    """Two of everything on CPU, with PostgreSQL, S3 and Redis from outside."""
    return {
        "adminKey": {"existingSecret": "stack-admin"},
        "database": {"existingSecret": "stack-database"},
        "redis": {"existingSecret": "stack-redis"},
        "storage": {
            "url": f"s3://{BUCKET}/data",
            "s3": {"endpointUrl": s3_url, "region": REGION, "existingSecret": "stack-s3"},
        },
        # The servers beside the cluster have ports that a cluster's would not.
        "networkPolicy": {"storage": {"to": [], "ports": [9000]}},
        "gateway": {"replicas": 2, "resources": _TINY, "drainSeconds": 3, "graceSeconds": 120},
        "dispatcher": {"resources": _TINY},
        "evaluator": {"resources": _TINY},
        "bases": {
            "pocket": {
                "name": POCKET,
                "model": {"source": "pocket"},
                "maxModelLen": 1024,
                "engine": {
                    "device": "cpu",
                    "replicas": 2,
                    "maxLoras": 4,
                    "maxCpuLoras": 16,
                    "startupSeconds": 600,
                    "preStopSeconds": 5,
                    "shutdownSeconds": 60,
                    "sharedMemory": "256Mi",
                    "resources": _TINY,
                },
            }
        },
        "ray": {
            "head": {"resources": {"limits": {"memory": "2Gi"}}},
            "workerGroups": {
                "cpu": {
                    "minReplicas": 2,
                    "maxReplicas": 2,
                    "gpus": 0,
                    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
                }
            },
        },
        # A limit that nobody meets: counted in Redis all the same.
        "settings": {"lease_seconds": 6, "trainer_threads": 1, "requests_per_minute": 100_000},
    }


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values over values, as Helm merges them."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        known = result.get(key)
        both = isinstance(value, Mapping) and isinstance(known, Mapping)
        result[key] = merged(known, value) if both else value  # type: ignore[arg-type]
    return result


class Stack:
    """Servers outside, a cluster, and one release in it.

    Args:
        s3: `moto`, or `rclone`, which checks signatures.
    """

    def __init__(self, folder: Path, s3: str = "rclone") -> None:
        self.folder = folder
        self.cluster = Cluster(folder / "cluster", NAMESPACE)
        network = self.cluster.network
        self.admin_key = f"sk-{secrets.token_hex(16)}"
        self.postgresql = PostgreSql(network.outside_address(), folder / "postgresql")
        self.redis = Redis(network.outside_address(), folder / "redis")
        self.s3 = S3(network.outside_address(), folder / "s3", s3)
        self.storage_proxy = StorageProxy(network.outside_address(), 9000, self.s3.address, 9000)
        self.release = Release(self.cluster, RELEASE)
        self.database_url = self.postgresql.database("tunesmith")
        self.values = values(f"http://{self.storage_proxy.address}:9000")
        secret = {
            "stack-admin": {"admin-key": self.admin_key},
            "stack-database": {"url": self.database_url},
            "stack-redis": {"url": self.redis.url},
            "stack-s3": {"access-key-id": self.s3.key, "secret-access-key": self.s3.secret},
        }
        self.cluster.apply(
            [
                {"kind": "Secret", "metadata": {"name": name}, "stringData": data}
                for name, data in secret.items()
            ]
        )

    def apply(self, changes: Mapping[str, Any] | None = None) -> None:
        """Install or upgrade with these changes on top of the values so far; does not wait."""
        self.values = merged(self.values, changes or {})
        self.release.apply(self.values)

    def wait_ready(self, seconds: float = 900.0) -> None:
        self.release.wait_ready(seconds)

    @property
    def url(self) -> str:
        """The gateway's service, from outside."""
        return f"http://{self.cluster.address(f'{RELEASE}-gateway')}"

    def pods(self, component: str) -> Sequence[RunningPod]:
        """A part's pods that nobody has ordered to end, oldest first."""
        return [
            pod
            for pod in self.cluster.pods
            if pod.labels.get("app.kubernetes.io/component") == component
            and pod.ending_since is None
        ]

    def pod(self, component: str) -> RunningPod:
        return self.pods(component)[0]

    def owner(self, component: str) -> str:
        """The controller of a part's pods, by one of them."""
        return self.pod(component).owner

    def kill(self, pod: RunningPod, container: str = "") -> None:
        """SIGKILL to a container's process 1, and so to all in it."""
        pod.container(container).kill()

    def stop(self, pod: RunningPod) -> None:
        """Delete a pod: it drains, ends, and another comes in its place."""
        pod.begin_end()

    def roll(self, component: str) -> None:
        """Replace a part's pods as an upgrade does; does not wait."""
        self.cluster.restart(self.owner(component))

    def scale(self, component: str, replicas: int) -> None:
        self.cluster.scale(self.owner(component), replicas)

    def logs(self, component: str) -> str:
        """What a part's pods have printed, those that are gone too."""
        every = [*self.cluster.past, *self.cluster.pods]
        chosen = [p for p in every if p.labels.get("app.kubernetes.io/component") == component]
        return "\n".join(pod.explain(400) for pod in chosen)

    def key_of_administrator(self) -> str:
        """The one given, or the one that the chart has made for a trial."""
        made = self.cluster.secret(f"{RELEASE}-evaluation").get("admin-key")
        return made.decode() if made else self.admin_key

    def client(self, key: str, **options: Any) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, **options)

    def tenant(self, name: str) -> OpenAI:
        """The official client with the first key of a new tenant."""
        answer = httpx.post(
            f"{self.url}/v1/tenants",
            headers={"Authorization": f"Bearer {self.key_of_administrator()}"},
            json={"name": name},
            timeout=30,
        )
        assert answer.is_success, answer.text
        return self.client(json.loads(answer.text)["key"])

    @property
    def driver_url(self) -> str:
        """The database's URL with the driver that is installed."""
        return self.database_url.replace("postgresql:", "postgresql+psycopg:")

    def digest(self, model: str) -> str:
        """The digest behind a model's name."""
        database = Database(self.driver_url)
        with database.reading() as session:
            digest = session.scalars(select(Model.adapter_digest).where(Model.name == model)).one()
        database.dispose()
        return digest

    def close(self) -> None:
        """End everything."""
        self.cluster.close()
        self.storage_proxy.close()
        for server in (self.postgresql, self.redis, self.s3):
            server.stop(9)


@contextmanager
def running_stack(folder: Path | None = None, s3: str = "rclone") -> Iterator[Stack]:
    """A stack whose release is not installed yet; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-stack-", ignore_cleanup_errors=True) as own:
        stack = Stack(folder or Path(own), s3)
        try:
            yield stack
        finally:
            stack.close()


def background(work: Any) -> threading.Thread:
    """Run `work` beside the test."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
