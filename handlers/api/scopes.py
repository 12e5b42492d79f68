"""What a client of the API may do: verbs, on which queues, to jobs of which types (pure)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from handlers.wording import worded

# verb -> what it lets a client do, in words
VERBS = {
    "read": worded("Look up and list jobs, failures, queues, recurring jobs and workflows"),
    "enqueue": worded("Enqueue jobs"),
    "schedule": worded("Schedule jobs for a later time"),
    "retry": worded("Retry failed and scheduled jobs, with other arguments too"),
    "requeue": worded("Run succeeded jobs again"),
    "delete": worded("Delete jobs"),
    "restore": worded("Restore deleted jobs"),
    "move": worded("Move jobs to another queue"),
    "signal": worded("Answer jobs that wait for a signal"),
    "bulk": worded("Do the verbs that it has to all jobs that match"),
    "recurring": worded("Change, pause and trigger recurring jobs"),
    "workflows": worded("Pause, cancel and retry workflows"),
    "failures": worded("Resolve, ignore and open failure groups"),
    "sensitive": worded("See and search sensitive arguments"),
}


@dataclass(frozen=True)
class Scope:
    """The verbs that are allowed; no queue or no type named means all of them."""

    verbs: frozenset[str]
    queues: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()

    @classmethod
    def of(cls, verbs: Collection[str], queues: Collection[str] = (), types: Collection[str] = ()) -> Scope:
        """The scope of these names."""
        return cls(frozenset(verbs), frozenset(queues), frozenset(types))

    @property
    def is_whole(self) -> bool:
        """Whether jobs of every queue and type are in it."""
        return not (self.queues or self.types)

    def covers(self, job_type: str, queue: str) -> bool:
        """Whether jobs of this type on this queue are in it."""
        return (not self.types or job_type in self.types) and (not self.queues or queue in self.queues)
