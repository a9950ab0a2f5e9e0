"""A cluster's DNS: service names for pods, by UDP.

https://github.com/kubernetes/dns/blob/master/docs/specification.md: a service has its address, a
headless one those of its ready pods.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping, Sequence

DOMAIN = "cluster.local"
_A, _NO_ERROR, _NO_SUCH_NAME = 1, 0, 3
_TTL = 1


def search_path(namespace: str) -> str:
    """resolv.conf's search line and options, as the kubelet writes them."""
    return f"search {namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\noptions ndots:5\n"


class NameServer:
    """Answers at `address`, port 53, until it is closed."""

    def __init__(self, address: str) -> None:
        self._zone: Mapping[str, Sequence[str]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._thread = threading.Thread(target=self._serve, name="names", daemon=True)
        self._thread.start()

    def publish(self, zone: Mapping[str, Sequence[str]]) -> None:
        """Addresses by full name without the last dot; an empty list is a name without any."""
        self._zone = {name.lower(): tuple(addresses) for name, addresses in zone.items()}

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                question, asker = self._socket.recvfrom(1500)
                if not asker:
                    return
                self._socket.sendto(answer(question, self._zone), asker)
            except (struct.error, IndexError, UnicodeDecodeError):
                continue  # no question that a resolver of ours would send
            except OSError:
                return


def answer(question: bytes, zone: Mapping[str, Sequence[str]]) -> bytes:
    """The answer to a query of one question (RFC 1035, section 4)."""
    identifier, flags, count = struct.unpack("!HHH", question[:6])
    if count != 1:
        raise IndexError("one question at a time")
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    (kind,) = struct.unpack("!H", question[at + 1 : at + 3])
    asked = question[12 : at + 5]
    found = zone.get(".".join(labels).lower())
    addresses = found if found and kind == _A else ()
    code = _NO_SUCH_NAME if found is None else _NO_ERROR
    # A response (0x8000), authoritative (0x0400), recursion available (0x0080).
    head = struct.pack(
        "!HHHHHH", identifier, 0x8480 | flags & 0x0100 | code, 1, len(addresses), 0, 0
    )
    records = b"".join(
        struct.pack("!HHHIH", 0xC00C, _A, 1, _TTL, 4) + socket.inet_aton(address)
        for address in addresses
    )
    return head + asked + records
