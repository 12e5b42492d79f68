"""Each part of a selection as a condition on rows: what an index finds, and what only a look at each job can tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Q, TextField, Value
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast, Collate, StrIndex
from django.db.models.lookups import GreaterThan, IContains
from django.db.models.sql.compiler import SQLCompiler

from handlers.conf import ENGINE_TYPES
from handlers.models import BulkItem
from handlers.models.sql import is_postgresql
from handlers.selection.created import first_id_created_since, last_id_created_before
from handlers.selection.criteria import Criteria
from handlers.selection.secrets import types_without_secrets
from handlers.selection.values import RETRYING
from handlers.states import State

# The condition of the index jobs_not_succeeded, word for word: SQLite sees that they are the same only in literals.
# PostgreSQL concludes it from the state, and where it is told it too, it takes the jobs for far fewer.
NOT_SUCCEEDED = RawSQL(  # noqa: S611 - no value in it
    f"NOT (state = '{State.SUCCEEDED.value}')", (), output_field=BooleanField()
)
IS_RETRYING = RawSQL(  # noqa: S611 - the condition of jobs_retrying
    f"state = '{State.SCHEDULED.value}' AND failures > 0", (), output_field=BooleanField()
)
# The same where the index of a failure group's jobs is the better one: PostgreSQL takes the retrying for a handful, and
# would rather read them all.
IS_RETRYING_IN_GROUP = RawSQL(  # noqa: S611 - no value in it
    f"state = '{State.SCHEDULED.value}' AND failures + 0 > 0", (), output_field=BooleanField()
)
HAS_FINGERPRINT = RawSQL("NOT (fingerprint = '')", (), output_field=BooleanField())  # of jobs_of_group
HAS_CORRELATION = RawSQL("NOT (correlation = '')", (), output_field=BooleanField())  # of jobs_by_correlation
ALWAYS_DIGITS = 10**15  # a smaller whole number is written with all of its digits, also as a float
IN_PAYLOADS = "arguments__pk"  # the job's id, where the index to go by is that of its arguments' row


def key_of(selection: Criteria) -> str:
    """The id's column by which an index gives the jobs of ``selection`` in order."""
    return IN_PAYLOADS if selection.is_by_name and set(selection.states) <= {State.SUCCEEDED.value} else "pk"


def bound(selection: Criteria, lookup: str, job_id: int) -> Q:
    """Ids on one side of ``job_id``. Said of both tables where both are read: PostgreSQL does not conclude it."""
    reads_arguments = selection.text or selection.arguments or key_of(selection) == IN_PAYLOADS
    return Q(**{f"{name}__{lookup}": job_id for name in (["pk", IN_PAYLOADS] if reads_arguments else ["pk"])})


def by_index(selection: Criteria, using: str) -> Criteria:
    """``selection`` without what would have its jobs' arguments read one by one."""
    return replace(selection, text=(), arguments=selection.arguments if is_postgresql(connections[using]) else ())


def indexed(selection: Criteria, names: Sequence[str], using: str) -> list[Q]:
    """What indexes find; ``names``: of the types, as stored."""
    beside = "arguments__" if key_of(selection) == IN_PAYLOADS else ""
    found = [_in_states(selection, using)] if selection.states else []
    for field, choices in (("job_type", names), ("queue", selection.queues)):
        if choices:
            name = f"{beside}{field}"
            found.append(Q(**{f"{name}__in": choices}) if len(choices) > 1 else Q(**{name: choices[0]}))
    if not selection.engine:
        found.append(~Q(job_type__startswith=ENGINE_TYPES))
    if selection.fingerprint:
        found.append(Q(HAS_FINGERPRINT) & Q(fingerprint=selection.fingerprint))
    if selection.worker and _only(selection, State.PROCESSING):
        found.append(Q(worker=selection.worker))
    if is_postgresql(connections[using]):
        found += by_arguments(selection)
    return [*found, *_related(selection, using), *_created(selection, using)]


def unindexed(selection: Criteria, using: str) -> list[Q]:
    """What no index finds."""
    found = []
    if selection.worker and not _only(selection, State.PROCESSING):
        found.append(Q(worker=selection.worker))
    if selection.error:
        found.append(Q(_has(F("error"), selection.error, using)))
    if not is_postgresql(connections[using]):
        found += [_equals(place, value) for place, (_, value) in enumerate(selection.arguments)]
    return found + [_mentions(word, selection, using) for word in selection.text]


def _only(selection: Criteria, state: State) -> bool:
    return selection.states == (state.value,)


def _in_states(selection: Criteria, using: str) -> Q:
    if selection.states == (RETRYING,):
        return Q(IS_RETRYING_IN_GROUP if selection.fingerprint else IS_RETRYING)
    plain = [state for state in selection.states if state != RETRYING]
    found = Q(state__in=plain) if len(plain) > 1 else Q(state=plain[0]) if plain else Q()
    if RETRYING in selection.states:
        found |= Q(state=State.SCHEDULED.value, failures__gt=0)
    has_better_index = (
        selection.fingerprint
        or (_only(selection, State.FAILED) and selection.types)
        or (_only(selection, State.PROCESSING) and selection.worker)
    )
    if not (is_postgresql(connections[using]) or State.SUCCEEDED.value in plain or has_better_index):
        found &= Q(NOT_SUCCEEDED)
    return found


