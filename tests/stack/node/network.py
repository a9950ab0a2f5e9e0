"""Addresses for pods: network namespaces that a namespace of the node's own routes between.

As Calico does it: every pod has an address of its own and one route, to the node, so all that
pods send each other passes the node's packet rules (`packet_rules`): services and network policies
hold as in a cluster. The tests' own process stands outside and reaches pods and services by a
route through the node, as the kubelet does. All of it is gone with the node's namespace.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .spawning import Held, hold_namespaces

# Any link-local address does: the pods' neighbour table is told who has it.
_GATEWAY = "169.254.1.1"
_GATEWAY_MAC = "ee:ee:ee:ee:ee:ee"


class NoNetwork(Exception):
    """This machine does not let us make networks; the message says what is missing."""


class Network:
    """One node's network: 10.N.0.0/16, N chosen such that several can be there at once.

    10.N.0.0/24 is outside of the cluster: the tests' process, DNS, databases. 10.N.1.0 to
    10.N.127.255 are pods, the rest services.
    """

    def __init__(self) -> None:
        missing = [tool for tool in ("ip", "nft", "nsenter") if shutil.which(tool) is None]
        if missing:
            raise NoNetwork(
                f"{', '.join(missing)} missing: install Debian's iproute2, nftables and util-linux."
            )
        if os.geteuid() != 0:
            raise NoNetwork(
                "Pods' networks and mounts need root, or a container that is privileged."
            )
        self._number, self._lock = _claim_number()
        self.prefix = f"10.{self._number}"
        self.pods, self.services = f"{self.prefix}.0.0/17", f"{self.prefix}.128.0/17"
        self.outside_range = f"{self.prefix}.0.0/24"
        self.host, self.dns = f"{self.prefix}.0.1", f"{self.prefix}.0.10"
        self._outside = (f"{self.prefix}.0.{n}" for n in range(20, 250))
        self._pods = self._addresses(1, 128)
        self._services = self._addresses(128, 256)
        self._links = 0
        try:
            self._node = hold_namespaces("node")
            self._connect_host()
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoNetwork(f"Network namespaces cannot be made here: {error}") from error

    def _addresses(self, first: int, last: int) -> Iterator[str]:
        return (f"{self.prefix}.{third}.{n}" for third in range(first, last) for n in range(1, 255))

    def _connect_host(self) -> None:
        outer, inner = f"stack{self._number}", "outside"
        _ip(
            f"link add {outer} type veth peer name {inner} netns {self._node.pid}",
            f"addr add {self.host}/24 dev {outer}",
            f"addr add {self.dns}/32 dev {outer}",
            f"link set {outer} up",
        )
        self._in_node(
            "link set lo up",
            f"addr add {self.prefix}.0.2/24 dev {inner}",
            f"link set {inner} up",
            f"route add default via {self.host}",
            f"route add unreachable {self.pods}",
            f"route add unreachable {self.services}",
        )
        _ip(f"route add {self.prefix}.0.0/16 via {self.prefix}.0.2")
        self._nsenter("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def outside_address(self) -> str:
        """An address of this machine's that pods see as a server outside of their cluster."""
        address = next(self._outside)
        _ip(f"addr add {address}/32 dev stack{self._number}")
        return address

    def service_address(self) -> str:
        return next(self._services)

    def connect(self, pod: Held) -> str:
        """Give a pod its address."""
        address = next(self._pods)
        self._links += 1
        link = f"pod{self._links}"
        self._in_node(
            f"link add {link} address {_GATEWAY_MAC} type veth peer name eth0 netns {pod.pid}",
            f"link set {link} up",
            f"route add {address} dev {link}",
        )
        _ip_in(
            pod.pid,
            "link set lo up",
            f"addr add {address}/32 dev eth0",
            "link set eth0 up",
            f"neigh add {_GATEWAY} lladdr {_GATEWAY_MAC} dev eth0 nud permanent",
            f"route add {_GATEWAY} dev eth0 scope link",
            f"route add default via {_GATEWAY} dev eth0",
        )
        return address

    def apply(self, rules: str) -> None:
        """Replace the node's packet rules, all at once."""
        self._nsenter("nft", "-f", "-", text=rules)

    def close(self) -> None:
        self._node.close()
        os.close(self._lock)

    def _in_node(self, *lines: str) -> None:
        _ip_in(self._node.pid, *lines)

    def _nsenter(self, *command: str, text: str = "") -> None:
        subprocess.run(
            ["nsenter", "-t", str(self._node.pid), "-n", *command],
            input=text.encode(),
            check=True,
            capture_output=True,
        )


def _claim_number() -> tuple[int, int]:
    """A second octet that no other stack on this machine has, and the lock that holds it."""
    taken = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    for number in range(211, 251):
        path = Path(tempfile.gettempdir()) / f"tunesmith-stack-{number}.lock"
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if f" 10.{number}." not in taken:
            return number, lock
        os.close(lock)
    raise NoNetwork("Every range 10.211.0.0/16 to 10.250.0.0/16 is in use.")


def _ip(*lines: str, within: tuple[str, ...] = ()) -> None:
    command = [*within, "ip", "-batch", "-"]
    done = subprocess.run(
        command, input="\n".join(lines).encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise OSError(f"ip: {done.stderr.decode().strip()} in {lines}")


def _ip_in(pid: int, *lines: str) -> None:
    _ip(*lines, within=("nsenter", "-t", str(pid), "-n"))
