"""What tasks are called with and return, as JSON: normalised as Django does, and refused where Django would mangle it.

Tuples and other sequences become lists, mappings dicts, bytes text. What no JSON has, and what a database cannot store,
is refused: ``json`` would write NaN as no JSON, and the key 1 as "1".
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from handlers.exceptions import GiveUp, InvalidJob
from handlers.payloads import DEEPEST

Path = tuple[str | int, ...]
MOST_BITS = 1_024  # of a number that needs no closer look: Python writes those of some thousand digits only


class InvalidArguments(InvalidJob, TypeError):
    """An argument cannot be stored. A TypeError as well: as that Django has it."""


class InvalidResult(GiveUp, TypeError):
    """What a task returned cannot be stored. It has run, and would return the like again: it is not tried again."""


class _Refused(Exception):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.field = ".".join(str(part)[:100] for part in path).encode("utf-8", "replace").decode().replace("\0", "?")

    def told(self, type_name: str) -> str:
        return f"{type_name}: {self.field}: {self}"


def arguments(args: Sequence[Any], kwargs: Mapping[str, Any], *, type_name: str) -> dict[str, Any]:
    """Both as JSON values. Raises InvalidArguments, naming the place."""
    try:
        return {"args": _plain(args, ("args",)), "kwargs": _plain(kwargs, ("kwargs",))}
    except _Refused as error:
        raise InvalidArguments(error.told(type_name), field=error.field) from None


def metadata(value: Any, *, type_name: str) -> Any:
    """Metadata as a JSON value. Raises InvalidArguments."""
    try:
        return _plain(value, ("metadata",))
    except _Refused as error:
        raise InvalidArguments(error.told(type_name), field=error.field) from None


def returned(value: Any, *, type_name: str) -> Any:
    """What a task returned, as a JSON value. Raises InvalidResult."""
    if value is None:
        return None
    try:
        return _plain(value, ("result",))
    except _Refused as error:
        raise InvalidResult(error.told(type_name)) from None


def _plain(value: Any, path: Path) -> Any:
    if value is None or isinstance(value, int):
        return value if value is None or value.bit_length() < MOST_BITS else _number(value, path)
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Refused(path, "NaN and infinity cannot be stored")
        return value
    return _nested(value, path)


def _nested(value: Any, path: Path) -> Any:
    if len(path) > DEEPEST:
        raise _Refused(path[:4], f"nested more than {DEEPEST} levels deep")
    # The usual classes first: what an abstract one is asked for costs some times as much.
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, place)) for place, item in enumerate(value)]
    if isinstance(value, dict | Mapping):
        return {_key(key, path): _plain(item, (*path, str(key))) for key, item in value.items()}
    if isinstance(value, bytes):
        try:
            return _text(value.decode(), path)
        except UnicodeDecodeError:
            raise _Refused(path, f"Unsupported value: {type(value)}: bytes that are no UTF-8 text") from None
    if isinstance(value, Sequence):
        return [_plain(item, (*path, place)) for place, item in enumerate(value)]
    raise _Refused(
        path, f"Unsupported type: {type(value)}: pass what JSON has, such as the id of a model and not the model"
    )


def _number(value: int, path: Path) -> int:
    try:
        str(value)  # as it is written, and will be read
    except ValueError:
        raise _Refused(
            path, f"a number of more than {sys.get_int_max_str_digits():,} digits cannot be stored"
        ) from None
    return value


def _text(value: str, path: Path) -> str:
    if "\0" in value:
        raise _Refused(path, "text with a NUL character cannot be stored")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise _Refused(path, "text with a lone surrogate is not valid Unicode")
    return value


def _key(key: Any, path: Path) -> str:
    if not isinstance(key, str):
        raise _Refused(path, f"keys must be text in JSON, not {type(key).__name__}")
    return _text(key, (*path, key))
