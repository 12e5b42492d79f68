"""What has gone wrong with hooks of the site's, on record: written by the processes whose hooks they are."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from datetime import timedelta

from django.db import connections
from django.db.models import F, Q
from django.db.models.functions import Now

from handlers.failures import clean
from handlers.lifecycle import database
from handlers.models import HookTrouble
from handlers.models.sql import database_now
from handlers.troubles import Piece, Tally
from handlers.writing import writing

KEEP = timedelta(days=7)  # after the last time
LATELY = timedelta(hours=1)  # what has gone wrong since then, people are told of on each page
MOST = 1_000  # rows that are kept
SHOWN = 100  # hooks that are shown


def write(process: str, taken: Mapping[Piece, Tally]) -> None:
    """Add what went wrong in ``process``, a worker's or a scheduler's name; empty: another one."""
    alias = database()
    now = database_now(connections[alias])
    told_by = process or f"{socket.gethostname()}, PID {os.getpid()}"
    with writing(alias):
        for of in sorted({"", process}):  # in one order, in which nobody waits for somebody who waits for them
            for piece, tally in sorted(taken.items()):
                _add(alias, HookTrouble(
                    process=of, name=piece.name[:200], hook=piece.hook, count=tally.count, first_at=now, last_at=now,
                    told_by=told_by[:150], went=tally.went, detail=clean(tally.detail),
                ))  # fmt: skip


def _add(alias: str, told: HookTrouble) -> None:
    rows = HookTrouble.objects.using(alias)
    row = rows.filter(process=told.process, name=told.name, hook=told.hook)
    last = {"last_at": told.last_at, "told_by": told.told_by, "went": told.went, "detail": told.detail}
    if row.update(count=F("count") + told.count, **last):
        return
    added, told.count = told.count, 0
    rows.bulk_create([told], ignore_conflicts=True)  # somebody else may be as fast: then both add to theirs
    row.update(count=F("count") + added, **last)


def lately(most: int) -> list[HookTrouble]:
    """The hooks that have gone wrong lately, in whichever process: first the last one."""
    rows = HookTrouble.objects.using(database()).filter(process="", last_at__gte=Now() - LATELY)
    return list(rows.order_by("-last_at", "pk")[:most])


def known(processes: Collection[str]) -> tuple[list[HookTrouble], dict[str, list[HookTrouble]]]:
    """What is on record of hooks in whichever process, and of those in ``processes``: first the last one."""
    found: dict[str, list[HookTrouble]] = {}
    rows = HookTrouble.objects.using(database()).filter(Q(process="") | Q(process__in=processes))
    for row in rows.order_by("-last_at", "pk")[:MOST]:
        found.setdefault(row.process, []).append(row)
    return found.pop("", [])[:SHOWN], found


def forget() -> bool:
    """Erase what has not gone wrong for long, and the oldest beyond so many; whether there may be more: never."""
    alias = database()
    rows = HookTrouble.objects.using(alias)
    rows.filter(last_at__lt=database_now(connections[alias]) - KEEP).delete()
    rows.filter(pk__in=[*rows.order_by("-last_at", "-pk").values_list("pk", flat=True)[MOST : 2 * MOST]]).delete()
    return False
