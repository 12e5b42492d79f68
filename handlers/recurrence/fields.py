"""From the text of one field of a cron line to the values it names. What cannot be read is refused, with its mend."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from handlers.exceptions import InvalidJob
from handlers.wording import worded

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
                self.refuse(
                    worded("%(text)s is out of range", text=_shown(text)),
                    worded("write %(low)s to %(top)s", low=self.low, top=self._top),
                )
            return number
        if text.lower() not in self.names:
            self.refuse(
                worded("%(text)s is not known", text=_shown(text)),
                worded(
                    "write a number from %(low)s to %(top)s, or a name such as %(name)s",
                    low=self.low,
                    top=self._top,
                    name=self.names[1].upper(),
                )
                if self.names
                else worded("write a number from %(low)s to %(top)s", low=self.low, top=self._top),
            )
        return self.low + self.names.index(text.lower())

    def refuse(self, reason: str, mend: str) -> NoReturn:
        """Raise InvalidJob with what is wrong in this field and how to mend it."""
        raise InvalidJob(
            worded("cron: %(field)s: %(reason)s: %(mend)s", field=self.name, reason=reason, mend=mend), field="cron"
        )

    @property
    def _top(self) -> int:
        return 7 if self is WEEKDAY else self.high

    def _end(self, text: str, low: int) -> int:
        """The value of a range's end: FRI-SUN ends on day 7, SUN-SUN on day 0."""
        value = self.value(text)
        return 7 if self is WEEKDAY and value == 0 and low > 0 else value

    def _check_step(self, part: str, low: int, high: int, step: str) -> None:
        if not step.strip("0"):
            self.refuse(worded("the step in %(part)s is zero", part=_shown(part)), worded("write a step of 1 or more"))
        if low > high or len(step.lstrip("0")) > 4 or int(step) > high - low:
            self.refuse(
                worded("the step in %(part)s reaches nothing after %(low)s", part=_shown(part), low=low),
                worded("write %(low)s alone", low=low),
            )

    def _refuse_backwards(self, part: str, low: int, high: int, step: str | None) -> NoReturn:
        if low > self.high:  # 7/2, 7-2
            self.refuse(
                worded("%(part)s starts with 7, the end of the week", part=_shown(part)),
                worded("write %(part)s", part=part.replace("7", "0", 1)),
            )
        right = f"{self._name(low)}-{self._name(self.high)},{self._name(self.low)}-{self._name(high)}"
        mend = worded("write %(part)s", part=right)
        if step is not None:
            mend = worded("write %(part)s, each with a step of its own", part=right)
        self.refuse(worded("%(part)s runs backwards", part=_shown(part)), mend)

    def _name(self, value: int) -> str:
        return self.names[value - self.low].upper() if self.names else str(value)

    def _refuse_unread(self, part: str) -> NoReturn:
        if not part:
            self.refuse(worded("a part is empty"), worded("write a value on both sides of each comma"))
        self.refuse(
            worded("%(part)s cannot be read", part=_shown(part)),
            worded("write values, ranges and steps, such as 5, 1-5, */2 or 1-5/2"),
        )


def _shown(text: str) -> str:
    return repr(text[:_SHOWN])


SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day of month", 1, 31)
MONTH = Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
WEEKDAY = Field("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
