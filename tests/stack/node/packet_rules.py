"""What a node does to packets: services' addresses become pods', network policies are held.

Rules of nftables for the node's namespace. Connections that stand go on when a rule changes: as
with kube-proxy, a pod that has left a service keeps its connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_TABLE = "stack"


@dataclass(frozen=True)
class ServicePort:
    """One port of a service: connections go to any of the endpoints (address, port)."""

    address: str
    port: int
    endpoints: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Allowed:
    """Peers (addresses and ranges) and ports; None: all of them.

    Attributes:
        ports: (protocol, first, last).
    """

    peers: frozenset[str] | None
    ports: frozenset[tuple[str, int, int]] | None


@dataclass(frozen=True)
class Isolation:
    """What a pod may receive and send; None where no policy selects it for that direction."""

    receives: Sequence[Allowed] | None = None
    sends: Sequence[Allowed] | None = None


@dataclass(frozen=True)
class NodeRules:
    """All that the node enforces.

    Attributes:
        host: the kubelet's address, which policies never keep out.
        isolation: by the pod's address.
    """

    host: str
    services_range: str
    services: Sequence[ServicePort] = ()
    isolation: Mapping[str, Isolation] = field(default_factory=dict)

    def text(self) -> str:
        """The rules as a script for `nft -f`, which replaces what was there."""
        lines = [f"table ip {_TABLE}", f"delete table ip {_TABLE}", f"table ip {_TABLE} {{"]
        lines += ["chain services {", "type nat hook prerouting priority dstnat; policy accept;"]
        lines += [_translation(port) for port in self.services if port.endpoints]
        lines += ["}"]
        for address, isolation in self.isolation.items():
            lines += _chain(f"to_{_name(address)}", "saddr", isolation.receives)
            lines += _chain(f"from_{_name(address)}", "daddr", isolation.sends)
        lines += [
            "chain forward {",
            "type filter hook forward priority filter; policy accept;",
            "ct state established,related accept",
            f"ip daddr {self.services_range} reject",
        ]
        for address, isolation in self.isolation.items():
            if isolation.sends is not None:
                lines += [f"ip saddr {address} jump from_{_name(address)}"]
        lines += [f"ip saddr {self.host} accept"]
        for address, isolation in self.isolation.items():
            if isolation.receives is not None:
                lines += [f"ip daddr {address} jump to_{_name(address)}"]
        return "\n".join([*lines, "}", "}", ""])


def _translation(port: ServicePort) -> str:
    targets = ", ".join(f"{n} : {to} . {at}" for n, (to, at) in enumerate(port.endpoints))
    choice = f"numgen random mod {len(port.endpoints)} map {{ {targets} }}"
    return f"ip daddr {port.address} tcp dport {port.port} dnat to {choice}"


def _chain(name: str, peer: str, allowed: Iterable[Allowed] | None) -> list[str]:
    """Returns from the chain what is allowed, refuses the rest at once.

    A cluster's network would rather drop it; a refusal spares the tests the waiting.
    """
    if allowed is None:
        return []
    lines = [f"chain {name} {{"]
    for rule in allowed:
        if rule.peers is not None and not rule.peers:
            continue
        where = "" if rule.peers is None else f"ip {peer} {{ {', '.join(sorted(rule.peers))} }} "
        if rule.ports is None:
            lines += [f"{where}return"]
            continue
        for protocol in sorted({protocol for protocol, _, _ in rule.ports}):
            ports = sorted((a, b) for p, a, b in rule.ports if p == protocol)
            listed = ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in ports)
            lines += [f"{where}{protocol} dport {{ {listed} }} return"]
    return [*lines, "reject with icmp admin-prohibited", "}"]


def _name(address: str) -> str:
    return address.replace(".", "_")
