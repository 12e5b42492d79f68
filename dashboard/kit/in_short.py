"""What lists show of jobs beside their rows: the arguments in one line, as this person may see them, and their tags."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Aggregate, Case, F, Func, IntegerField, OuterRef, QuerySet, Subquery, TextField, When
from django.db.models.functions import Cast, Left
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpRequest

from dashboard.kit import catalogue
from dashboard.kit.sensitive import shown
from dashboard.kit.text import one_line
from handlers.job_types import JobType
from handlers.models import JobPayload, JobRecord, JobTag
from handlers.models.kept import database
from handlers.models.sql import is_postgresql

LONGEST, LONGEST_VALUE = 160, 40  # characters
READ = 4_096  # characters of a job's arguments that a list reads
STORED = 65_536  # bytes as PostgreSQL keeps them: what is larger is not even unpacked

_BEFORE_NAME, _BEFORE_VALUE, _SPACE = re.compile(r"\s*[{,]\s*"), re.compile(r"\s*:\s*"), re.compile(r"\s*")
_decode = json.JSONDecoder().raw_decode


class Beside(NamedTuple):
    """What lies beside a job: the first characters of its arguments, as JSON, and its own tags."""

    text: str | None = None  # None: they are too large to look at, or missing
    tags: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all of the arguments are here."""
        return self.text is not None and len(self.text) <= READ

    @property
    def data(self) -> Any:
        """The arguments; of what was cut, those that are here; None where there are none."""
        if self.text is None:
            return None
        return json.loads(self.text) if self.is_whole else _beginning(self.text)


def read(records: Sequence[JobRecord]) -> dict[int, Beside]:
    """What lies beside these, by the job's id: one statement, of so many characters of each, however much there is."""
    if not records:
        return {}
    using = database()
    rows: QuerySet[Any] = JobPayload.objects.using(using)
    text: Any = Left(Cast("data", TextField()), READ + 1)
    if is_postgresql(connections[using]):
        size = Func(F("data"), function="pg_column_size", output_field=IntegerField())
        text = Case(When(_size__lte=STORED, then=text), output_field=TextField())
        rows = rows.alias(_size=size)
    rows = rows.filter(pk__in=[record.pk for record in records])
    found = rows.annotate(_text=text, _tags=own_tags()).values_list("pk", "_text", "_tags")
    return {pk: Beside(text, split(tags)) for pk, text, tags in found}


def own_tags() -> Subquery:
    """A job's own tags as one text, or null; for rows whose key is the job's id. ``split`` has them apart again."""
    rows = JobTag.objects.using(database()).filter(job_id=OuterRef("pk")).order_by().values("job_id")
    return Subquery(rows.annotate(joined=_Joined("tag")).values("joined"))


def split(tags: str | None) -> tuple[str, ...]:
    """Tags by name."""
    return tuple(sorted((tags or "").split()))


def all_tags(job_type: JobType | None, own: Sequence[str]) -> list[str]:
    """The tags of a job's type, and its own."""
    return list(dict.fromkeys([*(job_type.tags if job_type else ()), *own]))


def of_jobs(request: HttpRequest, records: Sequence[JobRecord]) -> dict[int, str]:
    """``order_id=4711, carrier="ups"`` by the job's id, sensitive ones masked; the empty text where there are none."""
    beside = read(records)
    return {record.pk: of_job(request, record, beside.get(record.pk, Beside())) for record in records}


def beside(request: HttpRequest, records: Sequence[JobRecord]) -> list[tuple[JobRecord, str]]:
    """Each of ``records`` with its arguments."""
    short = of_jobs(request, records)
    return [(record, short[record.pk]) for record in records]


def of_job(request: HttpRequest, record: JobRecord, beside: Beside) -> str:
    """The same of one, of which ``read`` has told."""
    data = beside.data
    if data is None:
        return ""
    job_type = catalogue.find(record.job_type)
    told = in_short(_in_order(job_type, shown(request, record, data)))
    return told if beside.is_whole or told.endswith("…") else f"{told}, …"


def in_short(data: Any) -> str:
    """Arguments, as a person may see them, in one line."""
    if not isinstance(data, dict):
        return "" if data is None else one_line(_value(data), LONGEST)
    return one_line(", ".join(f"{name}={_value(value)}" for name, value in data.items()), LONGEST)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _in_order(job_type: JobType | None, data: Any) -> Any:
    """By the names and in the order in which the type has them: PostgreSQL keeps the short ones first."""
    if job_type is None or not isinstance(data, dict):
        return data
    named = job_type.named(data)
    rank = {name: place for place, name in enumerate(job_type.fields)}
    return dict(sorted(named.items(), key=lambda item: rank.get(item[0], len(rank))))


def _beginning(text: str) -> dict[str, Any]:
    """The names and values of a JSON object, up to where ``text`` was cut."""
    found: dict[str, Any] = {}
    place = 0
    try:
        while match := _BEFORE_NAME.match(text, place):
            name, place = _decode(text, match.end())
            colon = _BEFORE_VALUE.match(text, place)
            if colon is None or not isinstance(name, str):
                break
            found[name] = "…"  # what was cut
            found[name], place = _decode(text, colon.end())
    except (ValueError, RecursionError):
        pass
    return found


class _Joined(Aggregate):
    """Tags, of which none holds a blank, with blanks between them."""

    output_field = TextField()

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> tuple[str, Any]:  # type: ignore[override]
        """The SQL, and its parameters."""
        function = "string_agg" if is_postgresql(connection) else "group_concat"
        return super().as_sql(compiler, connection, function=function, template="%(function)s(%(expressions)s, ' ')")
