"""What is said of a filter that cannot be read."""

from __future__ import annotations

from handlers.exceptions import JobsError
from handlers.wording import worded


class InvalidSelection(JobsError, ValueError):
    """A search or filter is wrong. ``field`` is the qualifier, empty: the text as a whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(worded("%(field)s: %(message)s", field=field, message=message) if field else message)
        self.field = field
        self.message = message
