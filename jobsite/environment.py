"""What the environment says, read and checked. Every error is one line that says what to set."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from handlers import redis_urls
from handlers.addresses import trusted
from handlers.conf import version_problem
from handlers.one_machine.kept import ensure_data_folder, kept_secret

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MIN_SECRET_CHARS = 50  # what Django's own deploy check asks for
# A server, or the way to it, may vanish without a word. What DATABASE_URL says of these goes before.
PATIENCE = {"connect_timeout": 5, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
_YES = {"1", "true", "yes", "on"}
_NO = {"", "0", "false", "no", "off"}


def flag(name: str, *, default: bool = False) -> bool:
    """The yes or no in variable ``name``. Raises ImproperlyConfigured for anything else."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    if raw.strip().lower() in _YES | _NO:
        return raw.strip().lower() in _YES
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {raw!r}.")


def minutes(name: str) -> float | None:
    """The number in variable ``name``; None where there is none. Raises ImproperlyConfigured for anything else."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return None
    if raw.isascii() and raw.isdigit() and int(raw) > 0:
        return float(raw)
    raise ImproperlyConfigured(f"{name} must be a number of minutes, such as 30, not {raw!r}.")


def names(name: str, default: Sequence[str] = ()) -> list[str]:
    """The comma-separated items in variable ``name``, or ``default`` when it is unset."""
    raw = os.environ.get(name)
    return list(default) if raw is None else [item.strip() for item in raw.split(",") if item.strip()]


def apps(name: str = "JOBSITE_APPS") -> list[str]:
    """The Django apps in variable ``name``. Raises ImproperlyConfigured for one whose package is not there."""
    found = names(name)
    for app in found:
        package = app.partition(".")[0]
        if not package or find_spec(package) is None:
            raise ImproperlyConfigured(f"{name} names {app!r}, which is neither beside manage.py nor installed.")
    return found


def port(name: str = "PORT", default: int = 8000) -> int:
    """The TCP port in variable ``name``. Raises ImproperlyConfigured for what is no port."""
    raw = os.environ.get(name) or str(default)
    if raw.isascii() and raw.isdigit() and 0 < int(raw) < 65536:
        return int(raw)
    raise ImproperlyConfigured(f"{name} must be a port number from 1 to 65535, not {raw!r}.")


def badge(name: str = "JOBSITE_ENVIRONMENT") -> str:
    """The word on the console's badge, such as ``staging``. Raises ImproperlyConfigured for one that does not fit."""
    word = os.environ.get(name, "").strip()
    if len(word) <= 20 and word.isprintable():
        return word
    raise ImproperlyConfigured(f"{name} must be a short word such as 'staging', not {word[:40]!r}.")


def version(name: str = "JOBSITE_VERSION") -> str:
    """The version of the code in variable ``name``. Raises ImproperlyConfigured for one that does not fit."""
    found = os.environ.get(name, "").strip()
    if problem := version_problem(found):
        raise ImproperlyConfigured(f"{name} {problem}.")
    return found


def is_loopback(hosts: Sequence[str]) -> bool:
    """True when every one of ``hosts`` is this machine itself."""
    return bool(hosts) and set(hosts) <= set(LOOPBACK_HOSTS)


def allowed_hosts(*, debug: bool) -> list[str]:
    """DJANGO_ALLOWED_HOSTS, or loopback. Raises ImproperlyConfigured for a list that would let strangers in."""
    hosts = names("DJANGO_ALLOWED_HOSTS", LOOPBACK_HOSTS)
    if not hosts or "*" in hosts:
        raise ImproperlyConfigured(
            "DJANGO_ALLOWED_HOSTS must name the hosts this site answers to, such as 'jobs.example.com', and not be '*'."
        )
    if debug and not is_loopback(hosts):
        raise ImproperlyConfigured(
            "DJANGO_DEBUG shows settings and source to every visitor: unset it, or unset DJANGO_ALLOWED_HOSTS."
        )
    return hosts


