"""What a Redis URL may say, Sentinel's form included, as the keys of an entry of django-rq's ``RQ_QUEUES``.

No error repeats a part of the URL: in one that was misspelled the password may stand anywhere.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

PLAIN = ("redis", "rediss", "unix")
SENTINEL = {"redis+sentinel": False, "rediss+sentinel": True}  # and whether over TLS
SENTINEL_PORT = 26379
SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
ESCAPES = "in a user or password write # as %23, / as %2F, : as %3A, ? as %3F, @ as %40 and % as %25"


def place(url: str) -> dict[str, Any]:
    """Where ``url`` leads. Raises ValueError, in one line, for one that cannot be understood."""
    scheme = url.partition("://")[0] if isinstance(url, str) else ""
    if scheme not in (*PLAIN, *SENTINEL):
        raise ValueError("it must begin with redis://, rediss://, unix:// or redis+sentinel://")
    if "#" in url:
        raise ValueError(f"it holds a #; {ESCAPES}")
    parts, options = _split(url), _options(url)
    if scheme in SENTINEL:
        return _sentinel(parts, options, tls=SENTINEL[scheme])
    if scheme == "unix":
        if not parts.path:
            raise ValueError("unix:// must be followed by the socket's path, as in unix:///run/valkey.sock")
        return {"URL": url}
    _port(parts)
    if not re.fullmatch(r"/?[0-9]*/?", parts.path):
        raise ValueError(f"after the host and port comes only / and the number of a database; {ESCAPES}")
    return {"URL": url}


def _sentinel(parts: SplitResult, options: dict[str, str], *, tls: bool) -> dict[str, Any]:
    form = "redis+sentinel://:password@host1:26379,host2:26379/name-of-the-master/0"
    login, _, hosts = parts.netloc.rpartition("@")
    sentinels = [_split(f"redis://{host}") for host in hosts.split(",")]
    found = re.fullmatch(r"/([^/]+)(?:/([0-9]+))?/?", parts.path)
    if found is None or not all(sentinel.hostname for sentinel in sentinels):
        raise ValueError(f"for Sentinel it must be of the form {form}")
    if set(options) - set(SENTINEL_OPTIONS):
        raise ValueError(f"after ? Sentinel's form knows only {' and '.join(SENTINEL_OPTIONS)}")
    user, _, password = login.partition(":")
    secure = {"ssl": True} if tls else {}
    return {
        "SENTINELS": [(sentinel.hostname, _port(sentinel) or SENTINEL_PORT) for sentinel in sentinels],
        "MASTER_NAME": unquote(found[1]),
        "DB": int(found[2] or 0),
        "USERNAME": unquote(user) or None,
        "PASSWORD": unquote(password) or None,
        "CONNECTION_KWARGS": secure,
        "SENTINEL_KWARGS": secure | {SENTINEL_OPTIONS[name]: value for name, value in options.items()},
    }


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError(f"its host cannot be read; {ESCAPES}") from None


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise ValueError(f"its port must be a number up to 65535; {ESCAPES}") from None


def _options(url: str) -> dict[str, str]:
    query = _split(url).query
    if "@" in query:
        raise ValueError(f"it holds an @ behind a ?; {ESCAPES}")
    try:
        return dict(parse_qsl(query, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError("after ? come options of the form name=value, with & between them") from None
