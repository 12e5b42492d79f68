"""Jobs by the value of an argument, which each database compares in its own way, with the same answer.

Numbers are equal when they are so as decimals: 7 and 7.0, but not 2**63 and the float that comes next to it. Text is
equal to text alone, true to true. What is typed without quotation marks fits the same written as text, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Q
from django.db.models.sql.compiler import SQLCompiler

from handlers.models import JobPayload
from handlers.selection import declared
from handlers.selection.criteria import ANY, Criteria
from handlers.selection.values import Number

FEW = 5_000  # jobs with one value; of more, the newest are soon met without the index
MOST_INTEGER = 2**63  # from here on SQLite reads a whole number as a float
_HELD = f"""
    SELECT place.number, (
        SELECT COUNT(*) FROM (
            SELECT 1 FROM {JobPayload._meta.db_table} AS held WHERE held.data @> place.json LIMIT {FEW + 1}
        ) AS counted
    )
    FROM unnest(%s::jsonb[]) WITH ORDINALITY AS place(json, number)
"""  # noqa: S608 - our own table, and a number
ALWAYS_DIGITS = 10**15  # a smaller whole number is written with all of its digits, also as a float


def contained(selection: Criteria, using: str, column: str = "arguments__data") -> list[Q]:
    """What PostgreSQL's index finds by the arguments; ``column``: where they are, seen from the rows."""
    found = []
    for path, value in selection.arguments:
        places = _holding(value, selection, using) if path == ANY else _nested([path], value)
        either = Q(pk__in=[]) if not places else Q()
        for place in places:
            either |= Q(**{f"{column}__contains": place})
        found.append(either)
    return found


def compared(selection: Criteria) -> list[Q]:
    """The same for SQLite, which looks at each job."""
    column = F("arguments__data")
    return [
        Q(HasArgument(column, declared.paths(sensitive=selection.sensitive) if path == ANY else [path], value))
        for path, value in selection.arguments
    ]


def _nested(paths: Iterable[str], value: Any) -> list[Any]:
    """What contains ``value`` at one of ``paths``, as JSON."""
    found = []
    for path in paths:
        for variant in [value] if isinstance(value, str) else [_plain(value), _as_text(value)]:
            nested = variant
            for part in reversed(path.split(".")):
                nested = {part: nested}
            found.append(nested)
    return found


def _holding(value: Any, selection: Criteria, using: str) -> list[Any]:
    """Of all the places where ``value`` may be, those where some job has it: they are few, whatever is declared.

    Each is asked of the index by itself, and for so many jobs that reading them all in its place would take longer.
    """
    places = _nested(declared.paths(sensitive=selection.sensitive), value)
    with connections[using].cursor() as cursor:
        cursor.execute(_HELD, [[json.dumps(place) for place in places]])
        return [places[number - 1] for number, found in cursor.fetchall() if found]


class HasArgument(Func):
    """Whether the JSON text ``column`` has ``value`` at one of the dotted ``paths``. For SQLite."""

    output_field = BooleanField()

    def __init__(self, column: F, paths: Sequence[str], value: Any) -> None:
        super().__init__(column)
        # Not json.dumps: the names are not escaped.
        self._paths = ["$" + "".join(f'."{part}"' for part in path.split(".")) for path in paths]
        self._value = value

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *_: Any, **__: Any) -> tuple[str, Any]:
        """The SQL, and its parameters."""
        data, _none = compiler.compile(self.source_expressions[0])
        found, params = [], []
        for path in self._paths:
            whens, asked = "", [path]
            for kind, place, expected in _cases(self._value):
                whens += f" WHEN '{kind}' THEN json_extract({data}, {', '.join(['%s'] * place)}) = %s"
                asked += [*[path] * place, expected]
            found.append(f"CASE json_type({data}, %s){whens} ELSE FALSE END")
            params += asked
        sql = " OR ".join(found) or "FALSE"
        # What the JSON does not even mention need not be parsed.
        if needle := _needle(self._value):
            return f"(instr({data}, %s) > 0 AND ({sql}))", [needle, *params]
        return f"({sql})", params


def _cases(value: Any) -> Iterator[tuple[str, int, Any]]:
    """A kind of JSON, how often its path is asked for, and what SQLite then has where it is ``value``.

    Asked for twice, it is a JSON text of both, with every digit.
    """
    if isinstance(value, str):
        yield "text", 1, value
        return
    yield "text", 1, _as_text(value)
    plain = _plain(value)
    if plain is None or isinstance(plain, bool):
        yield json.dumps(plain), 2, json.dumps([plain, plain], separators=(",", ":"))
        return
    exact = Decimal(plain) if isinstance(plain, int) else Decimal(repr(plain))
    if exact == exact.to_integral_value():
        whole = int(exact)
        yield ("integer", 1, whole) if abs(whole) < MOST_INTEGER else ("integer", 2, f"[{whole},{whole}]")
    with suppress(OverflowError):
        near = float(plain)
        if Decimal(repr(near)) == exact:
            yield "real", 1, near


def _needle(value: Any) -> str:
    """Text that is in every JSON text that holds ``value``; empty where there is none for sure."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)[1:-1]
    plain = _plain(value)
    if isinstance(plain, float) or (isinstance(plain, int) and abs(plain) >= ALWAYS_DIGITS):
        return ""
    return json.dumps(plain)


def _plain(value: Any) -> Any:
    return json.loads(value.text) if isinstance(value, Number) else value


def _as_text(value: Any) -> str:
    return value.text if isinstance(value, Number) else json.dumps(value)
