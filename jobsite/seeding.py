"""Made-up jobs by the million, for benchmarks and for trying the console at size.

Rows are written in SQL, set by set: through the engine ten million jobs would take hours. They are as the engine leaves
them: times that agree with the state, history, errors, counts and failure groups that agree with the jobs. The same
``count`` always makes the same jobs, but for their times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import connections, transaction
from django.db.models import Max

from handlers.lifecycle import database
from handlers.models import JobRecord
from handlers.models.sql import database_now, is_postgresql
from jobsite.made_up import NUMBER, VARIANTS

CHUNK = 200_000  # jobs written by one statement
WORKERS = 100
TRACEBACK = (
    "Traceback (most recent call last):\n"
    '  File "/srv/shop/mail/jobs.py", line 42, in handle\n    gateway.send(receipt)\n'
    '  File "/srv/shop/.venv/lib/python3.12/site-packages/httpx/_client.py", line 1144, in post\n'
    '    return self.request("POST", url)\n'
    "httpx.ConnectError: [Errno 111] Connection refused\n"
)


@dataclass(frozen=True)
class Dialect:
    """How this database writes what the statements need."""

    postgresql: bool

    def numbers(self, first: int, last: int) -> str:
        """The CTE ``g(i)`` of the whole numbers from ``first`` to ``last``."""
        if self.postgresql:
            return f"g(i) AS (SELECT generate_series({first}::bigint, {last}::bigint))"
        return f"g(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM g WHERE i < {last})"

    def at(self, epoch: str) -> str:
        """The moment ``epoch`` seconds after 1970."""
        return f"to_timestamp({epoch})" if self.postgresql else f"strftime('%Y-%m-%d %H:%M:%f', {epoch}, 'unixepoch')"

    def hexadecimal(self, number: str) -> str:
        """``number`` as 16 hexadecimal digits."""
        return f"lpad(to_hex({number}), 16, '0')" if self.postgresql else f"printf('%016x', {number})"

    def begin(self, period: str, at: str) -> str:
        """When the minute, hour or day of ``at`` began."""
        if self.postgresql:
            return f"date_trunc('{period}', {at}, 'UTC')"
        shape = {"minute": "%Y-%m-%d %H:%M:00", "hour": "%Y-%m-%d %H:00:00", "day": "%Y-%m-%d 00:00:00"}[period]
        return f"strftime('{shape}', {at})"

    def pick(self, texts: Sequence[str], number: str) -> str:
        """The one of ``texts`` at ``number``. As a CASE over a few of them it would be long, and slow."""
        if self.postgresql:
            return f"(ARRAY[{', '.join(map(quoted, texts))}])[1 + {number}::int]"
        return f"json_extract({quoted(json.dumps(texts))}, '$[' || {number} || ']')"

    @property
    def json(self) -> str:
        """The cast that makes text a JSON value."""
        return "::jsonb" if self.postgresql else ""


def quoted(text: str) -> str:
    """``text`` as a literal in SQL."""
    return "'" + text.replace("'", "''") + "'"


def draw(salt: int, below: int) -> str:
    """A number from 0 to ``below``, not included, that looks random and hangs on ``i`` alone."""
    return f"((i * {48271 + salt * 2} + {salt * 7919}) % 2147483647 % 1000003 % {below})"


def seed(
    count: int,
    *,
    types: list[str],
    queues: list[str],
    groups: int = 40,
    days: float = 7.0,
    templates: Mapping[str, Sequence[str]] | None = None,
    using: str | None = None,
) -> Iterator[str]:
    """Write ``count`` jobs of ``types`` on ``queues``, made over the last ``days``; yields what it is doing.

    ``templates``: of each type's arguments, as ``made_up`` makes them; without them all get the arguments of an order.
    ``groups``: how many failures with one fingerprint there are; those of one type are one.
    A tenth has the tag ``nightly``, a fifth one of 5,000 customers. About 1.5 % are failed, 0.7 % scheduled (half of
    them to be retried), 0.2 % enqueued, 0.3 % deleted, 100 processing.
    """
    alias = using or database()
    connection = connections[alias]
    sql = Dialect(is_postgresql(connection))
    start = (JobRecord.objects.using(alias).aggregate(Max("pk"))["pk__max"] or 0) + 1
    now = database_now(connection)
    span = timedelta(days=days).total_seconds()
    told = _Told(sql, start, count, now.timestamp() - span, span / count, types, queues, groups, templates)
    for first in range(start, start + count, CHUNK):
        last = min(first + CHUNK, start + count) - 1
        with transaction.atomic(using=alias), connection.cursor() as cursor:
            for statement in told.statements(first, last):
                cursor.execute(statement)
        yield f"{last - start + 1:,} of {count:,} jobs"
    yield "counting"
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        for statement in told.counts():
            cursor.execute(statement)
        if sql.postgresql:
            cursor.execute("SELECT setval(pg_get_serial_sequence('jobs_jobrecord', 'id'), max(id)) FROM jobs_jobrecord")
    yield "analysing"
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


class _Told:
    """The statements of one seeding."""

    def __init__(
        self,
        sql: Dialect,
        start: int,
        count: int,
        epoch: float,
        step: float,
        types: list[str],
        queues: list[str],
        groups: int,
        templates: Mapping[str, Sequence[str]] | None,
    ) -> None:
        self.sql, self.start = sql, start
        created = f"({epoch!r} + (i - {start}) * {step!r})"
        newest = f"(i - {start + count - 1})"  # 0 for the newest, else negative
        step = 37 if len(types) % 31 == 0 else 31  # shares no factor with their number: then all have their turns
        self.kind = f"(i * {step} % {len(types)})"
        self.type_name = sql.pick(types, self.kind)
        self.queue_name = sql.pick([queues[n % len(queues)] for n in range(len(types))], self.kind)
        self.arguments = f"""'{{"order_id": ' || i || ', "customer": "c' || {draw(6, 5000)} || '", "express": '
                || CASE WHEN {draw(7, 2)} = 1 THEN 'true' ELSE 'false' END || '}}'"""
        if templates is not None:
            texts = [text for name in types for text in templates[name]]
            template = sql.pick(texts, f"({self.kind} * {VARIANTS} + {draw(8, VARIANTS)})")
            self.arguments = f"replace({template}, '{NUMBER}', CAST(i AS text))"
        self.state = f"""CASE WHEN {newest} > -100 THEN 'processing'
            WHEN {newest} > -{max(count // 500, 200)} THEN 'enqueued'
            WHEN {draw(1, 1000)} < 15 THEN 'failed' WHEN {draw(1, 1000)} < 22 THEN 'scheduled'
            WHEN {draw(1, 1000)} < 25 THEN 'deleted' ELSE 'succeeded' END"""
        self.created, self.took = created, f"(0.002 + {draw(2, 400)} * {draw(2, 400)} * 0.00002)"
        self.wait = f"(0.003 + {draw(3, 100)} * 0.002)"
        self.group = sql.hexadecimal(f"({self.kind} % {groups} + 4096)")
        self.frame = f"'mail/jobs.py:' || ({self.kind} % {groups} + 42) || ' in handle'"
        self.worker = f"'web-' || {draw(4, 10)} || '.' || (4000 + {draw(4, WORKERS)}) || '.0a1b2c'"

    def statements(self, first: int, last: int) -> Iterator[str]:
        """What makes the jobs numbered ``first`` to ``last``, and all that hangs on them."""
        at, cte = self.sql.at, f"WITH RECURSIVE {self.sql.numbers(first, last)}"
        started, ended = f"{self.created} + {self.wait}", f"{self.created} + {self.wait} + {self.took}"
        retrying = f"(s = 'scheduled' AND {draw(5, 2)} = 1)"
        failed, ran = f"(s = 'failed' OR {retrying})", f"(s IN ('processing', 'succeeded', 'failed') OR {retrying})"
        rows = f"{cte}, r AS (SELECT i, {self.state} AS s FROM g)"
        error = "'ConnectError: [Errno 111] Connection refused by mail-' || (i % 7)"
        yield f"""{rows} INSERT INTO jobs_jobrecord (id, state, token, job_type, queue, attempt, failures, crashes,
                alone, created_at, created_by, run_at, enqueued_at, started_at, finished_at, lease_expires_at, worker,
                error, fingerprint)
            SELECT i, s, {self.sql.hexadecimal("i")}, {self.type_name}, {self.queue_name},
                CASE WHEN {failed} THEN 3 WHEN {ran} THEN 1 ELSE 0 END, CASE WHEN {failed} THEN 3 ELSE 0 END, 0, FALSE,
                {at(self.created)}, '', CASE WHEN s = 'scheduled' THEN {at(f"{self.created} + 864000 + i % 86400")} END,
                CASE WHEN s <> 'scheduled' THEN {at(self.created)} END,
                CASE WHEN s IN ('processing', 'succeeded', 'failed') THEN {at(started)} END,
                CASE WHEN s IN ('succeeded', 'failed', 'deleted') THEN {at(ended)} END,
                CASE WHEN s = 'processing' THEN {at(f"{self.created} + 86400")} END,
                CASE WHEN s IN ('processing', 'succeeded', 'failed') THEN {self.worker} ELSE '' END,
                CASE WHEN {failed} THEN {error} ELSE '' END, CASE WHEN {failed} THEN {self.group} ELSE '' END FROM r"""
        yield f"""{cte} INSERT INTO jobs_jobpayload (job_id, data, job_type, queue, parent_id, correlation)
            SELECT i, ({self.arguments}){self.sql.json}, {self.type_name}, {self.queue_name},
                CASE WHEN i % 50 = 1 AND i > {self.start} THEN i - 1 END,
                CASE WHEN i % 50 < 2 THEN 'order-' || (i / 50) ELSE '' END FROM g"""
        yield f"""{cte} INSERT INTO jobs_jobtag (job_id, tag) SELECT i, 'nightly' FROM g WHERE {draw(9, 10)} = 0"""
        yield f"""{cte} INSERT INTO jobs_jobtag (job_id, tag)
            SELECT i, 'customer:' || {draw(6, 5000)} FROM g WHERE {draw(10, 5)} = 0"""
        into = "INSERT INTO jobs_jobhistory (job_id, from_state, to_state, at, attempt, reason, actor, data)"
        waited = f"""('{{"latency_seconds": ' || {self.wait} || '}}'){self.sql.json}"""
        facts = f"""('{{"duration_seconds": ' || {self.took} || '}}'){self.sql.json}"""
        yield f"""{rows} {into} SELECT i, 'enqueued', 'processing', {at(started)}, CASE WHEN {failed} THEN 3 ELSE 1 END,
                'claimed', {self.worker}, {waited} FROM r WHERE {ran}"""
        yield f"""{rows} {into} SELECT i, 'processing', CASE WHEN {failed} THEN 'failed' ELSE 'succeeded' END,
                {at(ended)}, CASE WHEN {failed} THEN 3 ELSE 1 END, '', {self.worker}, {facts}
                FROM r WHERE s = 'succeeded' OR {failed}"""
        yield f"""{rows} {into} SELECT i, 'failed', 'scheduled', {at(ended)}, 3, 'retry 3 of 9 in 10 min', 'scheduler',
                NULL FROM r WHERE {retrying}"""
        yield f"""{rows} {into} SELECT i, 'enqueued', 'deleted', {at(ended)}, 0, 'not needed', 'user:admin', NULL
                FROM r WHERE s = 'deleted'"""
        yield f"""{rows} INSERT INTO jobs_attempterror (job_id, attempt, at, exception, message, traceback, fingerprint,
                frame) SELECT i, 3, {at(ended)}, 'httpx.ConnectError',
                '[Errno 111] Connection refused by mail-' || (i % 7),
                '{TRACEBACK.replace("'", "''")}', {self.group}, {self.frame} FROM r WHERE {failed}"""

    def counts(self) -> Iterator[str]:
        """What brings counts and failure groups to what the jobs say. An attempt counts where its job ended."""
        for period, days in (("minute", 1.0), ("hour", 9.0), ("day", 400.0)):
            for outcome, where, at in (
                ("created", "TRUE", "created_at"),
                ("started", "started_at IS NOT NULL", "started_at"),
                ("succeeded", "state = 'succeeded'", "finished_at"),
                ("failed", "state = 'failed'", "finished_at"),
            ):
                for dimension in ("each", "total", "group"):
                    if dimension != "group" or outcome == "failed":
                        yield self._count(period, days, outcome, where, at, dimension)
        yield self._totals()
        yield """INSERT INTO jobs_failuregroup (fingerprint, exception, frame, message, first_at, last_at, count,
                last_job_id)
            SELECT fingerprint, 'httpx.ConnectError', max(frame), '[Errno 111] Connection refused',
                min(at), max(at), count(*), max(job_id) FROM jobs_attempterror WHERE fingerprint <> ''
            GROUP BY fingerprint ON CONFLICT (fingerprint) DO UPDATE SET last_at = excluded.last_at,
                count = excluded.count, last_job_id = excluded.last_job_id"""
        yield """INSERT INTO jobs_groupevent (group_id, kind, at, actor, text)
            SELECT fingerprint, 'new', first_at, '', '' FROM jobs_failuregroup
            WHERE NOT EXISTS (SELECT 1 FROM jobs_groupevent WHERE group_id = fingerprint AND kind = 'new')"""

    def _totals(self) -> str:
        """What the days add up to, as of whatever has been counted for ever."""
        names = ["count", "seconds", *(f"b{index:02d}" for index in range(18))]
        began = self.sql.begin("day", self.sql.at("0"))
        return f"""INSERT INTO jobs_jobcount (period, at, queue, job_type, fingerprint, outcome, {", ".join(names)})
            SELECT 'total', {began}, queue, job_type, '', outcome, {", ".join(f"SUM({name})" for name in names)}
            FROM jobs_jobcount WHERE period = 'day' AND fingerprint = '' AND job_type <> ''
            GROUP BY queue, job_type, outcome ON CONFLICT (period, at, queue, job_type, outcome, fingerprint) DO UPDATE
                SET {", ".join(f"{name} = excluded.{name}" for name in names)}"""

    def _count(self, period: str, days: float, outcome: str, where: str, at: str, dimension: str) -> str:
        begin = self.sql.begin(period, at)
        keys = {"each": "queue, job_type, ''", "total": "'', '', ''", "group": "'', job_type, fingerprint"}[dimension]
        by = {"each": ", queue, job_type", "total": "", "group": ", job_type, fingerprint"}[dimension]
        since = "clock_timestamp() - interval '{} days'" if self.sql.postgresql else "datetime('now', '-{} days')"
        zeros = ", ".join("0" for index in range(18) if index not in (3, 8))
        names = ", ".join(f"b{index:02d}" for index in range(18) if index not in (3, 8))
        return f"""INSERT INTO jobs_jobcount (period, at, queue, job_type, fingerprint, outcome, count, seconds,
                b03, b08, {names})
            SELECT '{period}', {begin}, {keys}, '{outcome}', count(*), count(*) * 0.2, count(*) / 2,
                count(*) - count(*) / 2, {zeros}
            FROM jobs_jobrecord WHERE id >= {self.start} AND {where} AND {at} > {since.format(days)}
            GROUP BY {begin}{by} ON CONFLICT (period, at, queue, job_type, outcome, fingerprint) DO UPDATE SET
                count = jobs_jobcount.count + excluded.count"""
