"""Jobs by the value of an argument, which each database compares in its own way, with the same answer.

Numbers are equal when they are so as decimals: 7 and 7.0, but not 2**63 and the float that comes next to it. Text is
equal to text alone, true to true. What is typed without quotation marks fits the same written as text, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Q
from django.db.models.sql.compiler import SQLCompiler

from handlers.selection.criteria import Criteria
from handlers.selection.values import Number

MOST_INTEGER = 2**63  # from here on SQLite reads a whole number as a float
ALWAYS_DIGITS = 10**15  # a smaller whole number is written with all of its digits, also as a float


def contained(selection: Criteria, column: str = "arguments__data") -> list[Q]:
    """What PostgreSQL's index finds by the arguments; ``column``: where they are, seen from the rows."""
    return [_contains(column, path, value) for path, value in selection.arguments]


def compared(selection: Criteria) -> list[Q]:
    """The same for SQLite, which looks at each job."""
    return [Q(HasArgument(F("arguments__data"), path, value)) for path, value in selection.arguments]


def _contains(column: str, path: str, value: Any) -> Q:
    either = Q()
    variants = [value] if isinstance(value, str) else [_plain(value), _as_text(value)]
    for variant in variants:
        nested = variant
        for part in reversed(path.split(".")):
            nested = {part: nested}
        either |= Q(**{f"{column}__contains": nested})
    return either


class HasArgument(Func):
    """Whether the JSON text ``column`` has ``value`` at the dotted ``path``. For SQLite."""

    output_field = BooleanField()

    def __init__(self, column: F, path: str, value: Any) -> None:
        super().__init__(column)
        self._path = "$" + "".join(
            f'."{part}"' for part in path.split(".")
        )  # not json.dumps: the names are not escaped
        self._value = value

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *_: Any, **__: Any) -> tuple[str, Any]:
        """The SQL, and its parameters."""
        data, _none = compiler.compile(self.source_expressions[0])
        params: list[Any] = [self._path]
        whens = ""
        for kind, place, expected in _cases(self._value):
            whens += f" WHEN '{kind}' THEN json_extract({data}, {', '.join(['%s'] * place)}) = %s"
            params += [*[self._path] * place, expected]
        sql = f"CASE json_type({data}, %s){whens} ELSE FALSE END"
        # What the JSON does not even mention need not be parsed.
        if needle := _needle(self._value):
            return f"(instr({data}, %s) > 0 AND {sql})", [needle, *params]
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
