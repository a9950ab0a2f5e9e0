"""Jobs and single pods: run until they have succeeded, or failed too often."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..manifests.fields import Fields
from ..manifests.pods import Pod, read_pod
from .replicas import Pods

# A job's controller waits 10 s after a failure, then twice as long; here a tenth of that.
_FIRST_PAUSE = 1.0


@dataclass
class Job:
    """Attributes:
    succeeded: None until it has ended.
    """

    owner: str
    name: str
    pod: Pod
    retries: int
    deadline: float | None
    succeeded: bool | None = None
    failures: int = 0
    begun: float = field(default_factory=time.monotonic)
    _next: float = 0.0
    _current: str = ""

    def reconcile(self, pods: Pods) -> None:
        if self.succeeded is not None:
            return
        now = time.monotonic()
        current = next((pod for pod in pods.owned(self.owner) if pod.name == self._current), None)
        if self.deadline is not None and now - self.begun > self.deadline:
            self.succeeded = False
            if current is not None:
                current.begin_end()
        elif current is not None:
            if current.succeeded:
                self.succeeded = True
            elif current.succeeded is False:
                self.failures += 1
                self._current = ""
                self._next = now + _FIRST_PAUSE * 2 ** (self.failures - 1)
                self.succeeded = False if self.failures > self.retries else None
        elif now >= self._next:
            self._current = f"{self.name}-{secrets.token_hex(3)}"
            pods.create(self._current, self.pod, self.owner, {"job-name": self.name})

    def done(self, pods: Pods) -> bool:
        return bool(self.succeeded)


def read_job(document: Mapping[str, Any]) -> Job:
    """A Job, or a Pod as the hook of a Helm test is one.

    Raises:
        NotUnderstood: it has what the runner does not act out.
    """
    name = document["metadata"]["name"]
    where = f"{document['kind']}/{name}"
    if document["kind"] == "Pod":
        own = dict(document["spec"])
        limit = own.pop("activeDeadlineSeconds", None)
        labels = document["metadata"].get("labels", {})
        pod = read_pod({"metadata": {"labels": labels}, "spec": own}, where)
        return Job(where, name, pod, retries=0, deadline=None if limit is None else float(limit))
    with Fields(document, where) as top:
        top.not_acted_out("apiVersion", "kind", "metadata")
        spec = Fields(top.take("spec"), f"{where}.spec")
    with spec:
        spec.not_acted_out("ttlSecondsAfterFinished", "podReplacementPolicy")
        spec.one_of("completions", (1,), 1)
        spec.one_of("parallelism", (1,), 1)
        deadline = spec.take("activeDeadlineSeconds", None)
        return Job(
            owner=where,
            name=name,
            pod=read_pod(spec.take("template"), where),
            retries=int(spec.take("backoffLimit", 6)),
            deadline=None if deadline is None else float(deadline),
        )
