"""From the text of one field of a cron line to the values it names. What cannot be read is refused, with its mend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from handlers.exceptions import InvalidJob

_SHOWN = 40  # characters of a wrong text that an error repeats
_PART = re.compile(r"(?:(\*)|([0-9]+|[A-Za-z]+)(?:-([0-9]+|[A-Za-z]+))?)(?:/([0-9]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """One of the six: its ``name`` in errors, its values ``low`` to ``high``, and their ``names`` from ``low`` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def read(self, text: str) -> tuple[int, ...]:
        """The values that ``text``, a list of single values, ranges and steps, names; sorted. Raises InvalidJob."""
        values: set[int] = set()
        for part in text.split(","):
            values.update(self.values(part))
        return tuple(sorted(values))

    def values(self, part: str) -> range | list[int]:
        """The values of one part of the list."""
        match = _PART.fullmatch(part)
        if match is None:
            self._refuse_unread(part)
        star, first, last, step = match.groups()
        low = self.low if star else self.value(first)
        high = self._end(last, low) if last else self.high if star or step else low
        if high < low:
            self._refuse_backwards(part, low, high, step)
        if step is not None:
            self._check_step(part, low, high, step)
        found = range(low, high + 1, int(step or 1))
        return [value % 7 for value in found] if self is WEEKDAY else found

    def value(self, text: str) -> int:
        """The value of a number or a name."""
        if text.isdecimal():
            # Of a number too long for any field the length is enough: int() of thousands of digits would raise.
            number = int(text) if len(text) <= 4 else 10_000
            if not self.low <= number <= self._top:
                self.refuse(f"{_shown(text)} is out of range", f"write {self.low} to {self._top}")
            return number
        if text.lower() not in self.names:
            known = f", or a name such as {self.names[1].upper()}" if self.names else ""
            self.refuse(f"{_shown(text)} is not known", f"write a number from {self.low} to {self._top}{known}")
        return self.low + self.names.index(text.lower())

    def refuse(self, reason: str, mend: str) -> NoReturn:
        """Raise InvalidJob with what is wrong in this field and how to mend it."""
        raise InvalidJob(f"cron: {self.name}: {reason}: {mend}", field="cron")

    @property
    def _top(self) -> int:
        return 7 if self is WEEKDAY else self.high

    def _end(self, text: str, low: int) -> int:
        """The value of a range's end: FRI-SUN ends on day 7, SUN-SUN on day 0."""
        value = self.value(text)
        return 7 if self is WEEKDAY and value == 0 and low > 0 else value

    def _check_step(self, part: str, low: int, high: int, step: str) -> None:
        if not step.strip("0"):
            self.refuse(f"the step in {_shown(part)} is zero", "write a step of 1 or more")
        if low > high or len(step.lstrip("0")) > 4 or int(step) > high - low:
            self.refuse(f"the step in {_shown(part)} reaches nothing after {low}", f"write {low} alone")

    def _refuse_backwards(self, part: str, low: int, high: int, step: str | None) -> NoReturn:
        if low > self.high:  # 7/2, 7-2
            self.refuse(f"{_shown(part)} starts with 7, the end of the week", f"write {part.replace('7', '0', 1)}")
        mend = f"{self._name(low)}-{self._name(self.high)},{self._name(self.low)}-{self._name(high)}"
        if step is not None:
            mend += ", each with a step of its own"
        self.refuse(f"{_shown(part)} runs backwards", f"write {mend}")

    def _name(self, value: int) -> str:
        return self.names[value - self.low].upper() if self.names else str(value)

    def _refuse_unread(self, part: str) -> NoReturn:
        if not part:
            self.refuse("a part is empty", "write a value on both sides of each comma")
        self.refuse(f"{_shown(part)} cannot be read", "write values, ranges and steps, such as 5, 1-5, */2 or 1-5/2")


def _shown(text: str) -> str:
    return repr(text[:_SHOWN])


SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day of month", 1, 31)
MONTH = Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
WEEKDAY = Field("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
