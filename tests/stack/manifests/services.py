"""Services and network policies as their manifests describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fields import Fields, NotUnderstood

Selector = Mapping[str, str]


@dataclass(frozen=True)
class Port:
    """A service's port, and where it leads: a number, or a name that each pod has for it."""

    name: str
    number: int
    target: int | str


@dataclass(frozen=True)
class Service:
    """Attributes:
    headless: has no address of its own; its name has those of its pods.
    not_ready_too: also pods that are not ready are its endpoints.
    """

    name: str
    selector: Selector
    ports: tuple[Port, ...]
    headless: bool
    not_ready_too: bool


def read_service(document: Mapping[str, Any]) -> Service:
    """Raises:
    NotUnderstood: it has what the runner does not act out.
    """
    name = document["metadata"]["name"]
    with Fields(document, f"Service/{name}") as top:
        top.not_acted_out("apiVersion", "kind", "metadata")
        spec = Fields(top.take("spec"), f"Service/{name}.spec")
    with spec:
        spec.one_of("type", ("ClusterIP", "LoadBalancer", "NodePort"), "ClusterIP")
        spec.not_acted_out("ipFamilyPolicy", "ipFamilies", "loadBalancerSourceRanges")
        spec.one_of("sessionAffinity", ("None",), "None")
        headless = spec.one_of("clusterIP", ("None", ""), "") == "None"
        ports = []
        for port in spec.each("ports"):
            with port:
                port.not_acted_out("appProtocol", "nodePort")
                port.one_of("protocol", ("TCP",), "TCP")
                number = port.take("port")
                ports.append(Port(port.take("name", ""), number, port.take("targetPort", number)))
        return Service(
            name=name,
            selector=spec.text_map("selector"),
            ports=tuple(ports),
            headless=headless,
            not_ready_too=spec.take("publishNotReadyAddresses", default=False),
        )


@dataclass(frozen=True)
class LabelTest:
    """What labels must be: all of the equalities and expressions (key, operator, values)."""

    equal: Mapping[str, str]
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` pass; an empty test lets all pass."""
        if any(labels.get(key) != value for key, value in self.equal.items()):
            return False
        for key, operator, values in self.expressions:
            passed = {
                "In": labels.get(key) in values,
                "NotIn": labels.get(key) not in values,
                "Exists": key in labels,
                "DoesNotExist": key not in labels,
            }[operator]
            if not passed:
                return False
        return True


def read_label_test(fields: Fields | None) -> LabelTest | None:
    if fields is None:
        return None
    with fields:
        expressions = []
        for entry in fields.each("matchExpressions"):
            with entry:
                operator = entry.one_of("operator", ("In", "NotIn", "Exists", "DoesNotExist"), None)
                expressions.append((entry.take("key"), operator, tuple(entry.take("values", []))))
        return LabelTest(fields.text_map("matchLabels"), tuple(expressions))


@dataclass(frozen=True)
class Peer:
    """Pods by namespace and labels, or a range of addresses without some."""

    namespaces: LabelTest | None = None
    pods: LabelTest | None = None
    range: str = ""
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Peers and ports (protocol, first, last), None for all of them."""

    peers: tuple[Peer, ...] | None
    ports: tuple[tuple[str, int | str | None, int | None], ...] | None


@dataclass(frozen=True)
class Policy:
    """A network policy; None where it does not speak of that direction."""

    name: str
    pods: LabelTest
    receives: tuple[Rule, ...] | None
    sends: tuple[Rule, ...] | None


def read_policy(document: Mapping[str, Any]) -> Policy:
    """Raises:
    NotUnderstood: it has what the runner does not act out.
    """
    name = document["metadata"]["name"]
    where = f"NetworkPolicy/{name}"
    with Fields(document, where) as top:
        top.not_acted_out("apiVersion", "kind", "metadata")
        spec = Fields(top.take("spec"), f"{where}.spec")
    with spec:
        test = read_label_test(spec.inner("podSelector"))
        given = {
            "Ingress": [_read_rule(rule, "from") for rule in spec.each("ingress")],
            "Egress": [_read_rule(rule, "to") for rule in spec.each("egress")],
        }
        kinds = spec.take("policyTypes", ["Ingress", *(["Egress"] if given["Egress"] else [])])
        return Policy(
            name=name,
            pods=test or LabelTest({}),
            receives=tuple(given["Ingress"]) if "Ingress" in kinds else None,
            sends=tuple(given["Egress"]) if "Egress" in kinds else None,
        )


def _read_rule(fields: Fields, side: str) -> Rule:
    with fields:
        peers = [_read_peer(peer) for peer in fields.each(side)]
        ports: list[tuple[str, int | str | None, int | None]] = []
        for port in fields.each("ports"):
            with port:
                protocol = str(port.one_of("protocol", ("TCP", "UDP"), "TCP")).lower()
                ports.append((protocol, port.take("port", None), port.take("endPort", None)))
        return Rule(tuple(peers) or None, tuple(ports) or None)


def _read_peer(fields: Fields) -> Peer:
    with fields:
        block = fields.inner("ipBlock")
        if block is not None:
            with block:
                return Peer(range=block.take("cidr"), excluded=tuple(block.take("except", [])))
        namespaces = read_label_test(fields.inner("namespaceSelector"))
        pods = read_label_test(fields.inner("podSelector"))
        if namespaces is None and pods is None:
            raise NotUnderstood(f"{fields.where} names no peer.")
        return Peer(namespaces, pods)
