"""Deployments, StatefulSets, Ray's nodes: as many pods as wanted, of the right kind."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..manifests.fields import Fields
from ..manifests.pods import Pod, read_pod
from ..manifests.quantities import share
from ..node.pod import RunningPod

VERSION = "pod-template-hash"


def version_of(template: Mapping[str, Any]) -> str:
    """A short name that a template's content decides."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]


class Pods(Protocol):
    """What controllers do to the cluster's pods."""

    def owned(self, owner: str) -> Sequence[RunningPod]:
        """Those that are not gone."""
        ...

    def create(self, name: str, pod: Pod, owner: str, labels: Mapping[str, str]) -> None: ...

    def claim(self, name: str) -> None:
        """A persistent volume, empty where it is not there yet."""
        ...


class Controller(Protocol):
    """Brings the pods closer to what a document wants, each time it is asked."""

    owner: str

    def reconcile(self, pods: Pods) -> None: ...

    def done(self, pods: Pods) -> bool:
        """Whether the pods are as wanted."""
        ...


@dataclass
class Deployment:
    """Replaces pods by others: some more first, or all away first."""

    owner: str
    name: str
    replicas: int
    template: Mapping[str, Any]
    pod: Pod
    recreate: bool
    surge: int | str
    unavailable: int | str

    def reconcile(self, pods: Pods) -> None:
        version = version_of(self.template)
        mine = pods.owned(self.owner)
        living = [pod for pod in mine if pod.ending_since is None]
        for pod in living:
            if pod.succeeded is not None:  # its containers ended for good
                pod.begin_end()
        living = [pod for pod in living if pod.ending_since is None]
        new = [pod for pod in living if pod.labels.get(VERSION) == version]
        old = [pod for pod in living if pod.labels.get(VERSION) != version]
        if self.recreate and old:
            for pod in old:
                pod.begin_end()
            return
        if self.recreate and len(mine) > len(living):
            return
        surge = share(self.surge, self.replicas, up=True)
        unavailable = share(self.unavailable, self.replicas, up=False)
        room = self.replicas + (surge if old else 0) - len(living)
        for _ in range(min(self.replicas - len(new), room)):
            label = {VERSION: version}
            pods.create(
                f"{self.name}-{version}-{secrets.token_hex(3)}", self.pod, self.owner, label
            )
        available = sum(pod.ready for pod in living)
        # Those that serve nobody go first.
        for pod in sorted(old, key=lambda pod: pod.ready):
            if pod.ready and available - 1 < self.replicas - unavailable:
                break
            available -= pod.ready
            pod.begin_end()
        for pod in sorted(new, key=lambda pod: pod.ready)[: max(0, len(new) - self.replicas)]:
            pod.begin_end()

    def done(self, pods: Pods) -> bool:
        version = version_of(self.template)
        mine = pods.owned(self.owner)
        return len(mine) == self.replicas and all(
            pod.ready and pod.labels.get(VERSION) == version for pod in mine
        )


def read_deployment(document: Mapping[str, Any]) -> Deployment:
    """Raises:
    NotUnderstood: it has what the runner does not act out.
    """
    name = document["metadata"]["name"]
    where = f"Deployment/{name}"
    with Fields(document, where) as top:
        top.not_acted_out("apiVersion", "kind", "metadata")
        spec = Fields(top.take("spec"), f"{where}.spec")
    with spec:
        spec.not_acted_out("revisionHistoryLimit", "progressDeadlineSeconds", "selector")
        strategy = spec.inner("strategy") or Fields({}, where)
        surge: int | str = "25%"
        unavailable: int | str = "25%"
        with strategy:
            kind = strategy.one_of("type", ("RollingUpdate", "Recreate"), "RollingUpdate")
            rolling = strategy.inner("rollingUpdate")
            if rolling is not None:
                with rolling:
                    surge = rolling.take("maxSurge", surge)
                    unavailable = rolling.take("maxUnavailable", unavailable)
        template = spec.take("template")
        return Deployment(
            owner=where,
            name=name,
            replicas=int(spec.take("replicas", 1)),
            template=template,
            pod=read_pod(template, where),
            recreate=kind == "Recreate",
            surge=surge,
            unavailable=unavailable,
        )


