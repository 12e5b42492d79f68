"""The keys of limits, and their locks: whoever gives or takes anything of a key holds its row.

All take those locks in one order, by the rows' numbers, and insert rows before they take any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, TypeVar

from django.db import connections, transaction

from handlers.admission.terms import Terms, of_code, set_terms
from handlers.models import LimitKey, LimitOverride
from handlers.models.sql import as_rows, fetch, is_postgresql, of_rows, rows_cte
from handlers.registry import registry
from handlers.writing import writing

TRIES = 5
REMEMBERED = 20_000  # numbers of keys that this process knows by heart
KEYS, OVERRIDES = LimitKey._meta.db_table, LimitOverride._meta.db_table
COLUMNS = {"name": "text", "key": "text"}
T = TypeVar("T")

_numbers: dict[Pair, int] = {}
_names: dict[int, str] = {}  # the limits that keys are of, which never changes


class Pair(NamedTuple):
    """A limit's name, and whose limit: see ``limited.key_of``."""

    name: str
    key: str


class LockedKey(NamedTuple):
    """A key whose row is locked until the transaction ends."""

    number: int
    pair: Pair
    lined_up: bool  # whether some may wait for it
    terms: Terms | None  # None: this code does not know the limit


class MoreKeys(Exception):
    """Something needs locks of further keys: all have to be taken anew, in their order."""

    def __init__(self, pairs: Collection[Pair]) -> None:
        super().__init__()
        self.pairs = pairs


def with_keys(
    pairs: Collection[Pair], numbers: Collection[int], using: str, act: Callable[[list[LockedKey], bool], T]
) -> T:
    """Call ``act`` with the locked keys, those of ``pairs`` and those with ``numbers``, inside a transaction.

    It may raise MoreKeys, unless it is told that this is its last chance.
    """
    wanted, tries = set(pairs), 0
    several = have_several()  # else none asks for more, and there is nothing to go back to
    while True:
        tries += 1
        try:
            with writing(using, savepoint=several):
                return act(_lock(wanted, numbers, using), tries >= TRIES)
        except MoreKeys as more:
            wanted.update(more.pairs)


def have_several() -> bool:
    """Whether a job may need slots of several keys, so that it has to be read to know those beside that of its line."""
    return registry.kept("limits: several", lambda: any(len(job_type.limits) > 1 for job_type in registry.all()))


def known(pairs: Collection[Pair], using: str) -> dict[Pair, int]:
    """The numbers of those of ``pairs`` that have a row."""
    found = {pair: number for pair in pairs if (number := _numbers.get(pair))}
    if len(found) < len(pairs):
        rows = _rows([pair for pair in pairs if pair not in found], using)
        # Once they are committed. Whoever took numbers of rows that are not would find that out with others locked, and
        # then insert: two who do so may wait for each other.
        transaction.on_commit(lambda: _remember(rows), using=using)
        found |= rows
    return found


def _remember(rows: dict[Pair, int]) -> None:
    if len(_numbers) > REMEMBERED:
        _numbers.clear()
    _numbers.update(rows)


def lined_up(numbers: Collection[int], using: str) -> list[int]:
    """Those of these keys for which some may wait, as far as one may see without a lock."""
    connection = connections[using]
    postgresql = is_postgresql(connection)
    cte = rows_cte("v", {"id": "id"}, postgresql=postgresql)
    sql = f"WITH {cte} SELECT id FROM {KEYS} WHERE id {of_rows(postgresql=postgresql)} AND lined_up"
    return [number for (number,) in fetch(connection, sql, [as_rows(connection, [(n,) for n in numbers])])]


def may_be_rated(numbers: Collection[int], using: str) -> Collection[int]:
    """Those of these keys whose limits may have a rate: all of them, where a person has set one for any limit."""
    if LimitOverride.objects.using(using).exclude(rate="").exists():
        return numbers
    code = registry.limits()
    return [number for number in numbers if (limit := code.get(_names.get(number, ""))) is None or limit.rate]


def _lock(pairs: Collection[Pair], numbers: Collection[int], using: str) -> list[LockedKey]:
    while True:
        while len(found := known(pairs, using)) < len(pairs):
            _insert([pair for pair in pairs if pair not in found], using)
        locked = _locked({*found.values(), *numbers}, using)
        if found.items() <= {key.pair: key.number for key in locked}.items():
            return locked
        for pair in found:  # forgotten meanwhile
            _numbers.pop(pair, None)


def _locked(numbers: Collection[int], using: str) -> list[LockedKey]:
    connection = connections[using]
    postgresql = is_postgresql(connection)
    lock = "FOR UPDATE OF k" if postgresql else ""
    sql = f"""
        WITH {rows_cte("v", {"id": "id"}, postgresql=postgresql)}
        SELECT k.id, k.name, k.key, k.lined_up, o.name, o.concurrency, o.rate
        FROM {KEYS} k LEFT JOIN {OVERRIDES} o ON o.name = k.name
        WHERE k.id {of_rows(postgresql=postgresql)} ORDER BY k.id {lock}
    """
    found = []
    code = {name: of_code(limit) for name, limit in registry.limits().items()}
    for number, name, key, has_line, changed, *values in fetch(
        connection, sql, [as_rows(connection, [(n,) for n in numbers])]
    ):
        terms = code.get(name)
        if terms and changed:
            terms = set_terms(*values) or terms
        found.append(LockedKey(number, Pair(name, key), bool(has_line), terms))
    if len(_names) > REMEMBERED:
        _names.clear()
    _names.update((key.number, key.pair.name) for key in found)
    return found


def _rows(pairs: Collection[Pair], using: str) -> dict[Pair, int]:
    cte = rows_cte("v", COLUMNS, postgresql=is_postgresql(connections[using]))
    sql = f"WITH {cte} SELECT k.id, k.name, k.key FROM v JOIN {KEYS} k ON k.name = v.name AND k.key = v.key"
    rows = fetch(connections[using], sql, [as_rows(connections[using], list(pairs))])
    return {Pair(name, key): number for number, name, key in rows}


def _insert(pairs: Collection[Pair], using: str) -> None:
    new = [LimitKey(name=pair.name, key=pair.key) for pair in sorted(pairs)]
    LimitKey.objects.using(using).bulk_create(new, ignore_conflicts=True)
