"""A cluster of one node: documents go in, pods, names and packet rules come out."""

from __future__ import annotations

import copy
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..manifests.fields import NotUnderstood
from ..manifests.pods import Pod, read_pod
from ..manifests.services import Policy, Service, read_policy, read_service
from ..node.environment import service_links
from ..node.images import Images
from ..node.names import DOMAIN, NameServer
from ..node.network import Network
from ..node.objects import Stored, read_stored
from ..node.packet_rules import NodeRules, ServicePort
from ..node.pod import RunningPod, Surroundings
from ..node.starting import Turns
from .api_server import PORT, ApiServer
from .isolation import Stranger, isolate
from .jobs import Job, read_job
from .kuberay import read_ray_cluster
from .replicas import Controller, RayNodes, read_deployment, read_stateful_set

_TICK = 0.1
# kube-proxy, DNS and gateways hear of a pod's end later than the pod itself: the reason for
# draining. Seconds.
_NEWS_TAKE = 1.0

# What pods' processes cannot notice; the tests of the rendered documents look at them.
NOT_ACTED_OUT = frozenset(
    {
        "ServiceAccount",
        "Ingress",
        "HTTPRoute",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "ScaledObject",
        "TriggerAuthentication",
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
        "Role",
        "RoleBinding",
    }
)


@dataclass
class _Known:
    """A service with its address, and who was behind it when."""

    service: Service
    address: str
    seen: dict[str, float]