@dataclass
class StatefulSet:
    """Pods by number, one after the other, each with volumes of its own."""

    owner: str
    name: str
    replicas: int
    template: Mapping[str, Any]
    claims: tuple[str, ...]

    def reconcile(self, pods: Pods) -> None:
        version = version_of(self.template)
        known = {pod.name: pod for pod in pods.owned(self.owner)}
        for number in range(self.replicas):
            name = f"{self.name}-{number}"
            pod = known.get(name)
            if pod is None:
                self._create(pods, number, version)
                return
            if pod.ending_since is None and pod.succeeded is not None:
                pod.begin_end()
            if not pod.ready:
                return
        for number in reversed(range(self.replicas)):
            pod = known[f"{self.name}-{number}"]
            if pod.labels.get(VERSION) != version:
                pod.begin_end()
                return
        for name, pod in known.items():
            if int(name.rpartition("-")[2]) >= self.replicas:
                pod.begin_end()

    def _create(self, pods: Pods, number: int, version: str) -> None:
        spec = dict(self.template["spec"])
        volumes = list(spec.get("volumes", []))
        for claim in self.claims:
            own = f"{claim}-{self.name}-{number}"
            pods.claim(own)
            volumes.append({"name": claim, "persistentVolumeClaim": {"claimName": own}})
        name = f"{self.name}-{number}"
        pod = read_pod({**self.template, "spec": {**spec, "volumes": volumes}}, self.owner)
        labels = {VERSION: version, "statefulset.kubernetes.io/pod-name": name}
        pods.create(name, pod, self.owner, labels)

    def done(self, pods: Pods) -> bool:
        version = version_of(self.template)
        mine = pods.owned(self.owner)
        return len(mine) == self.replicas and all(
            pod.ready and pod.labels.get(VERSION) == version for pod in mine
        )


def read_stateful_set(document: Mapping[str, Any]) -> StatefulSet:
    """Raises:
    NotUnderstood: it has what the runner does not act out.
    """
    name = document["metadata"]["name"]
    where = f"StatefulSet/{name}"
    with Fields(document, where) as top:
        top.not_acted_out("apiVersion", "kind", "metadata")
        spec = Fields(top.take("spec"), f"{where}.spec")
    with spec:
        spec.not_acted_out("revisionHistoryLimit", "selector", "serviceName")
        spec.one_of("podManagementPolicy", ("OrderedReady",), "OrderedReady")
        claims = []
        for claim in spec.each("volumeClaimTemplates"):
            claims.append(claim.take("metadata")["name"])
        return StatefulSet(
            owner=where,
            name=name,
            replicas=int(spec.take("replicas", 1)),
            template=spec.take("template"),
            claims=tuple(claims),
        )


@dataclass
class RayNodes:
    """Ray's head, or one group of its workers: a pod that ended is replaced, a changed one too."""

    owner: str
    name: str
    replicas: int
    template: Mapping[str, Any]
    pod: Pod

    def reconcile(self, pods: Pods) -> None:
        version = version_of(self.template)
        living = [pod for pod in pods.owned(self.owner) if pod.ending_since is None]
        for pod in living:
            # Its first container is Ray's: without it, nothing keeps the pod (shouldDeletePod in
            # KubeRay's raycluster_controller.go).
            over = pod.succeeded is not None or pod.containers[0].done.is_set()
            if over or pod.labels.get(VERSION) != version:
                pod.begin_end()
        living = [pod for pod in living if pod.ending_since is None]
        for pod in living[self.replicas :]:
            pod.begin_end()
        for _ in range(self.replicas - len(living)):
            name = f"{self.name}-{secrets.token_hex(3)}"
            pods.create(name, self.pod, self.owner, {VERSION: version})

    def done(self, pods: Pods) -> bool:
        version = version_of(self.template)
        mine = pods.owned(self.owner)
        return len(mine) == self.replicas and all(
            pod.ready and pod.labels.get(VERSION) == version for pod in mine
        )
