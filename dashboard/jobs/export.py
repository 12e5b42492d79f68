"""The job list as a file: streamed newest first in short reads, however many jobs match."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.kit import turns
from dashboard.kit.languages import in_language
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.search import list_query, selection_of
from dashboard.kit.sensitive import shown
from handlers.audit import acting_from, acts_from, audit
from handlers.models import JobPayload, JobRecord
from handlers.selection import InvalidSelection, Selection, hidden

CHUNK = 500  # jobs read at once
ARGUMENTS = 50  # arguments read at once: each may be a megabyte
CHUNK_SECONDS = 30.0  # for one chunk
# In which the first line is out. A reader who leaves before that takes the answer along, place and all, under ASGI:
# Django drops it there without closing it.
BEGIN = timedelta(seconds=CHUNK_SECONDS + 10)
PORTION = 32_768  # bytes that an ASGI server gets at once: a thread makes them, and to change threads is not free
COLUMNS = (
    "id", "state", "type", "queue", "attempt", "failures", "crashes", "created_at", "created_by", "run_at",
    "enqueued_at", "started_at", "finished_at", "worker", "error", "fingerprint", "parent", "correlation", "arguments",
)  # fmt: skip
# A spreadsheet would run what begins so; tab and return count, because it drops them first. Many split at semicolons or
# tabs, whatever the quotation marks say, so a cell may begin there too.
FORMULA = re.compile(r"\A[\t\r\n]|(?:\A|(?<=[;\t\r\n]))(?=[=+\-@])")
NUMBERS = {"id", "attempt", "failures", "crashes", "parent"}

Row = dict[str, Any]


def export(site: AdminSite, request: HttpRequest) -> HttpResponseBase:
    """All jobs that the list's address asks for, as CSV or as JSON lines: of a cut file, what is there can be read."""
    name = request.GET.get("format", "csv")
    try:
        if name not in FORMATS:
            raise InvalidSelection(
                "format",
                _("there is no format %(name)s; there are %(formats)s")
                % {"name": repr(name[:30]), "formats": ", ".join(FORMATS)},
            )
        selection = selection_of(request)
        place = turns.take(request, "export", within=BEGIN)
    except InvalidSelection as error:
        return _refused(site, request, error)
    except turns.NoTurn as error:
        back = f"{reverse('admin:jobsite_jobs_jobrecord_changelist', current_app=site.name)}?{list_query(request.GET)}"
        return turns.refused(site, request, error, back)
    try:
        return _streamed(request, name, selection, place)
    except BaseException as error:
        place.give_back()
        if isinstance(error, TookTooLong):
            return _refused(site, request, error)
        raise


def _streamed(request: HttpRequest, name: str, selection: Selection, place: turns.Place) -> StreamingHttpResponse:
    """The file; when it has gone out, or its reader has left, ``place`` is given back."""
    with time_limit(CHUNK_SECONDS):
        selection = selection.pinned()  # each chunk looks at the same newest jobs
        first = selection.page(CHUNK)
    write, content_type, suffix = FORMATS[name]
    told = {"format": name, "search": str(hidden(selection))[:2000]}
    audit(request.user, "export", "jobs", 0, data=told)  # type: ignore[arg-type]  # nobody anonymous comes here
    ending = _Ending(request, told, place, acting_from.get())
    response = _File(write(_counted(rows(request, selection, first), ending)), content_type=content_type)
    response.ending = ending
    stamp = f"{timezone.now():%Y-%m-%d-%H%M}"
    response.headers["Content-Disposition"] = f'attachment; filename="jobs-{stamp}.{suffix}"'
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # a proxy in front shall not collect it
    return response


@dataclass
class _Ending:
    """How an export ends: its place is free again, and a line in the audit says how many jobs went out.

    Told by whoever makes or closes the file, and by no ``finally`` of a generator: of one that is dropped Python would
    run that wherever it collects garbage, in the middle of a statement on the same connection too.
    """

    request: HttpRequest
    told: dict[str, Any]
    place: turns.Place
    source: str
    count: int = 0
    is_whole: bool = False
    is_told: bool = False

    def tell(self) -> None:
        """Once, however often it is called."""
        if self.is_told:
            return
        self.is_told = True
        self.place.give_back()
        with acts_from(self.source):  # the request is over by now
            user: Any = self.request.user  # nobody anonymous comes here
            audit(user, "exported", "jobs", self.count, data={**self.told, "whole": self.is_whole})


