"""A selection of jobs: read from text, stored as JSON, and turned into rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import QuerySet

from handlers.models import JobRecord
from handlers.selection import looking, matching, parsing
from handlers.selection.criteria import Criteria
from handlers.selection.reach import NOTHING, Part, Reach, present


class Selection(Criteria):
    """Which jobs: those that fit every part that is given.

    Build one with ``parse``, or from fields that are known to be good.
    """

    @classmethod
    def parse(cls, text: str, **params: str | Sequence[str]) -> Selection:
        """The selection that ``text`` describes, narrowed by ``params``: values by qualifier (``state="failed"``).

        Raises InvalidSelection, saying what was wrong.
        """
        return cls(**parsing.parse(text, params))

    @classmethod
    def guess(cls, text: str, **params: str | Sequence[str]) -> Selection:
        """The same for a person who sees what was made of it: of a name that is no qualifier the words are looked for.

        ``mends`` says which these are, and what may have been meant.
        """
        return cls(**parsing.parse(text, params, guess=True))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Selection:
        """The selection that ``to_json`` wrote. Raises InvalidSelection for anything else."""
        return cls(**parsing.restore(data))

    def kept_within(self, reach: Reach) -> Selection:
        """The same jobs as far as they are within ``reach``, of which a selection that is stored remembers it."""
        if reach.parts is None:
            return self
        parts = (Reach.of(self.within) & reach if self.within else reach).parts
        reached = replace(self, within=parts or (NOTHING,)).reached()
        if not parts or not reached:
            return replace(self, types=(), queues=(), within=(NOTHING,))
        if len(reached) == 1:
            return reached[0]
        # What is without is not even named.
        types = tuple(name for name in self.types if any(present(name) in way.types for way in reached))
        queues = tuple(name for name in self.queues if any(name in way.queues for way in reached))
        return replace(self, types=types, queues=queues, within=parts)

    def is_within(self, reach: Reach) -> bool:
        """Whether all its jobs are within ``reach``, whatever jobs there are."""
        return reach.holds([Part(way.types, way.queues) for way in self.reached() if way.types != NOTHING.types])

    @property
    def looks_at_newest(self) -> bool:
        """Whether it looks at the newest WINDOW jobs only, of those that fit what an index can find."""
        return matching.is_windowed(self)

    def rows(self, alias: str | None = None) -> QuerySet[JobRecord]:
        """The jobs, in no order. ``alias``: the database, default where jobs are read."""
        return matching.rows(self, alias)

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
        return matching.page(self, size, before=before, after=after, only=only, alias=alias)

    def look(
        self, size: int, *, before: int | None = None, after: int | None = None, seconds: float | None = None
    ) -> looking.Look:
        """The same for people: where no index finds the jobs, as many of them as are met in a short time, and how far.

        ``seconds``: after which no further read begins. From where it ended, the next look goes on.
        """
        return looking.look(self, size, before=before, after=after, seconds=seconds)

    def pinned(self, alias: str | None = None) -> Selection:
        """The same, with the ids written down between which its times and the newest WINDOW jobs lie.

        So it means the same jobs later, and is quicker to read several times.
        """
        return matching.pinned(self, alias)
