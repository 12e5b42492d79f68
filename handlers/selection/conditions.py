"""Each part of a selection as a condition on rows: what an index finds, and what only a look at each job can tell."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, TextField
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Cast, Collate
from django.db.models.lookups import IContains
from django.db.models.sql.compiler import SQLCompiler

from handlers.conf import ENGINE_TYPES
from handlers.models import BulkItem, WorkflowNode
from handlers.models.sql import is_postgresql
from handlers.selection.arguments import compared, contained
from handlers.selection.created import first_id_created_since, last_id_created_before
from handlers.selection.criteria import Criteria
from handlers.selection.secrets import types_without_secrets
from handlers.selection.tags import tagged
from handlers.selection.values import RETRYING, stored_names
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
IN_TAGS = "own_tags__job_id"  # the same of the tag's row
IN_PAYLOADS = "arguments__pk"  # the job's id, where the index to go by is that of its arguments' row


def key_of(selection: Criteria) -> str:
    """The id's column by which an index gives the jobs of ``selection`` in order."""
    if selection.own_tag:
        return IN_TAGS
    return IN_PAYLOADS if selection.is_by_name and set(selection.states) <= {State.SUCCEEDED.value} else "pk"


def bound(selection: Criteria, lookup: str, job_id: int) -> Q:
    """Ids on one side of ``job_id``. Said of both tables where both are read: PostgreSQL does not conclude it."""
    reads_arguments = selection.text or selection.arguments or key_of(selection) == IN_PAYLOADS
    names = ["pk", *([IN_PAYLOADS] if reads_arguments else []), *([IN_TAGS] if selection.own_tag else [])]
    return Q(**{f"{name}__{lookup}": job_id for name in names})


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
    if selection.within:
        found.append(_within(selection, beside))
    if not selection.engine:
        found.append(~Q(job_type__startswith=ENGINE_TYPES))
    if selection.fingerprint:
        found.append(Q(HAS_FINGERPRINT) & Q(fingerprint=selection.fingerprint))
    if selection.worker and _only(selection, State.PROCESSING):
        found.append(Q(worker=selection.worker))
    if is_postgresql(connections[using]):
        found += contained(selection, using)
    return [*found, *tagged(selection, using), *_related(selection, using), *_created(selection, using)]


def _within(selection: Criteria, beside: str) -> Q:
    """In one of the parts that it reaches; where there is none, nowhere."""
    either = Q(pk__in=[])
    for way in selection.reached():
        part = Q(**{f"{beside}queue__in": way.queues}) if way.queues else Q()
        if way.types:
            part &= Q(**{f"{beside}job_type__in": [stored for name in way.types for stored in stored_names(name)]})
        either |= part
    return either


def unindexed(selection: Criteria, using: str) -> list[Q]:
    """What no index finds."""
    found = []
    if selection.worker and not _only(selection, State.PROCESSING):
        found.append(Q(worker=selection.worker))
    if selection.priority is not None:
        found.append(Q(priority=selection.priority))
    if selection.error:
        found.append(Q(_has(F("error"), selection.error, using)))
    if not is_postgresql(connections[using]):
        found += compared(selection)
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
    if selection.workflow is not None:
        found.append(_of_workflow(selection.workflow, using))
    if selection.parent is not None:
        found.append(Q(arguments__parent_id=selection.parent))
    if selection.correlation:
        found.append(Q(HAS_CORRELATION) & Q(arguments__correlation=selection.correlation))
    return found


def _of_workflow(workflow_id: int, using: str) -> Q:
    """Its jobs: their ids are near each other, so that hardly any other job is looked at, however many came after."""
    nodes = WorkflowNode.objects.using(using).filter(workflow_id=workflow_id)
    first, last = WorkflowNode.span(workflow_id, using)
    return Q(Exists(nodes.filter(pk=OuterRef("pk"))), pk__gte=first, pk__lte=last)


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


def _mentions(word: str, selection: Criteria, using: str) -> Q:
    needle = json.dumps(word, ensure_ascii=False)[1:-1]  # as it is stored
    inside = Q(_has(Cast("arguments__data", TextField()), needle, using))
    if not selection.sensitive:
        inside &= Q(job_type__in=types_without_secrets())
    return Q(_has(F("error"), word, using)) | Q(_has(F("job_type"), word, using)) | inside


def _has(text: Any, word: str, using: str) -> Combinable:
    """Whether ``word`` is in ``text``, small or capital. What is ASCII is compared as such: that is much quicker."""
    if not word.isascii():
        return InAnyCase(text, word)
    if is_postgresql(connections[using]):
        text = Collate(text, "C")
    return IContains(text, word)


class InAnyCase(Func):
    """Whether ``word`` is in ``text``, each of its letters small or capital, by a pattern that names them.

    SQLite knows the letters of ASCII alone, and PostgreSQL those of the database's locale.
    """

    output_field = BooleanField()

    def __init__(self, text: Any, word: str) -> None:
        super().__init__(text)
        self._word = word

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *_: Any, **__: Any) -> tuple[str, Any]:
        """The SQL, and its parameters."""
        text, params = compiler.compile(self.source_expressions[0])
        if is_postgresql(connection):
            pattern = "".join(_either(char) or re.escape(char) for char in self._word)
            return f"({text}) ~ %s", (*params, pattern)
        # What is ASCII is looked for first: that is quicker by far.
        like = "".join(rf"\{char}" if char in "\\%_" else char if char.isascii() else "_" for char in self._word)
        glob = "".join(_either(char) or (f"[{char}]" if char in "*?[" else char) for char in self._word)
        sql = rf"(({text}) LIKE %s ESCAPE '\' AND ({text}) GLOB %s)"
        return sql, (*params, f"%{like}%", *params, f"*{glob}*")


def _either(char: str) -> str:
    """A class of the letter ``char``, small and capital; empty for what is no such letter."""
    known = {char, char.lower(), char.upper(), char.lower().upper(), char.upper().lower()}
    letters = sorted(letter for letter in known if len(letter) == 1)
    return f"[{''.join(letters)}]" if len(letters) > 1 else ""