class _File(StreamingHttpResponse):
    """A file that is sent as it is made."""

    ending: _Ending

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_left, self._making = False, threading.Lock()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The same for an ASGI server: portion by portion. Django would make all of it before the first byte."""
        parts = cast("Iterator[bytes]", self.streaming_content)
        while portion := await sync_to_async(self.portion)(parts):
            yield portion

    def portion(self, parts: Iterator[bytes]) -> bytes:
        """What comes next of ``parts``; nothing when they have ended, or nobody wants them any more."""
        taken = bytearray()
        with self._making:
            for part in parts:
                taken += part
                if self._is_left or len(taken) >= PORTION:
                    break
        if self._is_left:
            self._tell()
            return b""
        return bytes(taken)

    def close(self) -> None:
        """The server has sent it, or its reader left, maybe before the first line: the place is free again."""
        self.ending.place.give_back()  # first: what follows ends the request, and its connections
        self._is_left = True
        self._tell()
        super().close()

    def _tell(self) -> None:
        # Not while another thread makes a portion, which does this itself, then: it may have more jobs to count.
        if self._making.acquire(blocking=False):
            try:
                self.ending.tell()
            finally:
                self._making.release()


def rows(request: HttpRequest, selection: Selection, first: list[JobRecord]) -> Iterator[Row]:
    """Each job of ``selection`` as its columns; ``first``: the first chunk."""
    chunk = first
    while chunk:
        for start in range(0, len(chunk), ARGUMENTS):
            part = chunk[start : start + ARGUMENTS]
            found = JobPayload.objects.in_bulk([record.pk for record in part])
            for record in part:
                yield _row(request, record, found.get(record.pk))
        last = chunk[-1].pk
        with time_limit(CHUNK_SECONDS):
            chunk = selection.page(CHUNK, before=last) if len(chunk) == CHUNK else []


def _row(request: HttpRequest, record: JobRecord, payload: JobPayload | None) -> Row:
    times = {
        name: at.isoformat() if (at := getattr(record, name)) else None
        for name in ("created_at", "run_at", "enqueued_at", "started_at", "finished_at")
    }
    return {
        "id": record.pk,
        "state": record.state,
        "type": record.job_type,
        "queue": record.queue,
        "attempt": record.attempt,
        "failures": record.failures,
        "crashes": record.crashes,
        "created_by": record.created_by,
        "worker": record.worker,
        "error": record.error,
        "fingerprint": record.fingerprint,
        "parent": payload.parent_id if payload else None,
        "correlation": payload.correlation if payload else "",
        "arguments": shown(request, record, payload.data) if payload else None,
        **times,
    }


def _counted(exported: Iterable[Row], ending: _Ending) -> Iterator[Row]:
    """``exported``, counted; its end, also by an error, is told."""
    try:
        for row in exported:
            yield row
            ending.count += 1
            if not ending.place.keep():  # its reader was so slow that another one has it
                break
        else:
            ending.is_whole = True
    except Exception:
        ending.tell()
        raise
    ending.tell()


def as_csv(exported: Iterable[Row]) -> Iterator[str]:
    """Lines of CSV, its text in quotation marks and made safe for spreadsheets; arguments as JSON in one cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for row in exported:
        writer.writerow([_cell(name, row[name]) for name in COLUMNS])
        yield _taken(buffer)
    yield _taken(buffer)


def as_json(exported: Iterable[Row]) -> Iterator[str]:
    """JSON lines: one object for each job."""
    for row in exported:
        yield json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False) + "\n"


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _cell(name: str, value: Any) -> Any:
    if name in NUMBERS or value is None:
        return value
    text = json.dumps(value, ensure_ascii=False) if name == "arguments" else str(value)
    return FORMULA.sub(lambda found: f"'{found[0]}", text)


FORMATS: dict[str, tuple[Callable[[Iterable[Row]], Iterator[str]], str, str]] = {
    "csv": (as_csv, "text/csv; charset=utf-8", "csv"),
    "json": (as_json, "application/x-ndjson; charset=utf-8", "jsonl"),
}


def _refused(site: AdminSite, request: HttpRequest, error: Exception) -> TemplateResponse:
    is_slow = isinstance(error, TookTooLong)
    context = {
        **site.each_context(request),
        "title": _("Nothing was exported"),
        "list_query": list_query(request.GET),
        "reason": _("Reading the jobs took too long: narrow the filter.") if is_slow else in_language(error),
    }
    return TemplateResponse(request, "dashboard/jobs/export.html", context, status=503 if is_slow else 400)
