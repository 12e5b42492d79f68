"""Jobs of which there may be one at a time come into being, or do not: by who holds their keys.

A key is a row, locked until the caller's transaction ends; so of two that want it one waits for the other, and finds
what that has made. Whether a key is held its job's state says: nothing is done when a job starts or ends.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import connections

from handlers import lifecycle
from handlers.exceptions import DuplicateJob
from handlers.lifecycle import Beside, HolderId, JobId, NewJob
from handlers.models import JobRecord, UniqueKey
from handlers.models.sql import as_rows, chunks, database_now, fetch, from_time, is_postgresql, rows_cte
from handlers.states import ACTIVE, UNSTARTED, State
from handlers.transport import Message
from handlers.unique import DEBOUNCE, ENDED, ERROR, EXISTING, REPLACE, Hold
from handlers.writing import writing

CHUNK = 1_000
KEYS = UniqueKey._meta.db_table
REPLACED = "replaced by another job with the same key"
COLUMNS = {"key": "uuid", "job_id": "id", "until": "text", "held_until": "time"}


@dataclass(slots=True)
class Made:
    """What was asked for and what came of it."""

    ids: list[JobId] = field(default_factory=list)  # in the order of what was asked for
    messages: list[Message] = field(default_factory=list)
    stale: list[Message] = field(default_factory=list)


class _Key(NamedTuple):
    key: str
    job_id: int
    until: str
    held_until: datetime | None


class _Holder(NamedTuple):
    job_id: int
    token: str
    state: State
    attempt: int
    expires_at: datetime | None

    @property
    def waits(self) -> bool:
        """Whether it was not started yet."""
        return self.state in UNSTARTED and not self.attempt


class _Raced(Exception):
    """Somebody has got a key between our look and our writing: look again."""


def create(
    new: Sequence[NewJob],
    holds: Sequence[Hold | None] | None,
    *,
    actor: str,
    using: str,
    beside: Beside | None = None,
) -> Made:
    """Insert the jobs that hold no key, and those whose keys (``holds``, one each, None: none) are free.

    In the caller's transaction, where there are keys. Raises DuplicateJob, where a rule says so. ``beside``: as
    ``lifecycle.create`` takes it, where there are none.
    """
    if holds is None:
        messages = lifecycle.create(new, actor=actor, using=using, beside=beside)
        return Made([JobId.of(message) for message in messages], messages)
    last: dict[str, int] = {}  # of several with one key the last one counts, or the first
    for index, hold in enumerate(holds):
        if hold is None:
            continue
        if hold.key in last and hold.rule.on_conflict == ERROR:
            words = f"unique: the jobs {last[hold.key]} and {index} of this call have one key"
            raise DuplicateJob(words, job_id=None, place=index)
        if hold.key not in last or hold.rule.on_conflict != EXISTING:
            last[hold.key] = index
    while True:
        with suppress(_Raced), writing(using):
            return _create(new, holds, last, actor, using)


def held_by(job_id: int) -> UniqueKey | None:
    """The key that a job holds now."""
    alias = lifecycle.database()
    row = UniqueKey.objects.using(alias).filter(job_id=job_id).first()
    if row is None:
        return None
    key = _Key(row.key.hex, job_id, row.until, row.held_until)
    is_held = _is_held(key, _holders([key], alias).get(job_id), database_now(connections[alias]))
    return row if is_held else None


def _create(
    new: Sequence[NewJob], holds: Sequence[Hold | None], last: Mapping[str, int], actor: str, using: str
) -> Made:
    made = Made()
    asked = {**last, **{key: index for index in last.values() for key in _of(holds, index).former}}
    rows = [row for keys in chunks(sorted(asked), CHUNK) for row in _locked(keys, using)]
    held = _held(rows, asked, new, holds, actor, using, made)
    wanted = [
        index for index, hold in enumerate(holds) if hold is None or (last[hold.key] == index and hold.key not in held)
    ]
    messages = lifecycle.create([new[index] for index in wanted], actor=actor, using=using)
    made.messages += messages
    ids = {index: JobId.of(message) for index, message in zip(wanted, messages, strict=True)}
    _keep(
        [(_of(holds, index), job_id) for index, job_id in ids.items() if holds[index]], {row.key for row in rows}, using
    )
    for index, hold in enumerate(holds):
        if hold is not None and hold.key in held:
            made.ids.append(HolderId(held[hold.key]))
        else:
            made.ids.append(ids[index] if hold is None else ids[last[hold.key]])
    return made


def _of(holds: Sequence[Hold | None], index: int) -> Hold:
    hold = holds[index]
    assert hold is not None
    return hold


def _locked(keys: Sequence[str], using: str) -> list[_Key]:
    """The rows of these keys, ours until the transaction ends."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    cte = rows_cte("v", {"key": "uuid"}, postgresql=postgresql)
    rows = fetch(
        connection,
        f"""
        WITH {cte} SELECT {KEYS}.key, job_id, until, held_until FROM {KEYS} JOIN v ON {KEYS}.key = v.key
        ORDER BY {KEYS}.key {f"FOR UPDATE OF {KEYS}" if postgresql else ""}
        """,
        [as_rows(connection, [(key,) for key in keys])],
    )
    return [_Key(str(key).replace("-", ""), job, until, from_time(held)) for key, job, until, held in rows]