def _related(selection: Criteria, using: str) -> list[Q]:
    found = []
    if selection.ids:
        found.append(Q(Among(F(key_of(selection)), selection.ids)))
    if selection.operation is not None:
        moved = BulkItem.objects.using(using).filter(operation_id=selection.operation, moved=True)
        found.append(Q(pk__in=moved.values("job_id")))
    if selection.parent is not None:
        found.append(Q(arguments__parent_id=selection.parent))
    if selection.correlation:
        found.append(Q(HAS_CORRELATION) & Q(arguments__correlation=selection.correlation))
    return found


class Among(Func):
    """Whether a key is one of ``ids``, which are one parameter: thousands by themselves cost more than the read."""

    output_field = BooleanField()

    def __init__(self, key: F, ids: tuple[int, ...]) -> None:
        super().__init__(key)
        self._ids = ids

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *_: Any, **__: Any) -> tuple[str, Any]:
        """The SQL, and its parameters."""
        key, params = compiler.compile(self.source_expressions[0])
        if is_postgresql(connection):
            return f"{key} = ANY(%s::bigint[])", (*params, list(self._ids))
        some = f"{key} IN (SELECT value FROM json_each(%s))"  # noqa: S608 - a column's name
        return some, (*params, json.dumps(self._ids))


def _created(selection: Criteria, using: str) -> list[Q]:
    """Nothing is indexed by time: the ids that go with a time are."""
    lowest, highest = id_bounds(selection, using)
    found = []
    if selection.since:
        found.append(Q(created_at__gte=selection.since))
    if selection.until:
        found.append(Q(created_at__lt=selection.until))
    if lowest is not None:
        found.append(bound(selection, "gte", lowest))
    if highest is not None:
        found.append(bound(selection, "lte", highest))
    return found


def id_bounds(selection: Criteria, using: str) -> tuple[int | None, int | None]:
    """The ids between which ``selection`` lies, as far as it says so or its times do."""
    lowest, highest = selection.lowest, selection.highest
    if selection.since and lowest is None:
        lowest = first_id_created_since(selection.since, using)
    if selection.until and highest is None:
        last = last_id_created_before(selection.until, using)
        highest = None if last is None else last - 1
    return lowest, highest


def _variants(value: Any) -> list[Any]:
    """``value``, and for what is no text the same as text: people do not know which of them a job holds."""
    return [value] if isinstance(value, str) else [value, json.dumps(value)]


def by_arguments(selection: Criteria, column: str = "arguments__data") -> list[Q]:
    """What PostgreSQL's index finds by the arguments; ``column``: where they are, seen from the rows."""
    return [_contains(column, path, value) for path, value in selection.arguments]


def _contains(column: str, path: str, value: Any) -> Q:
    either = Q()
    for variant in _variants(value):
        nested = variant
        for part in reversed(path.split(".")):
            nested = {part: nested}
        either |= Q(**{f"{column}__contains": nested})
    return either


def argument_names(selection: Criteria) -> dict[str, KeyTransform]:
    """Names for what ``unindexed`` compares. Not lookups by path: an argument may be called "contains"."""
    named = {}
    for place, (path, _) in enumerate(selection.arguments):
        at: Any = "arguments__data"
        for part in path.split("."):
            at = KeyTransform(part, at)
        named[f"argument_{place}"] = at
    return named


def _equals(place: int, value: Any) -> Q:
    either = Q()
    for variant in _variants(value):
        either |= Q(**{f"argument_{place}": variant})
    # What JSON does not even mention need not be parsed. A whole number may be written in another way, as 7.0 or 1e20.
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= ALWAYS_DIGITS):
        return either
    text = json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value)
    return Q(GreaterThan(StrIndex(Cast("arguments__data", TextField()), Value(text)), 0)) & either


def _mentions(word: str, selection: Criteria, using: str) -> Q:
    # SQLite keeps what is not ASCII as escapes.
    needle = json.dumps(word, ensure_ascii=not is_postgresql(connections[using]))[1:-1]
    inside = Q(_has(Cast("arguments__data", TextField()), needle, using))
    if not selection.sensitive:
        inside &= Q(job_type__in=types_without_secrets())
    return Q(_has(F("error"), word, using)) | Q(_has(F("job_type"), word, using)) | inside


def _has(text: Any, word: str, using: str) -> IContains:
    """Whether ``word`` is in ``text``, small or capital. What is ASCII is compared as such: that is much quicker."""
    if word.isascii() and is_postgresql(connections[using]):
        text = Collate(text, "C")
    return IContains(text, word)
