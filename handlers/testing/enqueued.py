"""What a test looks at: which jobs were enqueued, with which arguments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, overload

from handlers.conf import ENGINE_TYPES
from handlers.exceptions import JobsError
from handlers.job_types import JobType
from handlers.lifecycle import database
from handlers.masking import mask
from handlers.models import JobRecord
from handlers.payloads import Command, Job
from handlers.registry import registry
from handlers.testing.types import type_of

MOST_TOLD = 20  # jobs that a message lists


class Captured(NamedTuple):
    """A job that was enqueued."""

    job: Job | Command | None  # the object, as its handler gets it; None where it cannot be read
    record: JobRecord

    @property
    def id(self) -> int:
        """Its id."""
        return self.record.pk

    def __str__(self) -> str:
        record = self.record
        when = f", at {record.run_at.isoformat(timespec='seconds')}" if record.run_at else ""
        return f"#{record.pk} {record.job_type}({_told(record)}) {record.state} on {record.queue}{when}"


def _told(record: JobRecord) -> str:
    try:
        data = mask(registry.get(record.job_type), record.payload)
    except JobsError:
        data = mask(None, record.payload)
    return ", ".join(f"{name}={value!r}" for name, value in data.items()) if isinstance(data, dict) else repr(data)


class CapturedJobs(Sequence[Captured]):
    """Jobs in the order in which they were enqueued, read anew with each look: those of the test's own transaction."""

    def __init__(self, after: int = 0, until: int | None = None) -> None:
        self._after, self._until = after, until

    @classmethod
    def from_now_on(cls) -> CapturedJobs:
        """Those to come."""
        return cls(_newest())

    def _read(self) -> list[Captured]:
        rows = JobRecord.objects.using(database()).filter(pk__gt=self._after).order_by("pk")
        if self._until is not None:
            rows = rows.filter(pk__lte=self._until)
        return [
            Captured(_job(record), record)
            for record in rows.select_related("arguments")
            if not record.job_type.startswith(ENGINE_TYPES)
        ]

    @overload
    def __getitem__(self, index: int) -> Captured: ...
    @overload
    def __getitem__(self, index: slice) -> list[Captured]: ...
    def __getitem__(self, index: int | slice) -> Captured | list[Captured]:
        return self._read()[index]

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Iterator[Captured]:
        return iter(self._read())

    def __repr__(self) -> str:
        return f"<CapturedJobs: {listed(self._read())}>"

    @property
    def jobs(self) -> list[Job | Command | None]:
        """The objects that were enqueued."""
        return [captured.job for captured in self._read()]

    def of(self, job_type: Any) -> list[Captured]:
        """Those of one type: its class, or its stored name."""
        known = type_of(job_type)
        return [captured for captured in self._read() if captured.record.job_type in (known.name, *known.aliases)]

    def end(self) -> None:
        """What is enqueued from now on is not among them."""
        self._until = _newest()


@contextmanager
def captured_jobs() -> Iterator[CapturedJobs]:
    """The jobs that are enqueued or scheduled inside: a sequence that can be looked at there, and afterwards.

    What was rolled back is not among them.
    """
    captured = CapturedJobs.from_now_on()
    try:
        yield captured
    finally:
        captured.end()


def assert_enqueued(job_type: Any, /, **fields: Any) -> JobRecord:
    """Assert that such a job was enqueued or scheduled, with these arguments; the last one.

    ``job_type``: its class, its stored name, or a job, of which all fields count. Whatever became of it since. Raises
    AssertionError that lists what was enqueued, and TypeError for a field that the type does not have.
    """
    known, found, there = _matching(job_type, fields)
    if not found:
        raise AssertionError(f"no {_wanted(known, job_type, fields)} was enqueued; {listed(there)}")
    return found[-1].record


def assert_not_enqueued(job_type: Any, /, **fields: Any) -> None:
    """Assert that no such job was. As ``assert_enqueued``."""
    known, found, _ = _matching(job_type, fields)
    if found:
        raise AssertionError(f"{_wanted(known, job_type, fields)} was enqueued; {listed(found)}")


def listed(jobs: Sequence[Captured]) -> str:
    """Which these are, one on a line, with sensitive arguments masked."""
    if not jobs:
        return "nothing was"
    more = [f"  and {len(jobs) - MOST_TOLD:,} more"] if len(jobs) > MOST_TOLD else []
    return "\n".join([f"{len(jobs):,} job{'s' * (len(jobs) != 1)}:", *(f"  {job}" for job in jobs[:MOST_TOLD]), *more])


def _matching(job_type: Any, fields: dict[str, Any]) -> tuple[JobType, list[Captured], list[Captured]]:
    known, wanted = type_of(job_type), dict(fields)
    if unknown := sorted(set(fields) - set(known.fields)):
        raise TypeError(f"{known.name} has no field {', '.join(unknown)}; it has {', '.join(known.fields) or 'none'}")
    if isinstance(job_type, Job | Command):
        wanted = {name: getattr(job_type, name) for name in known.fields} | wanted
    there = list(CapturedJobs())
    ours = [each for each in there if each.job is not None and each.record.job_type in (known.name, *known.aliases)]
    return known, [each for each in ours if all(getattr(each.job, n) == v for n, v in wanted.items())], there


def _wanted(known: JobType, job_type: Any, fields: dict[str, Any]) -> str:
    if isinstance(job_type, Job | Command):
        return f"{known.name} like {job_type!r}"
    return f"{known.name}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"


def _job(record: JobRecord) -> Job | Command | None:
    try:
        return registry.get(record.job_type).decode(record.payload)
    except (JobsError, JobRecord.arguments.RelatedObjectDoesNotExist):
        return None


def _newest() -> int:
    return JobRecord.objects.using(database()).order_by("-pk").values_list("pk", flat=True).first() or 0
