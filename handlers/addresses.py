"""Where a request comes from, behind proxies that the site trusts."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

SETTING = "CONSOLE_TRUSTED_PROXIES"
UNIX = "unix"  # whoever connects over a unix socket, and so has no address


class Trusted(NamedTuple):
    """The proxies whose word on who sent a request counts."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    unix: bool

    def holds(self, address: str) -> bool:
        """Whether the peer at ``address`` is one of them."""
        if not address:
            return self.unix
        known = _address(address)
        return known is not None and any(known in network for network in self.networks)


def client_address(request: HttpRequest) -> str:
    """The sender's address: the peer's, or what a trusted proxy says of its own peer, and so on. Empty if unknown.

    What a proxy that is not trusted claims, or a sender, is not believed: anyone can send X-Forwarded-For.
    """
    address: str = request.META.get("REMOTE_ADDR") or ""
    names = tuple(getattr(settings, SETTING, ()))
    if not names:
        return address
    claims = request.headers.get("X-Forwarded-For", "").split(",")
    while claims and trusted(names).holds(address):
        claimed = _address(claims.pop())
        if claimed is None:
            break
        address = str(claimed)
    return address


@cache
def trusted(names: tuple[str, ...]) -> Trusted:
    """``names`` of proxies, read. Raises ImproperlyConfigured for one that is neither a network nor ``unix``."""
    try:
        networks = tuple(ip_network(name) for name in names if name != UNIX)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{SETTING}: {error}: name addresses and networks such as 10.0.0.0/8, and {UNIX!r} for a unix socket."
        ) from None
    return Trusted(networks, UNIX in names)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it, with or without a port."""
    text = text.strip()
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ip_address(host)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