class Cluster:
    """Runs until it is closed, in threads of this process; what it starts ends with this process.

    Args:
        folder: for volumes and logs.
        namespace: of all documents.

    Attributes:
        outside: names beyond the cluster, and their addresses.
        full: owners for whose pods no node has room: they are wanted and do not come.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self.namespace = namespace
        self.network = Network()
        self._names = NameServer(self.network.dns)
        folder.mkdir(parents=True, exist_ok=True)
        self._api = ApiServer(self.network.outside_address(), namespace, self, folder)
        self._stored: Stored = {("ConfigMap", "kube-root-ca.crt"): {"ca.crt": self._api.authority}}
        self.claims: dict[str, Path] = {}
        self._claims_folder = folder / "claims"
        self._around = Surroundings(
            namespace=namespace,
            network=self.network,
            images=Images(folder),
            folder=folder,
            stored=self._stored,
            claims=self.claims,
            links=self._links,
            api={
                "KUBERNETES_SERVICE_HOST": self._api.address,
                "KUBERNETES_SERVICE_PORT": str(PORT),
                "KUBERNETES_SERVICE_PORT_HTTPS": str(PORT),
            },
            turns=Turns(),
        )
        self.outside: dict[str, str] = {}
        self.full: set[str] = set()
        self._rays: dict[str, dict[str, Any]] = {}
        self.pods: list[RunningPod] = []
        self.past: list[RunningPod] = []
        self.failures: list[str] = []
        self.controllers: dict[str, Controller] = {}
        self._services: dict[str, _Known] = {}
        self._policies: dict[str, Policy] = {}
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._rules, self._rounds = "", 0
        self._thread = threading.Thread(target=self._run, name="controllers", daemon=True)
        self._thread.start()

    @property
    def images(self) -> Images:
        return self._around.images

    def apply(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Take documents in, as `kubectl apply`.

        Raises:
            NotUnderstood: one has what the runner does not act out; nothing of it is applied.
        """
        with self._lock:
            for document in sorted(documents, key=_order):
                self._apply(document)

    def _apply(self, document: Mapping[str, Any]) -> None:
        kind, name = document["kind"], document["metadata"]["name"]
        owner = f"{kind}/{name}"
        if document["metadata"].get("namespace", self.namespace) != self.namespace:
            raise NotUnderstood(f"{owner} is in another namespace.")
        match kind:
            case "ConfigMap" | "Secret":
                self._stored[kind, name] = read_stored(document)
            case "PersistentVolumeClaim":
                self.claim(name)
            case "Service":
                known = self._services.get(name)
                service = read_service(document)
                address = known.address if known else self.network.service_address()
                self._services[name] = _Known(service, address, known.seen if known else {})
            case "NetworkPolicy":
                self._policies[name] = read_policy(document)
            case "Deployment":
                self._replace(read_deployment(document))
            case "StatefulSet":
                self._replace(read_stateful_set(document))
            case "Job" | "Pod":
                if owner not in self.controllers:  # they cannot change
                    self._replace(read_job(document))
            case "RayCluster":
                self._apply_ray(document)
            case _ if kind not in NOT_ACTED_OUT:
                raise NotUnderstood(f"{owner}: the runner knows no such kind.")

    def _replace(self, controller: Controller) -> None:
        self.controllers[controller.owner] = controller

    def _apply_ray(self, document: Mapping[str, Any]) -> None:
        ray = read_ray_cluster(document, self.namespace)
        self._rays[ray.name] = copy.deepcopy(dict(document))
        if ray.token_secret and ("Secret", ray.token_secret) not in self._stored:
            token = secrets.token_hex(32).encode()
            self._stored["Secret", ray.token_secret] = {"auth_token": token}
        self._apply({**ray.service, "apiVersion": "v1"})
        head = f"RayCluster/{ray.name}/head"
        self._replace(RayNodes(head, f"{ray.name}-head", 1, ray.head, read_pod(ray.head, head)))
        for group in ray.groups:
            owner = f"RayCluster/{ray.name}/{group.name}"
            known = self.controllers.get(owner)
            # As with an autoscaler: an upgrade leaves the number of workers as it is.
            replicas = known.replicas if isinstance(known, RayNodes) else group.replicas
            pod = read_pod(group.template, owner)
            self._replace(
                RayNodes(owner, f"{ray.name}-{group.name}", replicas, group.template, pod)
            )

    # What Ray's autoscaler asks for.

    def ray_document(self, name: str) -> Mapping[str, Any] | None:
        with self._lock:
            document = self._rays.get(name)
            for group in document["spec"]["workerGroupSpecs"] if document else ():
                nodes = self.controllers[f"RayCluster/{name}/{group['groupName']}"]
                assert isinstance(nodes, RayNodes)
                group["replicas"] = nodes.replicas
            return copy.deepcopy(document)

    def patch_ray(self, name: str, patches: Sequence[Mapping[str, Any]]) -> None:
        with self._lock:
            groups = self._rays[name]["spec"]["workerGroupSpecs"]
            for patch in patches:
                *_, index, field = patch["path"].split("/")
                group = groups[int(index)]
                owner = f"RayCluster/{name}/{group['groupName']}"
                if patch["op"] != "replace" or field not in ("replicas", "scaleStrategy"):
                    raise NotUnderstood(f"Ray's autoscaler patches {patch}.")
                group[field] = patch["value"]
                if field == "replicas":
                    self.scale(owner, patch["value"])
                    continue
                for pod in self.owned(owner):
                    if pod.name in patch["value"]["workersToDelete"]:
                        pod.begin_end()

    def pods_of(self, selector: Mapping[str, str]) -> Sequence[RunningPod]:
        with self._lock:
            return [
                pod
                for pod in self.pods
                if all(pod.labels.get(key) == value for key, value in selector.items())
            ]

    def delete(self, kind: str, name: str) -> None:
        """As `kubectl delete`; its pods get their grace."""
        with self._lock:
            self._stored.pop((kind, name), None)
            if kind == "Service":
                self._services.pop(name, None)
            if kind == "NetworkPolicy":
                self._policies.pop(name, None)
            for owner in list(self.controllers):
                if owner == f"{kind}/{name}" or owner.startswith(f"{kind}/{name}/"):
                    del self.controllers[owner]
                    for pod in self.owned(owner):
                        pod.begin_end()

    def job(self, kind: str, name: str) -> Job:
        """A Job's state."""
        found = self.controllers[f"{kind}/{name}"]
        assert isinstance(found, Job)
        return found

    def scale(self, owner: str, replicas: int) -> None:
        """Change how many pods a controller keeps.

        Raises:
            LookupError: no such controller.
        """
        with self._lock:
            found = self.controllers.get(owner)
            if found is None or not hasattr(found, "replicas"):
                raise LookupError(f"{owner} cannot be scaled; there are {sorted(self.controllers)}")
            self.controllers[owner] = replace(found, replicas=replicas)  # type: ignore[type-var]

    def restart(self, owner: str) -> None:
        """Replace the pods as `kubectl rollout restart` does."""
        with self._lock:
            found: Any = self.controllers[owner]
            template = dict(found.template)
            metadata = dict(template.get("metadata", {}))
            stamp = {"kubectl.kubernetes.io/restartedAt": str(time.time())}
            metadata["annotations"] = {**metadata.get("annotations", {}), **stamp}
            template["metadata"] = metadata
            self.controllers[owner] = replace(found, template=template)

    # What controllers do.

    def owned(self, owner: str) -> Sequence[RunningPod]:
        with self._lock:
            return [pod for pod in self.pods if pod.owner == owner]

    def create(self, name: str, pod: Pod, owner: str, labels: Mapping[str, str]) -> None:
        if owner in self.full:
            return
        labelled = replace(pod, labels={**pod.labels, **labels})
        made = RunningPod(name, labelled, owner, self._around)
        with self._lock:
            self.pods.append(made)
            self._publish()  # first: a pod is never without the policies that select it
        made.start()

    def claim(self, name: str) -> None:
        folder = self._claims_folder / name
        folder.mkdir(parents=True, exist_ok=True)
        self.claims.setdefault(name, folder)

    # The loop.

    def _run(self) -> None:
        while not self._closing.wait(_TICK):
            try:
                self._tick()
            except Exception:  # noqa: BLE001 - kept for whoever waits, who fails with it
                self.failures.append(traceback.format_exc())
                self._closing.wait(1.0)

    def _tick(self) -> None:
        with self._lock:
            # A job's pod that has run to its end stays to be looked at until it is deleted.
            ended = [p for p in self.pods if p.gone.is_set() and p.ending_since is not None]
            for pod in ended:
                self.pods.remove(pod)
                self.past.append(pod)
                pod.close()
            for controller in list(self.controllers.values()):
                controller.reconcile(self)
            self._publish()
        self._rounds += 1

    def _publish(self) -> None:
        """Tell DNS and the node's packet rules who is behind which service now."""
        zone: dict[str, Sequence[str]] = {name: [address] for name, address in self.outside.items()}
        ports = []
        for name, known in self._services.items():
            behind = self._behind(known)
            full = f"{name}.{self.namespace}.svc.{DOMAIN}"
            headless = known.service.headless
            zone[full] = [pod.address for pod in behind] if headless else [known.address]
            for pod in behind:
                zone[f"{pod.name}.{full}"] = [pod.address]
            if headless:
                continue
            for port in known.service.ports:
                targets = [(pod.address, pod.port(port.target)) for pod in behind]
                endpoints = [(address, number) for address, number in targets if number is not None]
                ports.append(ServicePort(known.address, port.number, endpoints))
        self._names.publish(zone)
        namesake = Stranger(self.network.dns, "kube-system", {"k8s-app": "kube-dns"})
        rules = NodeRules(
            host=self.network.host,
            services_range=self.network.services,
            services=ports,
            isolation=isolate(
                list(self._policies.values()),
                [pod for pod in self.pods if not pod.gone.is_set()],
                namespace=self.namespace,
                strangers=[namesake],
            ),
        ).text()
        if rules != self._rules:
            self.network.apply(rules)
            self._rules = rules

    def _behind(self, known: _Known) -> list[RunningPod]:
        now, service = time.monotonic(), known.service
        if not service.selector:
            return []
        behind = []
        for pod in self.pods:
            if any(pod.labels.get(key) != value for key, value in service.selector.items()):
                continue
            if pod.gone.is_set():
                continue
            if pod.ready or (service.not_ready_too and pod.ending_since is None):
                known.seen[pod.name] = now
            if now - known.seen.get(pod.name, float("-inf")) <= _NEWS_TAKE:
                behind.append(pod)
        return behind

    def _links(self) -> Mapping[str, str]:
        with self._lock:
            return service_links(
                (name, known.address, [(port.name, port.number) for port in known.service.ports])
                for name, known in self._services.items()
                if not known.service.headless
            )

    # What tests ask.

    def secret(self, name: str) -> Mapping[str, bytes]:
        """What a Secret holds; nothing where there is none."""
        return self._stored.get(("Secret", name), {})

    def address(self, service: str) -> str:
        """A service's own address.

        Raises:
            LookupError: no such service.
        """
        known = self._services.get(service)
        if known is None:
            raise LookupError(f"no service {service}; there are {sorted(self._services)}")
        return known.address

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition, and for names and rules to follow it.

        Raises:
            AssertionError: time is up; it has what all pods say.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self.failures:
                raise AssertionError(f"the runner itself failed:\n{self.failures[-1]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.explain()}")
            time.sleep(0.05)
        rounds = self._rounds
        while self._rounds < rounds + 2 and not self.failures:
            time.sleep(0.01)

    def explain(self) -> str:
        """What is not as it should be, with the last lines of logs."""
        with self._lock:
            wrong = [pod for pod in self.pods if not pod.ready and not pod.succeeded]
            return "\n".join(pod.explain() for pod in [*self.past[-3:], *wrong])

    def close(self) -> None:
        """End everything, without grace."""
        self._closing.set()
        self._thread.join(30)
        closers = [threading.Thread(target=pod.close) for pod in self.pods]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(30)
        self._names.close()
        self._api.close()
        self.network.close()


def _order(document: Mapping[str, Any]) -> int:
    """Helm's order of kinds: what others refer to comes first."""
    kinds = ("NetworkPolicy", "Secret", "ConfigMap", "PersistentVolumeClaim", "Service")
    kind = document["kind"]
    return kinds.index(kind) if kind in kinds else len(kinds)
