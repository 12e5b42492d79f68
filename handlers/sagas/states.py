"""A saga's state to JSON and back, checked by its hints as a job's arguments are."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from functools import cached_property
from typing import Any

from handlers import masking, payloads, sensitive
from handlers.exceptions import InvalidJob
from handlers.payloads import Job

PREFIX, SUFFIX = b'{"state":', b"}"


class StateShape:
    """How the state of one type of saga is stored. Raises InvalidJob where it cannot be."""

    def __init__(self, saga: str, cls: Any) -> None:
        self._saga, self.cls = saga, cls
        if not isinstance(cls, type) or not dataclasses.is_dataclass(cls):
            raise InvalidJob(
                f"{saga}: its state must be a dataclass: class {saga.rpartition('.')[2]}(Saga[MyState]), with"
                " @dataclass(frozen=True) above class MyState",
                field="state",
            )
        # As a field of what is checked strictly it is checked so itself, and nothing is written into the app's class.
        self._holder: Any = dataclasses.dataclass(frozen=True)(
            type("Held", (Job,), {"__annotations__": {"state": cls}, "__module__": __name__})
        )
        payloads.check_class(self._holder)
        try:
            first = cls()
        except Exception as error:
            raise InvalidJob(
                f"{saga}: a saga's state starts as {cls.__qualname__}(), which raised {type(error).__name__}: give each"
                " of its fields a default",
                field="state",
            ) from error
        self.encode(first)

    def encode(self, state: Any) -> bytes:
        """``state`` as JSON. Raises InvalidJob, naming the field."""
        if not isinstance(state, self.cls):
            raise InvalidJob(
                f"{self._saga}: self.state must be a {self.cls.__qualname__}, not a {type(state).__qualname__}",
                field="state",
            )
        data = payloads.encode(self._holder(state), type_name=self._saga)
        return data[len(PREFIX) : -len(SUFFIX)]

    def decode(self, data: str) -> Any:
        """The state from JSON text. Raises InvalidJob where it does not fit the hints."""
        return payloads.decode(self._holder, PREFIX + data.encode() + SUFFIX, type_name=self._saga).state

    @property
    def fields(self) -> tuple[str, ...]:
        """Its fields, by name."""
        return tuple(each.name for each in dataclasses.fields(self.cls))

    @cached_property
    def secret(self) -> frozenset[str]:
        """What is sensitive in it: dotted paths, below ``state``."""
        return sensitive.paths(self.schema())

    def secrets_of(self, data: Any) -> list[Any]:
        """The sensitive values in a state, ``data`` as JSON."""
        values = masking.values_at(self.secret, {"state": data})
        if values:
            with suppress(InvalidJob):  # as methods see them: a time is written in another way than in JSON
                state = self.decode(json.dumps(data))
                values += masking.values_at(self.secret, {"state": state})
        return values

    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        return payloads.schema(self._holder)
