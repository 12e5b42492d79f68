"""What pages tell of limits: what holds, who has slots, who waits and where. Each bounded, whatever waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from django.db import connections
from django.db.models import Q

from handlers.admission.terms import Terms, terms_of
from handlers.lifecycle import database
from handlers.limited import Limit
from handlers.models import LimitKey, LimitOverride, LimitSlot, LimitWaiter
from handlers.models.sql import as_rows, fetch, is_postgresql, rows_cte
from handlers.registry import registry

COUNTED = 10_000  # jobs of a line, or of a limit, that are counted at most
BUSIEST = 5
LOOKED_AT = 1_000  # keys of a limit that are looked at for its busiest ones, and jobs of each that are counted
KEYS, SLOTS, WAITERS = (model._meta.db_table for model in (LimitKey, LimitSlot, LimitWaiter))


class Number(NamedTuple):
    """A count that stops."""

    value: int
    more: bool  # whether there are more

    def __str__(self) -> str:
        return f"{self.value:,}{'+' if self.more else ''}"


class Place(NamedTuple):
    """Where a job waits for a slot."""

    limit: str
    key: str
    number: Number  # 1: it is next


class BusyKey(NamedTuple):
    """A key of a limit, or the limit if it has none."""

    key: str
    waiting: Number
    in_use: int


class Standing(NamedTuple):
    """A limit, and how it stands."""

    limit: Limit  # as the code has it
    types: Sequence[str]
    override: LimitOverride | None
    terms: Terms  # what holds
    in_use: Number
    waiting: Number
    busiest: Sequence[BusyKey]

    @property
    def is_keyed(self) -> bool:
        """Whether each value of a field has it for itself."""
        return self.limit.key is not None


def place_of(job_id: int, token: str) -> Place | None:
    """Where the job waits, if it does."""
    rows = LimitWaiter.objects.using(database())
    row = rows.filter(pk=job_id, token=token).first()
    if row is None:
        return None
    key = LimitKey.objects.using(database()).filter(pk=row.key_id).first()
    if key is None:
        return None
    before = rows.filter(Q(rank__lt=row.rank) | Q(rank=row.rank, pk__lt=row.pk), key_id=row.key_id, rank__lte=row.rank)
    return Place(key.name, key.key, _number(before.order_by().values("pk")[: COUNTED + 1].count() + 1))


def standings(names: Sequence[str] | None = None) -> list[Standing]:
    """How the limits stand that this code knows, by name; or those of ``names``."""
    alias = database()
    known = registry.limits()
    wanted = sorted(known if names is None else set(names) & set(known))
    overrides = LimitOverride.objects.using(alias).in_bulk(wanted)
    terms = terms_of(wanted, alias)
    types: defaultdict[str, list[str]] = defaultdict(list)
    for job_type in registry.all():
        for limit in job_type.limits:
            types[limit.name].append(job_type.name)
    in_use, waiting = _counted(SLOTS, wanted), _counted(WAITERS, wanted)
    return [
        Standing(
            known[name], types[name], overrides.get(name), terms[name], in_use[name], waiting[name], _busiest(name)
        )
        for name in wanted
    ]


def _counted(table: str, names: Sequence[str]) -> dict[str, Number]:
    connection = connections[database()]
    cte = rows_cte("v", {"name": "text"}, postgresql=is_postgresql(connection))
    of_limit = f"""
        SELECT 1 AS one FROM {KEYS} k JOIN {table} t ON t.key_id = k.id WHERE k.name = v.name LIMIT {COUNTED + 1}
    """
    sql = f"WITH {cte} SELECT v.name, (SELECT COUNT(*) FROM ({of_limit}) AS found) FROM v"
    rows = fetch(connection, sql, [as_rows(connection, [(name,) for name in names])])
    return {name: _number(found) for name, found in rows}


def _busiest(name: str) -> list[BusyKey]:
    def counted(table: str) -> str:
        inside = f"SELECT 1 AS one FROM {table} t WHERE t.key_id = busy.id LIMIT {LOOKED_AT + 1}"
        return f"(SELECT COUNT(*) FROM ({inside}) AS found)"

    some = " OR ".join(f"EXISTS (SELECT 1 FROM {table} t WHERE t.key_id = k.id)" for table in (WAITERS, SLOTS))
    sql = f"""
        WITH busy AS (SELECT k.id, k.key FROM {KEYS} k WHERE k.name = %s AND ({some}) LIMIT {LOOKED_AT})
        SELECT key, waiting, in_use FROM (
            SELECT key, {counted(WAITERS)} AS waiting, {counted(SLOTS)} AS in_use FROM busy
        ) AS found
        ORDER BY waiting DESC, in_use DESC, key LIMIT {BUSIEST}
    """
    rows = fetch(connections[database()], sql, [name])
    return [BusyKey(key, _number(waiting, LOOKED_AT), in_use) for key, waiting, in_use in rows]


def _number(found: int, cap: int | None = None) -> Number:
    cap = COUNTED if cap is None else cap
    return Number(min(found, cap), found > cap)
