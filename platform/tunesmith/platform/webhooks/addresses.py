"""Which URLs webhooks may go to: a tenant must not reach into the platform's own network."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from tunesmith.platform.domain.errors import InvalidRequest

MAX_URL = 2048

# Global unicast is 2000::/3 so far (RFC 4291; IANA's registry of the IPv6 address space); in it
# lie two that carry an IPv4 address to somewhere: Teredo and 6to4.
_UNICAST = ipaddress.IPv6Network("2000::/3")
_TUNNELS = (ipaddress.IPv6Network("2001::/32"), ipaddress.IPv6Network("2002::/16"))
# NAT64 (RFC 6052): how a network without IPv4 names the public hosts that have nothing else.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What `is_global` lets pass: protocol assignments (with Oracle's metadata), 6to4's deprecated
# relays (RFC 7526), and the host of every Azure VM, public only by its number.
_SPECIAL = tuple(
    ipaddress.IPv4Network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")
)

_ALLOWED = re.compile(r"[!-\[\]-~]+")  # visible ASCII but for the backslash


def is_public(address: str) -> bool:
    """Whether a numeric address is a host of the public internet.

    Not: loopback, private, link-local, shared (CGNAT), multicast, reserved, documentation or
    unspecified addresses, nor IPv6 ones that stand for an IPv4 address, NAT64 excepted.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return _is_public_v4(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
        return found in _UNICAST and found.is_global and not any(found in t for t in _TUNNELS)
    return _is_public_v4(found)


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _SPECIAL)


def check_url(url: str, *, private: bool) -> str:
    """The host of a webhook's URL.

    Args:
        private: whether addresses of private networks, and plain http, are allowed.

    Raises:
        InvalidRequest: it is no absolute https URL, has a user or a fragment, or its host is
            a number that is no public address.
    """
    if len(url) > MAX_URL:
        raise _refused(f"has more than {MAX_URL} characters")
    if not _ALLOWED.fullmatch(url):
        raise _refused("has characters that a URL cannot have; write others as %XX or punycode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(f"is not one: {error}") from error
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise _refused("must start with https://")
    host = parts.hostname
    if not host or port == 0:
        raise _refused("names no host, or the port 0")
    if "@" in parts.netloc or "#" in url:
        raise _refused("has a user, a password or a fragment, which are not sent")
    # Forms such as 127.1 and 0x7f000001 are numbers to a resolver, and to nobody else.
    last = host.rstrip(".").rpartition(".")[2]
    numeric = ":" in host or last.isdigit() or last.startswith("0x")
    if numeric and not private and not is_public(host):
        raise not_public()
    return host


def not_public() -> InvalidRequest:
    """What is said of a host that webhooks do not go to.

    A name that does not exist and one of the private network are answered alike: the answer must
    not tell which names the private network has.
    """
    return _refused("names a host that has no public address")


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(f"The webhook's URL {why}.", param="url", code="invalid_webhook_url")
