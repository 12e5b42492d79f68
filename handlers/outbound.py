"""Calls to web addresses that people have typed: no redirects, short, and nowhere inside the host's own network."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob
from handlers.wording import worded

LONGEST_URL = 500
TIMEOUT_SECONDS = 10.0
READ_BYTES = 1_024  # of an answer, of which nobody reads more than whether it came
# Addresses of IPv6 in which one of IPv4 is wrapped: what they reach, their last bytes say, and not themselves.
WRAPPING = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


class Refused(OSError):
    """The address is inside the host's own network, where nobody may send this server by typing an address."""


def check_url(field: str, value: object) -> str:
    """``value``, which must be empty or an address that can be called. Raises InvalidJob, naming ``field``.

    Where a name leads, is looked up when it is called: it may lead elsewhere by then.
    """
    if value == "":
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_URL or not _can_be_called(value):
        raise InvalidJob(
            worded(
                "%(field)s: must be an http or https address of at most %(longest_url)s characters, "
                "without a user's name or password in it",
                field=field,
                longest_url=LONGEST_URL,
            ),
            field=field,
        )
    if not jobs_settings().call_private_addresses:
        try:
            _refuse_literal(urlsplit(value).hostname or "")
        except Refused as error:
            raise InvalidJob(f"{field}: {error}", field=field) from None
    return value


def without_path(url: str) -> str:
    """Where ``url`` leads, for who may not have the rest, which may be a key; empty for none."""
    return f"{'/'.join(url.split('/')[:3])}/\N{HORIZONTAL ELLIPSIS}" if url else ""


def _can_be_called(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        # A name and a password would be taken for host and port, and an error would tell them.
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:  # a port that is no number, brackets that do not close
        return False


def call(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
    """Ask for ``url``, or post ``body`` there. Raises the errors of urllib, an answer of 300 or more among them, and
    Refused for an address inside the host's own network, unless ``JOBS["CALL_PRIVATE_ADDRESSES"]`` allows that.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))  # noqa: S310 - http or https, as checked
    try:
        with _opener(url).open(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read(READ_BYTES)
    except urllib.error.URLError as error:
        if isinstance(error.reason, Refused):
            raise error.reason from None
        raise


def _opener(url: str) -> urllib.request.OpenerDirector:
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_proxied = parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
    if jobs_settings().call_private_addresses:
        return urllib.request.build_opener(_NoRedirects)
    if is_proxied:  # the proxy looks the name up, and says where it lets this server go; not to what is plainly inside
        _refuse_literal(host)
        return urllib.request.build_opener(_NoRedirects)
    return urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}), _Http, _Https)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """An address that leads elsewhere is an error: nobody has typed that one."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = _connect


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = _connect


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_SecureConnection, context=self._context), request)  # type: ignore[attr-defined]


def _connect(address: tuple[str, int], timeout: Any = None, *rest: Any, **options: Any) -> socket.socket:
    """A connection to what the name means now: looked up once, so that what is checked is what is called."""
    host, port = address
    places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for _, _, _, _, place in places:
        _refuse(str(place[0]), host)
    error: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, place in places:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(place)
            return connection
        except OSError as failed:
            connection.close()
            error = failed
    raise error


def _refuse_literal(host: str) -> None:
    if host == "localhost" or host.endswith(".localhost"):
        raise _inside(host)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    _refuse(host, host)


def _refuse(address: str, host: str) -> None:
    place = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(place, ipaddress.IPv6Address) and place.ipv4_mapped:
        place = place.ipv4_mapped
    is_wrapped = any(place in network for network in WRAPPING if network.version == place.version)
    if is_wrapped or not place.is_global or place.is_multicast:
        raise _inside(host)


def _inside(host: str) -> Refused:
    return Refused(f'{host} is inside this server\'s own network: JOBS["CALL_PRIVATE_ADDRESSES"] would allow that')
