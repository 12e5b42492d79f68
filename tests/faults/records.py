"""What the records say while real processes work on them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from handlers.models import JobHistory, JobRecord
from tests.processes import wait_for


class Notes:
    """The lines that handlers wrote, each whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[str]:
        """All of them, in the order written."""
        return self.path.read_text().splitlines() if self.path.exists() else []

    def starting(self, prefix: str) -> list[str]:
        """Those that start with ``prefix``."""
        return [line for line in self.lines() if line.startswith(prefix)]

    def wait(self, prefix: str, *, times: int = 1) -> list[str]:
        """Wait until ``times`` lines start with ``prefix``."""

        def enough() -> list[str]:
            found = self.starting(prefix)
            return found if len(found) >= times else []

        return wait_for(f"{times} notes {prefix!r}", enough)

    def let_go(self, name: str = "go") -> None:
        """Let those handlers go on that wait for it."""
        Path(f"{self.path}.{name}").touch()


def record(job_id: int) -> JobRecord:
    """The job's row as it is now."""
    return JobRecord.objects.get(pk=job_id)


def states(ids: Iterable[int]) -> set[str]:
    """The states that the jobs are in."""
    return set(JobRecord.objects.filter(pk__in=list(ids)).values_list("state", flat=True))


def wait_state(state: str, *ids: int) -> None:
    """Wait until all the jobs are in ``state``."""
    try:
        wait_for(state, lambda: states(ids) == {state})
    except AssertionError as error:
        rows = JobRecord.objects.filter(pk__in=ids).exclude(state=state)[:10]
        found = [f"{row}: {row.state}, attempt {row.attempt}, {row.error!r}, {trail(row.pk)}" for row in rows]
        raise AssertionError(f"{error}; instead {found}") from None


def trail(job_id: int) -> list[tuple[str, str, str]]:
    """The job's moves: from, to, reason."""
    return list(JobHistory.objects.filter(job=job_id).values_list("from_state", "to_state", "reason"))


def moves(job_id: int) -> list[str]:
    """The states that the job moved to, in order."""
    return [to for _, to, _ in trail(job_id)]


def broken_trails(ids: Iterable[int], awaiting: Iterable[int] = ()) -> list[int]:
    """The jobs whose history has a gap: each move must begin where the one before it ended, the last one here.

    ``awaiting``: more jobs, which were awaiting others when they were made.
    """
    broken = []
    at = dict.fromkeys(ids, "enqueued") | dict.fromkeys(awaiting, "awaiting")
    rows = JobHistory.objects.filter(job__in=list(at)).order_by("id").values_list("job_id", "from_state", "to_state")
    for job_id, before, after in rows:
        if at[job_id] != before:
            broken.append(job_id)
        at[job_id] = after
    now = dict(JobRecord.objects.filter(pk__in=list(at)).values_list("pk", "state"))
    return broken + [job_id for job_id, state in at.items() if now[job_id] != state]
