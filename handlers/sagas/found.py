"""A saga while a round has it: what it was, and what it has become so far."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from handlers.events.rows import Coming
from handlers.events.subscribers import key_value
from handlers.exceptions import InvalidJob
from handlers.sagas.rows import Key, NewTurn, Row, jobs_asked_for
from handlers.sagas.turn import Turn
from handlers.sagas.types import SagaType

LONGEST_ERROR = 500


class Came(NamedTuple):
    """What a turn comes of."""

    at: datetime
    kind: str
    name: str  # the event's type, or the timeout's name
    event_id: int | None
    job_id: int


@dataclass(slots=True, eq=False)
class Found:
    """One saga. ``id`` is None until it is written for the first time."""

    id: int | None
    correlation: str
    data: str = ""  # its state as JSON text; empty: it has none so far
    turns: int = 0
    is_complete: bool = False
    error: str = ""
    unreadable: str = ""
    label: str = ""
    fields: dict[str, Any] = field(default_factory=dict)  # of the event that starts it
    is_changed: bool = False
    timeline: list[dict[str, Any]] = field(default_factory=list)
    sent: set[int] = field(default_factory=set)  # jobs that it asked for in this round
    _state: Any = None

    @classmethod
    def of(cls, row: Row) -> Found:
        """One that there is."""
        return cls(row.id, row.correlation, row.data, row.turns, row.is_complete, row.error, row.unreadable)

    @classmethod
    def started(cls, coming: Coming) -> Found:
        """One that an event starts."""
        value = json.loads(coming.value)
        label = f"{coming.key} {value if isinstance(value, str) else coming.value}"[:200]
        correlation = coming.correlation or f"event-{coming.event_id}"
        return cls(None, correlation, label=label, fields=json.loads(coming.data))

    def state(self, saga_type: SagaType) -> Any:
        """Its state. Raises InvalidJob where this code cannot read it."""
        if self._state is None:
            self._state = saga_type.shape.decode(self.data) if self.data else saga_type.shape.cls()
        return self._state

    def can_be_read(self, saga_type: SagaType) -> bool:
        """Whether this code can read its state; else ``unreadable`` says why not."""
        try:
            self.state(saga_type)
        except InvalidJob as error:
            words = f"its state does not fit the code that runs: {error}"[:LONGEST_ERROR]
            self.is_changed = self.is_changed or words != self.unreadable
            self.unreadable = words
            return False
        self.is_changed = self.is_changed or self.unreadable != ""
        self.unreadable = ""
        return True

    def learned(self, saga_type: SagaType, data: str) -> dict[Key, None]:
        """By what it is found with the state ``data``, as far as that and its start say."""
        state = json.loads(data)
        found: dict[Key, None] = {}
        for key in saga_type.keys:
            value = state.get(key)
            if value is None:
                value = self.fields.get(key)
            if value is not None:
                found[key, key_value(saga_type.name, key, value)] = None
        return found

    def turned(self, came: Came, turn: Turn, state: Any, data: str) -> None:
        """A turn of it has come to this."""
        self._note(came, turn.asked, data)
        self.sent |= jobs_asked_for(turn.asked)
        self.data, self._state = data, state
        self.turns += 1
        self.error = ""
        self.is_complete = self.is_complete or turn.is_complete

    def failed(self, came: Came, error: str) -> None:
        """A turn of it has raised, and nothing of what it asked for is done."""
        self._note(came, [], None, error)
        self._state = None  # the method may have changed it in place
        self.error = error

    def _note(self, came: Came, asked: Sequence[dict[str, Any]], after: str | None, error: str = "") -> None:
        self.is_changed = True
        told = {"asked": json.dumps(asked, ensure_ascii=False), "before": self.data or None, "after": after}
        self.timeline.append({**came._asdict(), **told, "error": error})

    def new_turns(self) -> list[NewTurn]:
        """What is to be written of its turns, once it has an id."""
        assert self.id is not None
        return [NewTurn(self.id, **each) for each in self.timeline]
