"""``jobs retry``, ``requeue``, ``delete``, ``restore`` and ``move``: by ids, or by a search."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.utils import timezone

from handlers import bulk, queues, told
from handlers.audit import By, actor_name
from handlers.command_line import choosing, showing
from handlers.command_line.answers import Exit, usage
from handlers.command_line.listing import records
from handlers.command_line.parsing import Subparsers, command, whole
from handlers.command_line.people import who
from handlers.command_line.screen import Screen
from handlers.gateway import job_scheduler
from handlers.job_ids import job_ids
from handlers.lifecycle import database
from handlers.models import JobHistory, JobRecord
from handlers.models.sql import chunks
from handlers.selection import Selection
from handlers.states import State
from handlers.writing import writing

CHUNK = 200  # jobs in one transaction
MOST = 1_000  # of a search: more are a bulk operation's

VERBS: dict[str, tuple[str, str]] = {
    "retry": ("Run failed and scheduled jobs now, in a new round of retries.", "retried"),
    "requeue": ("Run succeeded jobs again.", "requeued"),
    "delete": ("Delete jobs: they run no more; running ones are asked to stop.", "deleted"),
    "restore": ("Bring deleted jobs back to where they were.", "restored"),
    "move": ("Put jobs that wait, or that failed, on another queue.", "moved"),
}


def add(subparsers: Subparsers) -> None:
    """The commands of this module."""
    for name, (summary, _) in VERBS.items():
        parser = command(subparsers, name, partial(act, name), summary, acts=True, dry=True)
        parser.add_argument("jobs", nargs="+", metavar="JOB", help=choosing.HELP)
        parser.add_argument(
            "--most",
            type=whole(1, 1_000_000),
            default=MOST,
            metavar="N",
            help=f"of a search: refuse to do more (default: {MOST:,})",
        )
        if name == "move":
            parser.add_argument("--to", required=True, metavar="QUEUE", help="where they go")


def act(verb: str, options: argparse.Namespace, screen: Screen) -> int:
    """Do ``verb`` to the jobs that are meant."""
    by, past = who(options.by), VERBS[verb][1]
    ids, asked = _ids(verb, options)
    if options.dry_run:
        return _dry_run(verb, ids, asked, options, screen)
    do = _verb(verb, options, by)
    moved: list[int] = []
    try:
        for some in chunks(ids, CHUNK):
            screen.progress(len(moved), len(ids))
            done = _act(do, some, by)
            moved += done
            if screen.as_json:
                for job_id in some:
                    screen.row({"id": job_id, "did": verb, "done": job_id in done})
    except BaseException:
        screen.end_progress()
        if moved:
            screen.warn(f"{past} {len(moved):,} of {_jobs(asked)}, then it was broken off")
        raise
    screen.end_progress()
    screen.say(f"{past} {_jobs(len(moved))}" if len(moved) == asked else f"{past} {len(moved):,} of {_jobs(asked)}")
    stayed = sorted(set(ids) - set(moved))
    if stayed and len(ids) <= CHUNK:
        _explain(stayed, past, screen)
    return Exit.DONE if moved and len(moved) == asked else Exit.NOT_ALL


def _verb(verb: str, options: argparse.Namespace, by: By) -> Callable[[Sequence[int]], int]:
    method: Callable[..., int] = getattr(job_scheduler, f"{verb}_many")
    if verb == "move":
        return partial(method, queue=options.to, by=by, reason=options.reason)
    return partial(method, by=by, reason=options.reason)


def _act(do: Callable[[Sequence[int]], int], ids: Sequence[int], by: By) -> set[int]:
    """Which of ``ids`` moved: those of which the history says so since."""
    rows = JobHistory.objects.using(database()).order_by("-pk")
    with writing(database()):
        last = rows.values_list("pk", flat=True).first() or 0
        if not do(ids):
            return set()
        ours = rows.filter(job_id__in=ids, pk__gt=last, actor=actor_name(by)[:150])
        return set(ours.values_list("job_id", flat=True))


def _ids(verb: str, options: argparse.Namespace) -> tuple[list[int], int]:
    """The jobs that are meant, and how many were asked for: an id that is none counts."""
    if all(word.strip().isdigit() for word in options.jobs):
        known = list(dict.fromkeys(job_ids(options.jobs)))
        return known, len(set(options.jobs))
    fitting = _fitting(verb, choosing.selection_of(options.jobs))
    found = [record.pk for record in records(fitting, options.most + 1)]
    if len(found) > options.most:
        raise usage(
            f"more than {options.most:,} jobs match: allow for more with --most, or let workers do it:"
            f" manage.py jobs bulk start {verb} ..."
        )
    return sorted(found), len(found)


def _fitting(verb: str, selection: Selection) -> Selection:
    """``selection`` without the jobs that ``verb`` does nothing to."""
    if verb in bulk.VERBS:
        return bulk.narrowed(verb, selection)
    if selection.states and State.DELETED not in selection.states:
        raise usage("search: only deleted jobs can be restored")
    return replace(selection, states=(State.DELETED.value,), engine=False)


def _dry_run(verb: str, ids: Sequence[int], asked: int, options: argparse.Namespace, screen: Screen) -> int:
    sources: Iterable[Any] = bulk.VERBS[verb].sources if verb in bulk.VERBS else (State.DELETED,)
    rows = JobRecord.objects.using(database()).filter(pk__in=ids, state__in=[str(state) for state in sources])
    if verb == "move":
        queues.check_target(options.to)
        rows = rows.exclude(queue=options.to)
    found = list(rows.order_by("pk"))
    if screen.as_json:
        for record in found:
            screen.row({**told.facts(record), "would": verb})
    elif found:
        screen.table(showing.HEADS, [showing.line(record, timezone.now()) for record in found])
    of = f" of {asked:,}" if len(found) != asked else ""
    screen.say(f"dry run: {len(found):,}{of} would be {VERBS[verb][1]}")
    return Exit.DONE if found and len(found) == asked else Exit.NOT_ALL


def _explain(ids: Sequence[int], past: str, screen: Screen) -> None:
    states = dict(JobRecord.objects.using(database()).filter(pk__in=ids).values_list("pk", "state"))
    for job_id in ids:
        why = f"it is {states[job_id]}" if job_id in states else "there is no such job"
        screen.warn(f"job {job_id} was not {past}: {why}")


def _jobs(count: int) -> str:
    return f"{count:,} job{'s' * (count != 1)}"
