"""Which entries of the audit are about nothing but jobs within somebody's reach: those alone a limited role sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from dashboard.kit import workflows
from dashboard.kit.reach import covers_all, rows_within
from dashboard.kit.runs import is_within
from handlers.models import AlertRule, AuditEntry, BulkOperation, JobRecord, RecurringJob, Workflow
from handlers.registry import registry
from handlers.selection import Reach

MOST_JOBS = 100  # of one of many entries that are looked at; one about more is not told, nor one that names fewer
STEP = 100  # entries that are looked at together
MOST = 2_000  # entries that are looked at for one page
LONGEST_ID = 18  # digits


def within(reach: Reach, entries: Sequence[AuditEntry], most_jobs: int = MOST_JOBS) -> set[int]:
    """The ids of those of ``entries`` that are about nothing beyond ``reach``. A statement for each kind of thing."""
    if reach.is_whole:
        return {entry.pk for entry in entries}
    fitting = [entry for entry in entries if _values_fit(reach, entry)]
    told = {entry.pk: about for entry in fitting if (about := _about(entry, most_jobs)) is not None}
    jobs = _jobs(reach, {pk for ids, _kind, _name in told.values() for pk in ids})
    named = {kind: {name for _ids, each, name in told.values() if each == kind} for kind in _KINDS}
    known = {kind: find(reach, names) for kind, find in _KINDS.items() if (names := named[kind])}
    return {
        pk
        for pk, (ids, kind, name) in told.items()
        if ids <= jobs and (name in known[kind] if kind in _KINDS else bool(ids))
    }


def _about(entry: AuditEntry, most_jobs: int) -> tuple[set[int], str, str] | None:
    """The jobs that it names, and the kind and the name of what it was done to; None: nobody can tell all of it."""
    data = entry.data if isinstance(entry.data, dict) else {}
    ids = data.get("job_ids") or []
    if not isinstance(ids, list) or len(ids) > most_jobs or not all(isinstance(pk, int) for pk in ids):
        return None
    kind = next((kind for kind in (*_KINDS, "job") if entry.target.startswith(f"{kind} ")), "")
    name = entry.target.removeprefix(f"{kind} ")
    if kind == "job":
        if not (name.isascii() and name.isdigit() and len(name) <= LONGEST_ID):
            return None
        return {*ids, int(name)}, "", ""
    if not kind and entry.count > len(ids):
        return None
    return set(ids), kind, name


def _values_fit(reach: Reach, entry: AuditEntry) -> bool:
    """Whether what it says of before and after names no type and no queue that is beyond."""
    data = entry.data if isinstance(entry.data, dict) else {}
    for values in (data.get("before"), data.get("after")):
        if isinstance(values, dict):
            job_type, queue = (str(values.get(name) or "") for name in ("job_type", "queue"))
            if (job_type and job_type not in reach.types()) or (queue and queue not in reach.queues()):
                return False
    return not data.get("queue") or data["queue"] in reach.queues()


def _jobs(reach: Reach, ids: Iterable[int]) -> set[int]:
    rows = JobRecord.objects.filter(pk__in=list(ids)).values_list("pk", "job_type", "queue") if ids else ()
    return {pk for pk, job_type, queue in rows if reach.covers(job_type, queue)}


def _queues(reach: Reach, names: set[str]) -> set[str]:
    return {name for name in names if reach.has_all_of_queue(name)}


def _types(reach: Reach, names: set[str]) -> set[str]:
    return {name for name in names if reach.has_all_of_type(name)}


def _recurring(reach: Reach, names: set[str]) -> set[str]:
    return set(RecurringJob.objects.filter(rows_within(reach), name__in=names).values_list("name", flat=True))


def _rules(reach: Reach, names: set[str]) -> set[str]:
    rules = AlertRule.objects.filter(name__in=names)
    return {rule.name for rule in rules if covers_all(reach, rule.job_type, rule.queue)}


def _limits(reach: Reach, names: set[str]) -> set[str]:
    having: dict[str, list[str]] = {}
    for job_type in registry.all():
        for limit in job_type.limits:
            having.setdefault(limit.name, []).append(job_type.name)
    return {name for name in names if name in having and all(map(reach.has_all_of_type, having[name]))}


def _runs(reach: Reach, names: set[str]) -> set[str]:
    ids = [int(name) for name in names if name.isascii() and name.isdigit() and len(name) <= LONGEST_ID]
    return {str(run.pk) for run in BulkOperation.objects.filter(pk__in=ids) if is_within(run, reach)}


def _workflows(reach: Reach, names: set[str]) -> set[str]:
    ids = [int(name) for name in names if name.isascii() and name.isdigit() and len(name) <= LONGEST_ID]
    return {str(pk) for pk in workflows.within(reach, Workflow.objects.filter(pk__in=ids))}


# What the first words of a target name, and which of some names are within.
_KINDS: Mapping[str, Callable[[Reach, set[str]], set[str]]] = {
    "queue": _queues,
    "type": _types,
    "recurring": _recurring,
    "alert rule": _rules,
    "limit": _limits,
    "bulk operation": _runs,
    "workflow": _workflows,
}
