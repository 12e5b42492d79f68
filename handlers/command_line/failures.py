"""``jobs failures ...``: failure groups."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from django.utils import timezone

from handlers.command_line import times
from handlers.command_line.answers import Exit
from handlers.command_line.parsing import Parser, Subparsers, command, whole
from handlers.command_line.people import who
from handlers.command_line.screen import Screen, age
from handlers.gateway import job_scheduler
from handlers.lifecycle import database
from handlers.models import OPEN_STATES, FailureGroup, GroupState

LISTED = 50
DONE = {"resolve": "resolved", "ignore": "ignored", "reopen": "opened"}
FACTS = (
    "exception", "frame", "message", "first_at", "last_at", "count", "last_job_id", "first_version", "last_version",
    "state", "state_at", "state_by", "fixed_in", "ignored_until", "ignored_to", "regressed_at",
)  # fmt: skip


def add(subparsers: Subparsers) -> None:
    """The commands of this module."""
    summary = "Failure groups: list, show, resolve, ignore, reopen."
    parser = subparsers.add_parser("failures", help=summary, description=summary)
    own: Subparsers = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    listed = command(own, "list", run_list, "List those that are open, the latest first.")
    listed.add_argument("--state", choices=[*GroupState.values, "all"], help="those of another state")
    listed.add_argument("--limit", type=whole(1), default=LISTED, metavar="N", help=f"default: {LISTED}")
    shown = command(own, "show", run_show, "Tell all of one.")
    resolved = command(own, "resolve", partial(run_verb, "resolve"), "Put one away as mended.", acts=True)
    resolved.add_argument("--in", dest="version", default="", metavar="VERSION", help="in a version, or in the next")
    ignored = command(own, "ignore", partial(run_verb, "ignore"), "Put one away.", acts=True)
    ignored.add_argument("--until", type=times.ahead, metavar="TIME", help="when it opens by itself: 2h, or a time")
    ignored.add_argument("--times", type=whole(1), metavar="N", help="until it has happened so many more times")
    reopened = command(own, "reopen", partial(run_verb, "reopen"), "Open one again.", acts=True)
    for one in (shown, resolved, ignored, reopened):
        one.add_argument("group", metavar="ID", help="as the list has it")


def run_list(options: argparse.Namespace, screen: Screen) -> int:
    """Some of them."""
    groups = FailureGroup.objects.using(database()).order_by("-last_at", "-fingerprint")
    if options.state != "all":
        groups = groups.filter(state__in=[options.state] if options.state else OPEN_STATES)
    found, now = list(groups[: options.limit]), timezone.now()
    if screen.as_json:
        for group in found:
            screen.row(_facts(group))
    elif not found:
        screen.say("no such failure group")
    else:
        lines = [
            (group.pk, group.state, f"{group.count:,}", age(group.last_at, now), group.exception, group.message)
            for group in found
        ]
        screen.table(("ID", "STATE", "ATTEMPTS", "LAST", "EXCEPTION", "MESSAGE"), lines)
    return Exit.DONE


def run_show(options: argparse.Namespace, screen: Screen) -> int:
    """One of them."""
    name = str(options.group).replace("\0", "")
    group = FailureGroup.objects.using(database()).filter(pk=name).first()
    if group is None:
        screen.warn(f"there is no failure group {name[:40]}")
        return Exit.NOT_ALL
    facts = _facts(group)
    if screen.as_json:
        screen.row(facts)
    else:
        for told, value in facts.items():
            if value not in ("", None):
                screen.say(f"{told}: {value}")
    return Exit.DONE


def run_verb(verb: str, options: argparse.Namespace, screen: Screen) -> int:
    """Resolve, ignore or reopen one."""
    names = {"resolve": ("version",), "ignore": ("until", "times"), "reopen": ()}[verb]
    given = {name: getattr(options, name) for name in names}
    act = getattr(job_scheduler, f"{verb}_group")
    done = bool(act(options.group, by=who(options.by), reason=options.reason, **given))
    if screen.as_json:
        screen.row({"id": options.group, "did": verb, "done": done})
    screen.say(f"{DONE[verb]} {options.group}" if done else f"{options.group} was {DONE[verb]} already")
    return Exit.DONE if done else Exit.NOT_ALL


def _facts(group: FailureGroup) -> dict[str, Any]:
    return {"id": group.pk, "type": group.job_type, **{name: getattr(group, name) for name in FACTS}}
