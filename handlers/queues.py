"""Which queues there are: those that the code names, and those that only stored jobs still name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from handlers.conf import SYSTEM_QUEUE, jobs_settings
from handlers.exceptions import InvalidJob
from handlers.lifecycle import database
from handlers.models import JobPayload, JobRecord
from handlers.registry import check_queue, registry
from handlers.states import State
from handlers.wording import worded

# What may still run there, or again; the states that an index leads to queue by queue, or that are few, come first.
HELD = (State.ENQUEUED, State.PROCESSING, State.SCHEDULED, State.AWAITING, State.WAITING, State.FAILED)


class Served(NamedTuple):
    """What a worker serves."""

    queues: list[str]  # in the order of preference
    left_over: list[str]  # those of them that only stored jobs name


def known_queues() -> set[str]:
    """Every queue that a job type or JOBS QUEUES names, and the engine's own."""
    return registry.queues() | set(jobs_settings().queues) | {SYSTEM_QUEUE}


def check_known(name: str) -> None:
    """Raise InvalidJob unless ``name`` is a queue that the code names."""
    check_queue(name, engine=True)
    known = known_queues()
    if name not in known:
        raise InvalidJob(
            worded(
                "queue: %(name)s is not known: name it in JOBS['QUEUES'], or use one of %(known)s",
                name=repr(name),
                known=", ".join(sorted(known)),
            ),
            field="queue",
        )


def check_stored(name: str) -> None:
    """Raise InvalidJob unless ``name`` is a queue that the code names, or that holds jobs."""
    check_queue(name, engine=True)
    if name not in known_queues() and not holds_jobs(name):
        check_known(name)


def check_target(name: str) -> None:
    """Raise InvalidJob unless jobs can be moved to the queue ``name``."""
    check_known(name)
    if name == SYSTEM_QUEUE:
        raise InvalidJob(
            worded(
                "queue: %(system_queue)s serves the engine itself and takes no other jobs",
                system_queue=repr(SYSTEM_QUEUE),
            ),
            field="queue",
        )


def targets() -> list[str]:
    """The queues that jobs can be moved to, by name."""
    return sorted(known_queues() - {SYSTEM_QUEUE})


def holds_jobs(name: str) -> bool:
    """Whether the database has jobs on the queue that run, may run or may be retried. Raises its errors."""
    jobs = JobRecord.objects.using(database()).filter(queue=name)
    return any(jobs.filter(state=state).exists() for state in HELD)


def left_over(besides: Collection[str] = ()) -> list[str]:
    """The queues, ``besides`` these, that hold jobs although the code does not name them.

    Raises the database's errors.
    """
    known = known_queues().union(besides)
    return [name for name in _stored() if name not in known and holds_jobs(name)]


def served(named: Sequence[str] | None) -> Served:
    """The queues that a worker serves: those ``named``, or all; the engine's own always.

    Raises InvalidJob for a named one that neither the code names nor a job, and the database's errors where it must
    be asked.
    """
    if not named:
        rest = left_over()
        return Served([*sorted(known_queues()), *rest], rest)
    known = known_queues()
    rest = [name for name in dict.fromkeys(named) if name not in known]
    if unknown := [name for name in rest if not holds_jobs(name)]:
        raise InvalidJob(
            f"queues: unknown {', '.join(sorted(unknown))}, which hold{'s' * (len(unknown) == 1)} no jobs either;"
            f" known are {', '.join(sorted(known))}",
            field="queues",
        )
    return Served(list(dict.fromkeys([*named, SYSTEM_QUEUE])), rest)


def _stored() -> Iterator[str]:
    """Every queue that a stored job was put on, found by hops through the index."""
    rows = JobPayload.objects.using(database()).order_by("queue")
    name = ""
    while found := rows.filter(queue__gt=name).values_list("queue", flat=True).first():
        name = found
        yield name
