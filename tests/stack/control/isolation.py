"""Network policies as addresses and ports: what each pod may receive and send."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..manifests.services import Peer, Policy, Rule
from ..node.packet_rules import Allowed, Isolation
from ..node.pod import RunningPod

_ANY = "0.0.0.0/0"


@dataclass(frozen=True)
class Stranger:
    """An address that is no pod of ours and yet has labels: the cluster's DNS."""

    address: str
    namespace: str
    labels: dict[str, str]


def isolate(
    policies: Sequence[Policy],
    pods: Iterable[RunningPod],
    *,
    namespace: str,
    strangers: Sequence[Stranger],
) -> dict[str, Isolation]:
    """By pod's address; pods that no policy selects are left out.

    https://kubernetes.io/docs/concepts/services-networking/network-policies/: what policies allow
    adds up, and a pod that any policy selects is refused the rest in that direction.
    """
    known = list(pods)
    everyone = [Stranger(pod.address, namespace, pod.labels) for pod in known] + list(strangers)
    result = {}
    for pod in known:
        selecting = [policy for policy in policies if policy.pods.holds(pod.labels)]
        sides: list[list[Allowed] | None] = []
        for rules in (
            [policy.receives for policy in selecting if policy.receives is not None],
            [policy.sends for policy in selecting if policy.sends is not None],
        ):
            if not rules:
                sides.append(None)
                continue
            receiving = not sides
            sides.append(
                [
                    allowed
                    for some in rules
                    for rule in some
                    for allowed in _allowed(rule, pod, known, everyone, namespace, receiving)
                ]
            )
        if sides != [None, None]:
            result[pod.address] = Isolation(receives=sides[0], sends=sides[1])
    return result


def _allowed(
    rule: Rule,
    pod: RunningPod,
    pods: Sequence[RunningPod],
    everyone: Sequence[Stranger],
    namespace: str,
    receiving: bool,
) -> list[Allowed]:
    peers = None
    if rule.peers is not None:
        peers = frozenset(a for peer in rule.peers for a in _addresses(peer, everyone, namespace))
    if rule.ports is None:
        return [Allowed(peers, None)]
    named = [port for port in rule.ports if isinstance(port[1], str)]
    plain = frozenset(
        (protocol, port if port is not None else 0, last or (port if port is not None else 65535))
        for protocol, port, last in rule.ports
        if not isinstance(port, str)
    )
    result = [Allowed(peers, plain)] if plain else []
    for protocol, name, _ in named:  # a name is a port of the pod that receives
        for target in [pod] if receiving else pods:
            number = target.port(str(name))
            if number is None:
                continue
            ports = frozenset({(protocol, number, number)})
            if receiving:
                result.append(Allowed(peers, ports))
            elif peers is None or target.address in peers:
                result.append(Allowed(frozenset({target.address}), ports))
    return result


def _addresses(peer: Peer, everyone: Sequence[Stranger], namespace: str) -> set[str]:
    if peer.range:
        return _without(peer.range, peer.excluded)
    found = set()
    for stranger in everyone:
        if peer.namespaces is None:
            if stranger.namespace != namespace:
                continue
        elif not peer.namespaces.holds({"kubernetes.io/metadata.name": stranger.namespace}):
            continue
        if peer.pods is None or peer.pods.holds(stranger.labels):
            found.add(stranger.address)
    return found


def _without(cidr: str, excluded: Iterable[str]) -> set[str]:
    network = ipaddress.ip_network(cidr)
    if network.version == 6:
        return set()
    left: list[ipaddress.IPv4Network] = [ipaddress.IPv4Network(cidr)]
    for text in excluded:
        if ":" in text:
            continue
        hole = ipaddress.IPv4Network(text)
        pieces: list[ipaddress.IPv4Network] = []
        for piece in left:
            if hole.subnet_of(piece):
                pieces += list(piece.address_exclude(hole))
            elif not piece.subnet_of(hole):
                pieces.append(piece)
        left = pieces
    return {str(piece) for piece in left}
