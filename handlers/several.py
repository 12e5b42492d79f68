"""Several that are given at once: that they are several, and which of them is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from handlers.exceptions import InvalidJob, NoHandler
from handlers.wording import worded


def for_each(field: str, values: object, what: str) -> None:
    """Raise InvalidJob (``field``) unless ``values`` can be several, such as a list of ``what``."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidJob(f"{field}: takes several, such as a list of {what}, not {repr(values)[:60]}", field=field)


def tell_which(error: InvalidJob | NoHandler, field: str, place: int) -> None:
    """Have ``error``, raised of one of several, say of which: ``jobs.17.amount``."""
    where = f"{field}.{place}"
    error.args = (worded("%(field)s: %(message)s", field=where, message=error.args[0]),)
    if isinstance(error, InvalidJob):
        inner = "" if error.field == field.removesuffix("s") else error.field  # the one as a whole
        error.field = f"{where}.{inner}".rstrip(".")


def rename(error: InvalidJob, old: str, new: str) -> None:
    """Have ``error``, which says of which of ``old``, say what its caller calls them."""
    if error.field.startswith(f"{old}."):
        error.field = error.field.replace(old, new, 1)
        error.args = (str(error).replace(old, new, 1),)
