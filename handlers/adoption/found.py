"""A job of RQ's as Redis has it: read without RQ, so that nothing is unpickled that nobody vouched for."""

from __future__ import annotations

import io
import json
import pickle
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

LARGEST = 16 * 1024 * 1024  # of what is unpacked: data that claims to be more is not read


class Unreadable(Exception):
    """Why a call cannot be read, in words that are one of few."""


class _Plain(pickle.Unpickler):
    """Reads what is made of plain values. Whatever would import something is refused, so no code runs."""

    def find_class(self, module: str, name: str) -> Any:
        raise Unreadable("its arguments hold objects, which are no JSON")


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be called."""

    path: str
    args: list[Any]
    kwargs: dict[str, Any]


class FoundJob:
    """One, by its hash; the values are bytes."""

    def __init__(self, rq_id: str, fields: Mapping[str, bytes]) -> None:
        self.id, self._fields = rq_id, fields

    def text(self, name: str) -> str:
        """A field; empty when it is not there."""
        return (self._fields.get(name) or b"").decode(errors="replace")

    def number(self, name: str) -> int | None:
        """A field that holds a whole number; None when it does not."""
        try:
            return int(self._fields.get(name) or b"")
        except ValueError:
            return None

    def time(self, name: str) -> datetime | None:
        """A field that holds a time."""
        try:
            return datetime.fromisoformat(self.text(name))
        except ValueError:
            return None

    def listed(self, name: str) -> list[Any]:
        """A field that holds a JSON list; empty when it does not."""
        try:
            found = json.loads(self._fields.get(name) or b"[]")
        except ValueError:
            return []
        return found if isinstance(found, list) else []

    @property
    def is_there(self) -> bool:
        """Whether there is such a job: lists name jobs that have gone."""
        return bool(self._fields.get("data"))

    @property
    def is_pickled(self) -> bool:
        """Whether its call is no JSON, as far as can be told without reading it."""
        return self._data[:1] != b"["

    def call(self, *, trust_pickle: bool) -> Call:
        """What is to be called. Raises Unreadable."""
        content = self._load(self._data, trust_pickle=trust_pickle)
        if not isinstance(content, list | tuple) or len(content) != 4:
            raise Unreadable("its data is no call of RQ's")
        path, instance, args, kwargs = content
        if instance is not None:
            raise Unreadable("it calls a method of an object")
        if not isinstance(path, str) or not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
            raise Unreadable("its data is no call of RQ's")
        return Call(path, list(args), kwargs)

    def meta(self, *, trust_pickle: bool) -> dict[str, Any]:
        """What goes with it. Raises Unreadable."""
        raw = self._fields.get("meta")
        found = self._load(raw, trust_pickle=trust_pickle) if raw else {}
        if not isinstance(found, dict):
            raise Unreadable("its meta is no dict")
        return found

    @property
    def _data(self) -> bytes:
        raw = self._fields.get("data") or b""
        unpacking = zlib.decompressobj()
        try:
            data = unpacking.decompress(raw, LARGEST)
        except zlib.error:
            return raw
        return b"" if unpacking.unconsumed_tail else data

    def _load(self, data: bytes, *, trust_pickle: bool) -> Any:
        if data[:1] in (b"[", b"{"):
            try:
                return json.loads(data)
            except (ValueError, RecursionError):
                raise Unreadable("its data is no JSON") from None
        if not trust_pickle:
            raise Unreadable("it is a pickle")
        try:
            return _Plain(io.BytesIO(data)).load()
        except Unreadable:
            raise
        except Exception:  # noqa: BLE001 - whatever a pickle's reading raises
            raise Unreadable("its data cannot be read") from None
