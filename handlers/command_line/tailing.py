"""``jobs tail``: what happens, as it happens."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from handlers.command_line import choosing
from handlers.command_line.answers import Exit
from handlers.command_line.parsing import Subparsers, command, whole
from handlers.command_line.screen import Screen, moment
from handlers.lifecycle import database
from handlers.models import JobHistory, JobRecord
from handlers.selection import Selection

MOST = 500  # of each kind, at a look
OVERLAP_SECONDS = 5.0  # whoever is that slow to commit is still seen
DAY_SECONDS = 86_400
HEADS = ("TIME", "ID", "TYPE", "QUEUE", "WHAT", "WHY")


def add(subparsers: Subparsers) -> None:
    """The command of this module."""
    parser = command(subparsers, "tail", run_tail, "Follow new jobs and what becomes of them, until Ctrl-C.")
    parser.add_argument("search", nargs="*", help=choosing.HELP)
    parser.add_argument("--every", type=_seconds, default=1.0, metavar="SECONDS", help="between two looks (default: 1)")
    parser.add_argument("--limit", type=whole(1), metavar="N", help="end after so many lines")
    parser.add_argument("--for", type=_seconds, dest="seconds", metavar="SECONDS", help="end after this time")


def _seconds(text: str) -> float:
    """From none to a day."""
    try:
        if 0 <= (seconds := float(text)) <= DAY_SECONDS:
            return seconds
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be seconds, 0 to {DAY_SECONDS:,}, not {text[:40]!r}")


def run_tail(options: argparse.Namespace, screen: Screen) -> int:
    """Follow."""
    selection = choosing.selection_of(options.search, empty=True)
    until = None if options.seconds is None else time.monotonic() + options.seconds
    news, told = _News(selection), 0
    widths = (19, 8, 28, 12, 24)
    if not screen.as_json:
        screen.say("  ".join(head.ljust(width) for head, width in zip(HEADS, (*widths, 0), strict=True)).rstrip())
    while True:
        for found in news.look(screen):
            if screen.as_json:
                screen.row(found)
            else:
                what = f"{found['from_state'] or 'new'} > {found['to_state']}"
                cells = (moment(found["at"]), str(found["id"]), found["type"], found["queue"], what)
                line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
                screen.say(f"{line}  {found['reason']}".rstrip())
            told += 1
            if options.limit and told >= options.limit:
                return Exit.DONE
        if until is not None and time.monotonic() >= until:
            return Exit.DONE
        pause = max(options.every, 0.05)
        time.sleep(pause if until is None else min(pause, max(until - time.monotonic(), 0.0)))


class _Follower:
    """The rows of one table that come to be. Ids are given before the commit: a look goes back a few seconds."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        newest = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
        self._seen: dict[int, None] = {}
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), newest)])
        self._first = newest

    def look(self) -> tuple[list[Any], bool]:
        """The new rows, and whether there may be more than these."""
        now = time.monotonic()
        while len(self._marks) > 1 and self._marks[1][0] <= now - OVERLAP_SECONDS:
            self._marks.popleft()
        after = max(self._marks[0][1], self._first)
        found = list(self._rows.filter(pk__gt=after).order_by("-pk")[: MOST + len(self._seen)])[::-1]
        new = [row for row in found if row.pk not in self._seen]
        if found:
            self._marks.append((now, found[-1].pk))
        self._seen = dict.fromkeys(row.pk for row in found)
        return new[-MOST:], len(new) >= MOST


class _News:
    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        using = database()
        # Made first: of a job that comes in between both tell.
        self._moves = _Follower(JobHistory.objects.using(using).all())
        self._jobs = _Follower(JobRecord.objects.using(using).all())

    def look(self, screen: Screen) -> Iterator[dict[str, Any]]:
        """What has happened since the last look, in order."""
        jobs, many_jobs = self._jobs.look()
        moves, many_moves = self._moves.look()
        if many_jobs or many_moves:
            screen.warn("more happens than is shown: narrow the search, or look less seldom with --every")
        ids = {job.pk for job in jobs} | {move.job_id for move in moves}
        if not ids:
            return
        fitting = {job.pk: job for job in self._selection.rows(database()).filter(pk__in=ids)}
        told = [_created(job) for job in jobs if job.pk in fitting]
        told += [_moved(move, fitting[move.job_id]) for move in moves if move.job_id in fitting]
        yield from sorted(told, key=lambda each: (each["at"], each["id"]))


def _created(job: JobRecord) -> dict[str, Any]:
    target = "scheduled" if job.run_at and not job.attempt else "awaiting" if job.state == "awaiting" else "enqueued"
    return _line(job, at=job.created_at, from_state="", to_state=target, reason=job.created_by)


def _moved(move: JobHistory, job: JobRecord) -> dict[str, Any]:
    return _line(job, at=move.at, from_state=move.from_state, to_state=move.to_state, reason=move.reason)


def _line(job: JobRecord, **facts: Any) -> dict[str, Any]:
    return {"id": job.pk, "type": job.job_type, "queue": job.queue, **facts}