def script_name(name: str = "SCRIPT_NAME") -> str:
    """The path below which the site lies, such as ``/ops``, or nothing. Raises ImproperlyConfigured for no path."""
    path = os.environ.get(name, "").rstrip("/")
    if path and not path.startswith("/"):
        raise ImproperlyConfigured(f"{name} must be a path such as '/ops', not {path!r}.")
    return path


def cookie_name(what: str, secret: str) -> str:
    """The name of a cookie that only the sites with this ``secret`` use: the hosts of one site, and no other site."""
    return f"jobsite_{what}_{hashlib.sha256(secret.encode()).hexdigest()[:8]}"


def proxies(name: str = "TRUSTED_PROXIES") -> list[str]:
    """The proxies in variable ``name``, none by default. Raises ImproperlyConfigured for one that is none."""
    found = names(name)
    trusted(tuple(found))
    return found


def secret_key(data: Path, hosts: Sequence[str], *, debug: bool) -> str:
    """DJANGO_SECRET_KEY; on loopback, when unset, one kept under ``data``. Raises ImproperlyConfigured if unsafe."""
    advice = "set it to 50 or more random characters: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
    key = os.environ.get("DJANGO_SECRET_KEY", "")
    if not key and is_loopback(hosts):
        return kept_secret(data / "secret-key", secrets.token_urlsafe(50))
    if not key:
        raise ImproperlyConfigured(f"DJANGO_SECRET_KEY is not set: {advice}")
    if not debug and (len(key) < MIN_SECRET_CHARS or len(set(key)) < 5 or key.startswith("django-insecure-")):
        raise ImproperlyConfigured(f"DJANGO_SECRET_KEY is too easy to guess: {advice}")
    return key


def database(data: Path) -> dict[str, Any]:
    """The default database: DATABASE_URL, or SQLite under ``data``. Raises ImproperlyConfigured for a bad URL."""
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{quote(str(data / 'db.sqlite3'))}"
    if "#" in url:
        raise ImproperlyConfigured("DATABASE_URL is not usable: it holds a #; write # as %23, ? as %3F and % as %25.")
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    except ValueError as error:  # its unknown-scheme and bad-URL errors are both of this kind
        raise ImproperlyConfigured(f"DATABASE_URL is not usable: {error}") from None
    if config["ENGINE"] == "django.db.backends.sqlite3":
        if "?" in url:
            raise ImproperlyConfigured("DATABASE_URL is not usable: SQLite takes no options; in a path write ? as %3F.")
        return config | sqlite_options(Path(config["NAME"]), data)
    if config["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(
            "DATABASE_URL must start with sqlite:// or postgres://; other databases are not supported."
        )
    config["OPTIONS"] = PATIENCE | config.get("OPTIONS", {})
    if config["OPTIONS"].get("pool"):
        config["CONN_MAX_AGE"] = 0  # the pool keeps them, and Django refuses to do so beside it
    return config | {"DISABLE_SERVER_SIDE_CURSORS": flag("DATABASE_POOLER")}


def redis_url(default: str) -> str:
    """REDIS_URL, or ``default``. Raises ImproperlyConfigured, without repeating any of it, for a bad one."""
    url = os.environ.get("REDIS_URL") or default
    try:
        redis_urls.place(url)
    except ValueError as error:
        raise ImproperlyConfigured(f"REDIS_URL is not usable: {error}.") from None
    return url


def sqlite_options(path: Path, data: Path) -> dict[str, Any]:
    """How SQLite is opened, so that several processes may write to the file and a power cut loses no commit."""
    if path.parent == data:
        ensure_data_folder(data)
    return {
        "OPTIONS": {
            # IMMEDIATE: a transaction that read first would otherwise fail, not wait, when another one wrote meanwhile.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds that a writer waits for another
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;",
        },
        # A file, because tests start real worker processes, which an in-memory database would hide from.
        "TEST": {"NAME": str(path.with_name(f"test_{path.name}"))},
    }


def log_format() -> str:
    """How log lines are written: as JOBSITE_LOG says, for people (line) or for programs (json)."""
    word = os.environ.get("JOBSITE_LOG") or "line"
    if word not in ("line", "json"):
        raise ImproperlyConfigured(f"JOBSITE_LOG must be line or json, not {word!r}.")
    return word
