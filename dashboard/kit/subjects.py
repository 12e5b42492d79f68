"""What a type's own functions say of a job: its title, and links to what it is about.

They are the site's code, and run while a page is made: without a database, in so much time for all rows of a page, and
with MASK in the place of what this person may not see. What goes wrong in one is told once in the log, and is in the
way of nothing: the job is shown under its type's name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.db import connections
from django.http import HttpRequest

from dashboard.kit import catalogue
from dashboard.kit.sensitive import may_see
from dashboard.kit.text import one_line
from handlers.exceptions import JobsError
from handlers.job_types import JobType
from handlers.masking import mask_object, scrub
from handlers.models import JobRecord

logger = logging.getLogger(__name__)

LONGEST_TITLE, LONGEST_WORDS, LONGEST_URL, MOST_LINKS = 120, 80, 2_000, 10
PAGE_SECONDS = 0.1  # for all titles of a page

_told: set[tuple[str, str, str]] = set()  # of which type's which function what was told


class UsesDatabase(Exception):
    """A function of a page asked a database, which it may not: it is called for each row."""


class _Failed(Exception):
    """The site's function did."""


class Link(NamedTuple):
    """A place that a job is about; without ``url`` one whose address is none to follow."""

    words: str
    url: str = ""


class Titles:
    """The titles of one page's jobs."""

    def __init__(self, request: HttpRequest) -> None:
        self._sees_sensitive = may_see(request)
        self._left = PAGE_SECONDS

    def of(self, record: JobRecord, data: Any) -> str:
        """The title of a job with these arguments; empty where its type has none, or none can be made."""
        job_type = catalogue.find(record.job_type)
        if job_type is None or job_type.title is None or data is None:
            return ""
        if self._left <= 0:
            _tell(job_type, "title", "took too long for a page of jobs")
            return ""
        began = time.monotonic()
        try:
            made = _made(job_type, "title", data, sees_sensitive=self._sees_sensitive)
        except _Failed:
            made = None
        self._left -= time.monotonic() - began
        if made is not None and not isinstance(made, str):
            _tell(job_type, "title", f"gave a {type(made).__name__}, and must give a text")
            made = None
        return one_line(_hidden(made or "", job_type, data, sees_sensitive=self._sees_sensitive), LONGEST_TITLE)


def links_of(request: HttpRequest, record: JobRecord, data: Any) -> list[Link] | None:
    """Where what the job is about is to be found; None where its type's function failed."""
    job_type = catalogue.find(record.job_type)
    if job_type is None or job_type.links is None or data is None:
        return []
    sees = may_see(request)
    try:
        made = _made(job_type, "links", data, sees_sensitive=sees)
        pairs = list(made.items() if isinstance(made, Mapping) else made or ())[:MOST_LINKS]
        found = [(str(words), str(url)) for words, url in pairs]
    except _Failed:
        return None
    except Exception as error:  # noqa: BLE001 - what the site's code gave may be anything
        _tell(job_type, "links", f"gave no addresses by their words: {type(error).__name__}")
        return None
    hidden = [[_hidden(text, job_type, data, sees_sensitive=sees) for text in pair] for pair in found]
    return [_link(words, url) for words, url in hidden]


def may_follow(url: str) -> bool:
    """Whether ``url`` is an address of the web, or of this site: nothing that a browser would run."""
    if len(url) > LONGEST_URL or not url.isprintable() or {" ", "\\"} & set(url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme:
        return parts.scheme in ("http", "https") and bool(parts.netloc)
    return url.startswith("/") and not url.startswith("//")


def _link(words: str, url: str) -> Link:
    if may_follow(url):
        return Link(one_line(words, LONGEST_WORDS) or one_line(url, LONGEST_WORDS), url)
    return Link(one_line(f"{words}: {url}", LONGEST_WORDS * 2))


def _made(job_type: JobType, role: str, data: Any, *, sees_sensitive: bool) -> Any:
    """What the type's function gives for a job with these arguments. Raises _Failed, which is told."""
    try:
        job = job_type.decode(data)
    except JobsError:
        return None  # they are of a former release, or not all here yet
    try:
        if not sees_sensitive:
            job = mask_object(job_type, job)
        with _without_database():
            return getattr(job_type, role)(job)
    except Exception as error:  # noqa: BLE001 - the site's code, and a page for people
        # Without its message: that may hold an argument.
        _tell(job_type, role, f"raised {type(error).__name__}{_where(error)}")
        raise _Failed from None


def _hidden(text: str, job_type: JobType, data: Any, *, sees_sensitive: bool) -> str:
    return text if sees_sensitive else scrub(text, job_type, data)


@contextmanager
def _without_database() -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise UsesDatabase("title and links are called for each row of a page: say it with the job's arguments")

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(refuse))
        yield


def _tell(job_type: JobType, role: str, what: str) -> None:
    """Once in this process."""
    if (job_type.name, role, what) not in _told:
        _told.add((job_type.name, role, what))
        logger.warning("The %s= of job type %s %s", role, job_type.name, what)


def _where(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "" if frame is None else f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
