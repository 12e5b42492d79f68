"""A selection of jobs: read from text, written as text and as JSON, and turned into rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from handlers.selection.errors import InvalidSelection
from handlers.selection.language import written
from handlers.selection.values import STATES

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from handlers.models import JobRecord
    from handlers.selection.looking import Look

__all__ = ["STATES", "WINDOW", "InvalidSelection", "Selection"]

WINDOW = 80_000  # newest jobs that are looked at for what no index finds


@dataclass(frozen=True)
class Selection:
    """Which jobs: those that fit every part that is given.

    Within a tuple one fit is enough, but for ``text`` and ``arguments``, which must all fit.

    Build one with ``parse``, or from fields that are known to be good.
    """

    states: tuple[str, ...] = ()  # "retrying": scheduled, after a failure
    types: tuple[str, ...] = ()  # registered names stand for their former names too
    queues: tuple[str, ...] = ()
    worker: str = ""
    error: str = ""  # a part of the last failure's line
    fingerprint: str = ""  # failure group of the last failure
    arguments: tuple[tuple[str, Any], ...] = ()  # (dotted path, value); a number also finds the same digits as text
    ids: tuple[int, ...] = ()
    correlation: str = ""
    parent: int | None = None
    since: datetime | None = None  # created then or later
    until: datetime | None = None  # created before
    text: tuple[str, ...] = ()  # each somewhere in type, last error or arguments
    operation: int | None = None  # what this bulk operation moved
    sensitive: bool = True  # whether ``text`` may look into the arguments of types with sensitive ones
    engine: bool = True  # whether the engine's own jobs are among them
    lowest: int | None = None  # no job before this id: see ``pinned``
    highest: int | None = None  # no job after this id

    @classmethod
    def parse(cls, text: str, **params: str | Sequence[str]) -> Selection:
        """The selection that ``text`` describes, narrowed by ``params``: values by qualifier (``state="failed"``).

        Raises InvalidSelection, saying what was wrong.
        """
        from handlers.selection.parsing import parse

        return parse(text, params)

    @property
    def is_empty(self) -> bool:
        """Whether nothing narrows it: every job fits."""
        return replace(self, sensitive=True, engine=True) == Selection()

    @property
    def is_by_name(self) -> bool:
        """Whether an index of types or queues leads to its jobs: that of a failure group comes before these."""
        return bool(self.types or self.queues) and not self.fingerprint

    @property
    def looks_at_newest(self) -> bool:
        """Whether it looks at the newest WINDOW jobs only, of those that fit what an index can find."""
        from handlers.selection.matching import is_windowed

        return is_windowed(self)

    def rows(self, alias: str | None = None) -> QuerySet[JobRecord]:
        """The jobs, in no order. ``alias``: the database, default where jobs are read."""
        from handlers.selection.matching import rows

        return rows(self, alias)

    def page(
        self,
        size: int,
        *,
        before: int | None = None,
        after: int | None = None,
        only: Sequence[str] = (),
        alias: str | None = None,
    ) -> list[JobRecord]:
        """At most ``size`` jobs by id: newest first; with ``after`` oldest first, and newer than that one.

        ``before``: only older ones. ``only``: the fields to read. Its cost is that of the page, wherever it is, however
        many jobs there are.
        """
        from handlers.selection.matching import page

        return page(self, size, before=before, after=after, only=only, alias=alias)

    def look(
        self, size: int, *, before: int | None = None, after: int | None = None, seconds: float | None = None
    ) -> Look:
        """The same for people: where no index finds the jobs, as many of them as are met in a short time, and how far.

        ``seconds``: after which no further read begins. From where it ended, the next look goes on.
        """
        from handlers.selection.looking import look

        return look(self, size, before=before, after=after, seconds=seconds)

    def pinned(self, alias: str | None = None) -> Selection:
        """The same, with the ids written down between which its times and the newest WINDOW jobs lie.

        So it means the same jobs later, and is quicker to read several times.
        """
        from handlers.selection.matching import pinned

        return pinned(self, alias)

    def __str__(self) -> str:
        """The search text that ``parse`` reads back as this selection."""
        words = [f"id:{job_id}" for job_id in self.ids]
        for name, value in (("bulk", self.operation), ("parent", self.parent)):
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
        words += [f"args.{path}:{_argument(value)}" for path, value in self.arguments]
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
                value = [list(item) if isinstance(item, tuple) else item for item in value]
            made[field.name] = value
        return made

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Selection:
        """The selection that ``to_json`` wrote. Raises InvalidSelection for anything else."""
        from handlers.selection.parsing import restore

        return restore(data)


def _argument(value: Any) -> str:
    return written(value, always=True) if isinstance(value, str) else json.dumps(value)