def _held(
    rows: Sequence[_Key],
    asked: Mapping[str, int],
    new: Sequence[NewJob],
    holds: Sequence[Hold | None],
    actor: str,
    using: str,
    made: Made,
) -> dict[str, int]:
    """Which of the keys (the present ones) stay with jobs that are there, once it is done as the rules say.

    ``asked``: which of ``new`` wants the key, by its present and former names.
    """
    if not rows:
        return {}
    holders, now = _holders(rows, using), database_now(connections[using])
    stay: dict[str, int] = {}
    replaced: dict[_Holder, str] = {}
    postponed: list[tuple[_Holder, NewJob]] = []
    for row in rows:
        place, holder = asked[row.key], holders.get(row.job_id)
        job, hold = new[place], _of(holds, place)
        if not _is_held(row, holder, now):
            continue
        if hold.rule.on_conflict == ERROR:
            which = f"jobs.{place}: " if len(new) > 1 else ""
            words = f"{which}unique: job {row.job_id} holds the key already"
            raise DuplicateJob(words, job_id=row.job_id, place=place)
        stay[hold.key] = row.job_id
        if holder is None or not holder.waits:
            continue
        if hold.rule.on_conflict == REPLACE:
            replaced[holder] = hold.key
        elif hold.rule.on_conflict == DEBOUNCE and holder.state == State.SCHEDULED:
            postponed.append((holder, job))
    for key in _replace(replaced, actor, made):
        stay.pop(key, None)
    _postpone(postponed, actor, made)
    return stay


def _replace(holders: Mapping[_Holder, str], actor: str, made: Made) -> list[str]:
    """Delete them; the keys of those that no worker was first to take."""
    applied = lifecycle.delete_unstarted([holder[:3] for holder in holders], REPLACED, actor=actor)
    made.stale += applied.stale
    return [key for holder, key in holders.items() if holder.job_id in applied.moved]


def _postpone(found: Sequence[tuple[_Holder, NewJob]], actor: str, made: Made) -> None:
    for holder, job in sorted(found, key=lambda each: each[0].job_id):  # in the order in which everybody locks jobs
        applied = lifecycle.postpone(holder.job_id, holder.token, job, actor=actor)
        made.messages += applied.messages
        made.stale += applied.stale


def _holders(rows: Sequence[_Key], using: str) -> dict[int, _Holder]:
    found: dict[int, _Holder] = {}
    for some in chunks(rows, CHUNK):
        jobs = JobRecord.objects.using(using).filter(pk__in=[row.job_id for row in some])
        columns = jobs.values_list("pk", "token", "state", "attempt", "arguments__expires_at")
        for pk, token, state, attempt, expires_at in columns:
            found[pk] = _Holder(pk, token, State(state), attempt, expires_at)
    return found


def _is_held(row: _Key, holder: _Holder | None, now: datetime) -> bool:
    if row.held_until is not None and row.held_until > now:
        return True  # even when the job was erased
    if holder is None or (holder.waits and holder.expires_at is not None and holder.expires_at <= now):
        return False  # it will never be started
    return holder.state in ACTIVE if row.until == ENDED else holder.waits


def _keep(held: Sequence[tuple[Hold, int]], known: Container[str], using: str) -> None:
    """Write down which jobs hold their keys, of which some are ``known`` to have a row, which we have locked."""
    connection = connections[using]
    now = database_now(connection)
    cte = rows_cte("v", COLUMNS, postgresql=is_postgresql(connection))
    # In the order of their keys: of two who insert the same ones, one waits for the other, and not each for each.
    rows = sorted((hold.key, job, hold.rule.until, hold.rule.period and now + hold.rule.period) for hold, job in held)
    for some in chunks([row for row in rows if row[0] not in known], CHUNK):
        insert = f"INSERT INTO {KEYS} ({', '.join(COLUMNS)}) SELECT {', '.join(COLUMNS)} FROM v WHERE TRUE"
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH {cte} {insert} ON CONFLICT (key) DO NOTHING RETURNING key", [as_rows(connection, some)]
            )
            if len(cursor.fetchall()) < len(some):
                raise _Raced
    for some in chunks([row for row in rows if row[0] in known], CHUNK):
        update = f"UPDATE {KEYS} SET job_id = v.job_id, until = v.until, held_until = v.held_until FROM v"
        with connection.cursor() as cursor:
            cursor.execute(f"WITH {cte} {update} WHERE {KEYS}.key = v.key", [as_rows(connection, some)])
