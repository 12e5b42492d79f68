"""How far somebody reaches: all jobs, or those of some types on some queues."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from handlers.exceptions import NoHandler
from handlers.registry import registry

NO_NAME = ""  # of no type: the part that has it has no job


class Part(NamedTuple):
    """Jobs of these types on these queues, by the names that the types have today; none named means all of them."""

    types: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()

    @classmethod
    def of(cls, types: Iterable[str], queues: Iterable[str]) -> Part:
        """The part of these names."""
        return cls(tuple(sorted({present(name) for name in types})), tuple(sorted(set(queues))))

    def covers(self, job_type: str, queue: str) -> bool:
        """Whether jobs of the type on the queue are in it."""
        return (not self.types or present(job_type) in self.types) and (not self.queues or queue in self.queues)

    def holds(self, other: Part) -> bool:
        """Whether all of ``other`` is in it."""
        return _holds(self.types, other.types) and _holds(self.queues, other.queues)

    def meets(self, other: Part) -> Part | None:
        """What is in both; None: nothing is."""
        types, queues = _common(self.types, other.types), _common(self.queues, other.queues)
        return None if types is None or queues is None else Part(types, queues)


NOTHING = Part((NO_NAME,))


@dataclass(frozen=True)
class Reach:
    """The jobs that are in any of ``parts``; with None every job is within."""

    parts: tuple[Part, ...] | None = None

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Reach:
        """Of these parts, without those that others hold."""
        kept: list[Part] = []
        for part in sorted(set(parts)):
            if part == Part():
                return WHOLE
            if not any(other.holds(part) for other in kept):
                kept = [*(other for other in kept if not part.holds(other)), part]
        return cls(tuple(kept))

    @property
    def is_whole(self) -> bool:
        """Whether it reaches every job."""
        return self.parts is None

    def __and__(self, other: Reach) -> Reach:
        """What is within both."""
        if self.parts is None or other.parts is None:
            return other if self.parts is None else self
        return Reach.of(both for mine in self.parts for part in other.parts if (both := mine.meets(part)))

    def covers(self, job_type: str, queue: str) -> bool:
        """Whether jobs of the type on the queue are within."""
        return self.parts is None or any(part.covers(job_type, queue) for part in self.parts)

    def holds(self, parts: Iterable[Part]) -> bool:
        """Whether all of ``parts`` is within."""
        mine = self.parts
        return mine is None or all(any(each.holds(part) for each in mine) for part in parts)

    def has_all_of_queue(self, name: str) -> bool:
        """Whether every job of the queue is within."""
        return self.holds([Part((), (name,))])

    def has_all_of_type(self, name: str) -> bool:
        """Whether every job of the type is within."""
        return self.holds([Part((present(name),))])

    def queues_of(self, job_type: str) -> frozenset[str] | None:
        """The queues on which jobs of the type are within; None: every queue."""
        fitting = [part for part in self.parts or () if not part.types or present(job_type) in part.types]
        if self.parts is None or any(not part.queues for part in fitting):
            return None
        return frozenset(name for part in fitting for name in part.queues)

    def types(self) -> frozenset[str]:
        """The types of which there may be jobs within: those that are named, and those that run on its queues."""
        if self.parts is None:
            return frozenset(job_type.name for job_type in registry.all())
        named = {name for part in self.parts for name in part.types}
        return frozenset({*named, *(each.name for each in registry.all() if self.covers(each.name, each.queue))})

    def queues(self) -> frozenset[str]:
        """The queues on which there may be jobs within: those that are named, and those on which its types run."""
        if self.parts is None:
            return registry_queues()
        named = {name for part in self.parts for name in part.queues}
        return frozenset({*named, *(each.queue for each in registry.all() if self.covers(each.name, each.queue))})


WHOLE = Reach()


def present(job_type: str) -> str:
    """The name that a type has today; of one that is not registered here, that."""
    try:
        return registry.get(job_type).name
    except NoHandler:
        return job_type


def registry_queues() -> frozenset[str]:
    """The queues that job types name."""
    return frozenset(registry.queues())


def _holds(mine: Collection[str], others: Collection[str]) -> bool:
    return not mine or (bool(others) and set(others) <= set(mine))


def _common(mine: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    if not (mine and others):
        return mine or others
    return tuple(name for name in mine if name in others) or None
