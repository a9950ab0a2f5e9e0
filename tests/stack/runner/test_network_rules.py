"""Names and packet rules, as texts; `test_cluster` tries them."""

from __future__ import annotations

import socket
import struct
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from ..control.isolation import Stranger, isolate
from ..manifests.services import read_policy
from ..node.names import answer
from ..node.packet_rules import Allowed, Isolation, NodeRules, ServicePort
from ..node.pod import RunningPod

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


def question(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)


@given(
    name=st.lists(LABELS, min_size=1, max_size=5).map(".".join),
    addresses=st.lists(st.ip_addresses(v=4).map(str), max_size=20, unique=True),
)
def test_a_name_has_exactly_its_addresses(name: str, addresses: list[str]) -> None:
    asked = question(name)
    response = answer(asked, {name: addresses})
    identifier, flags, questions, answers, _, _ = struct.unpack("!HHHHHH", response[:12])
    assert (identifier, questions, answers, flags & 0x000F) == (7, 1, len(addresses), 0)
    assert response[12 : len(asked)] == asked[12:]
    records = response[len(asked) :]
    assert len(records) == 16 * len(addresses)
    found = [socket.inet_ntoa(records[at + 12 : at + 16]) for at in range(0, len(records), 16)]
    assert found == addresses


def test_unknown_names_and_other_records_differ() -> None:
    zone = {"a.b": ["10.0.0.1"]}
    assert answer(question("x.b"), zone)[3] & 0x0F == 3  # no such name
    other = answer(question("a.b", kind=28), zone)  # AAAA
    assert (other[3] & 0x0F, struct.unpack("!H", other[6:8])) == (0, (0,))


def test_services_and_isolation_become_rules() -> None:
    text = NodeRules(
        host="10.9.0.1",
        services_range="10.9.128.0/17",
        services=[
            ServicePort("10.9.128.1", 80, [("10.9.1.1", 8000), ("10.9.1.2", 8000)]),
            ServicePort("10.9.128.2", 80, []),
        ],
        isolation={
            "10.9.1.1": Isolation(
                receives=[Allowed(frozenset({"10.9.1.2"}), frozenset({("tcp", 1, 2)}))], sends=[]
            )
        },
    ).text()
    targets = "{ 0 : 10.9.1.1 . 8000, 1 : 10.9.1.2 . 8000 }"
    assert f"ip daddr 10.9.128.1 tcp dport 80 dnat to numgen random mod 2 map {targets}" in text
    assert "10.9.128.2" not in text
    assert "ip saddr { 10.9.1.2 } tcp dport { 1-2 } return" in text
    # A pod's sending is judged before the kubelet's exception, which is for receiving alone.
    order = [text.index(part) for part in ("jump from_", "ip saddr 10.9.0.1 accept", "jump to_")]
    assert order == sorted(order)


class Somebody:
    """As much of a pod as policies look at."""

    def __init__(self, address: str, part: str) -> None:
        self.address, self.labels = address, {"part": part}

    def port(self, name: str | int) -> int | None:
        return {"http": 8000}.get(str(name)) if isinstance(name, str) else name


def test_policies_add_up_and_an_unselected_pod_is_free() -> None:
    policies = [
        read_policy(document)
        for document in (
            {"metadata": {"name": "deny"}, "spec": {"podSelector": {"matchLabels": {"part": "a"}}}},
            {
                "metadata": {"name": "allow"},
                "spec": {
                    "podSelector": {"matchLabels": {"part": "a"}},
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [
                        {
                            "from": [{"podSelector": {"matchLabels": {"part": "b"}}}],
                            "ports": [{"port": "http"}],
                        }
                    ],
                    "egress": [
                        {
                            "to": [
                                {
                                    "namespaceSelector": {},
                                    "podSelector": {"matchLabels": {"d": "n"}},
                                }
                            ],
                            "ports": [{"port": 53, "protocol": "UDP"}],
                        },
                        {"to": [{"ipBlock": {"cidr": "10.0.0.0/30", "except": ["10.0.0.2/32"]}}]},
                    ],
                },
            },
        )
    ]
    pods = [Somebody("1.0.0.1", "a"), Somebody("1.0.0.2", "b")]
    strangers = [Stranger("9.9.9.9", "kube-system", {"d": "n"})]
    result = isolate(policies, cast("list[RunningPod]", pods), namespace="n", strangers=strangers)
    assert result == {
        "1.0.0.1": Isolation(
            receives=[Allowed(frozenset({"1.0.0.2"}), frozenset({("tcp", 8000, 8000)}))],
            sends=[
                Allowed(frozenset({"9.9.9.9"}), frozenset({("udp", 53, 53)})),
                Allowed(frozenset({"10.0.0.0/31", "10.0.0.3/32"}), None),
            ],
        )
    }
