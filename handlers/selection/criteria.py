"""What a selection asks for: its parts, written as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Self

from handlers.selection.language import written
from handlers.selection.reach import Part, present
from handlers.selection.values import Number

ANY = "*"  # in the place of an argument's path: whichever argument that a registered type declares


@dataclass(frozen=True)
class Criteria:
    """The parts of a ``Selection``. A job fits when it fits every part that is given.

    Within a tuple one fit is enough, but for ``text``, ``arguments`` and ``tags``, which must all fit.
    """

    states: tuple[str, ...] = ()  # "retrying": scheduled, after a failure
    types: tuple[str, ...] = ()  # registered names stand for their former names too
    queues: tuple[str, ...] = ()
    worker: str = ""
    error: str = ""  # a part of the last failure's line
    fingerprint: str = ""  # failure group of the last failure
    arguments: tuple[tuple[str, Any], ...] = ()  # (dotted path or ANY, value); a number also finds such digits as text
    ids: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()  # the job's own, or its type's
    correlation: str = ""
    priority: int | None = None
    parent: int | None = None
    since: datetime | None = None  # created then or later
    until: datetime | None = None  # created before
    text: tuple[str, ...] = ()  # each somewhere in type, last error or arguments
    operation: int | None = None  # what this bulk operation moved
    workflow: int | None = None  # the jobs of this one
    sensitive: bool = True  # whether ``text`` and ANY may look into the arguments of types with sensitive ones
    engine: bool = True  # whether the engine's own jobs are among them
    lowest: int | None = None  # no job before this id: see ``pinned``
    highest: int | None = None  # no job after this id
    own_tag: str = ""  # one that must be the job's own: see ``selection.tags``
    within: tuple[Part, ...] = ()  # in one of these: see ``reached``

    @property
    def is_empty(self) -> bool:
        """Whether nothing narrows it: every job fits."""
        return replace(self, sensitive=True, engine=True) == type(self)()

    @property
    def is_by_name(self) -> bool:
        """Whether an index of types or queues leads to its jobs: that of a failure group comes before these."""
        return bool(self.types or self.queues) and not self.fingerprint

    def reached(self) -> list[Self]:
        """What comes to the same without ``within``: one for each of its parts, its types and queues narrowed.

        The types and queues that it names itself are named in none of them unless they are in its part.
        """
        if not self.within:
            return [self]
        asked = Part(tuple(present(name) for name in self.types), self.queues)
        parts = [both for part in self.within if (both := asked.meets(part))]
        return [replace(self, types=part.types, queues=part.queues, within=()) for part in parts]

    def __str__(self) -> str:
        """The search text that ``parse`` reads back as this selection."""
        words = [f"id:{job_id}" for job_id in self.ids]
        numbers = {
            "bulk": self.operation, "workflow": self.workflow, "parent": self.parent, "priority": self.priority
        }  # fmt: skip
        for name, value in numbers.items():
            words += [f"{name}:{value}"] if value is not None else []
        for name, values in (("state", self.states), ("type", self.types), ("queue", self.queues)):
            words += [f"{name}:{written(value)}" for value in values]
        for name, text in (
            ("worker", self.worker),
            ("group", self.fingerprint),
            ("correlation", self.correlation),
            ("error", self.error),
        ):
            words += [f"{name}:{written(text)}"] if text else []
        words += [f"tag:{written(tag)}" for tag in self.tags]
        words += [f"{'args' if path == ANY else f'args.{path}'}:{_argument(value)}" for path, value in self.arguments]
        for name, at in (("since", self.since), ("until", self.until)):
            words += [f"{name}:{at.astimezone(UTC).isoformat()}"] if at else []
        return " ".join([*words, *(written(word, always=True) for word in self.text)])

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads back; only what differs from the default."""
        made: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default and type(value) is type(field.default):
                continue
            if isinstance(value, datetime):
                value = value.isoformat()
            elif isinstance(value, tuple):
                value = [[_stored(part) for part in item] if isinstance(item, tuple) else item for item in value]
            made[field.name] = value
        return made


def _argument(value: Any) -> str:
    if isinstance(value, Number):
        return value.text
    return written(value, always=True) if isinstance(value, str) else json.dumps(value)


def _stored(value: Any) -> Any:
    return {"number": value.text} if isinstance(value, Number) else value
