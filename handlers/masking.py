"""Hiding sensitive arguments: in what is shown, and in what is recorded of an attempt.

Text shorter than three characters is not looked for: it would be found everywhere. A handler that changes a secret
before it raises it (encodes it, cuts it) is not seen through.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus

from handlers.conf import jobs_settings
from handlers.exceptions import JobsError
from handlers.job_types import JobType
from handlers.payloads import Command, Job
from handlers.registry import registry

MASK = "••••••"
SHORTEST = 3  # characters that are looked for in a text
MOST = 1_000  # values that are looked for in a text
CUT = 250  # characters of a text that may have been cut
SHORTEST_END, LONGEST_END = 4, 300  # characters at the end of a cut text that count as the beginning of a secret

_Path = tuple[str, ...]


def mask(job_type: JobType | None, data: Any) -> Any:
    """``data``, a job's arguments as JSON, with MASK for what is sensitive.

    Of a type that is not registered here nobody can tell, so all is masked but names and lengths. The same goes for
    names that a type with sensitive fields does not know: they may be former ones.
    """
    if job_type is None:
        return _all(data)
    secret = _split(job_type)
    if secret and isinstance(data, dict):
        known = job_type.schema().get("properties", {})
        return {
            key: _masked(value, _below(secret, key)) if key in known else _all(value) for key, value in data.items()
        }
    return _masked(data, secret)


def mask_paths(paths: Iterable[str], data: Any) -> Any:
    """``data``, a JSON value, with MASK for what is at these dotted paths."""
    return _masked(data, tuple(tuple(path.split(".")) for path in paths))


def mask_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """``context``, what travels with a job, with MASK for what ``JOBS["SENSITIVE_CONTEXT"]`` names."""
    return {name: MASK if name in _hidden_names() else value for name, value in context.items()}


def _hidden_names() -> tuple[str, ...]:
    return jobs_settings().sensitive_context


def mask_object(job_type: JobType, payload: Any) -> Any:
    """A copy of ``payload``, an object of ``job_type``, with MASK for what is sensitive, whatever its hint says."""
    return _masked_object(payload, _split(job_type))


def _masked_object(value: Any, secret: tuple[_Path, ...]) -> Any:
    if value is None or () in secret:
        return None if value is None else MASK
    if isinstance(value, Job | Command) and not secret:  # one that is an argument has secrets of its own
        try:
            secret = _split(registry.for_object(value))
        except JobsError:
            return MASK
    if isinstance(value, dict):
        return {key: _masked_object(item, _below(secret, key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_masked_object(item, secret) for item in value]
        return items if hasattr(value, "_fields") else type(value)(items)
    if hasattr(value, "__dataclass_fields__"):
        made = copy.copy(value)
        for name in value.__dataclass_fields__:
            object.__setattr__(made, name, _masked_object(getattr(value, name, None), _below(secret, name)))
        return made
    return MASK if secret else value


def mask_result(job_type: JobType | None, data: Any, payload: Any) -> Any:
    """``data``, what a job's handler returned, with MASK for what its hint marks, and for what ``payload`` marks."""
    if job_type is None:
        return _all(data)
    secret = tuple(tuple(path.split(".")) if path else () for path in job_type.result.sensitive_fields)
    return _scrubbed(_masked(data, secret) if secret else data, scrubber(job_type, payload))


def _scrubbed(value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {hide(key): _scrubbed(item, hide) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrubbed(item, hide) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if (text := str(value)) == hide(text) else MASK
    return hide(value) if isinstance(value, str) else value


def scrub(text: str, job_type: JobType | None, payload: Any) -> str:
    """``text`` with MASK for each sensitive value of ``payload``: as it is, and as JSON, repr and URL write it."""
    return scrubber(job_type, payload)(text)


def scrubber(job_type: JobType | None, payload: Any, context: Any = None) -> Callable[[str], str]:
    """``scrub`` for many texts of one job: its values are collected once. ``context``: what travels with it."""
    return hiding(_secrets(job_type, payload, context) if job_type is not None else [])


def hiding(values: Sequence[Any]) -> Callable[[str], str]:
    """What puts MASK for each of these values, single ones, wherever a text has it."""
    words = _words(values)

    def hide(text: str) -> str:
        for word in words:
            if word in text:
                text = text.replace(word, MASK)
            # A text that was cut may end in the beginning of a secret.
            ends = range(min(len(word) - 1, len(text), LONGEST_END), SHORTEST_END - 1, -1)
            cut = next((size for size in ends if text.endswith(word[:size])), 0) if len(text) >= CUT else 0
            text = f"{text[: len(text) - cut]}{MASK}" if cut else text
        return text

    return hide


def is_sensitive(job_type: JobType | None, path: str) -> bool:
    """Whether ``path`` (dotted) is, lies in, or holds a sensitive argument of ``job_type``."""
    if job_type is None:
        return True
    asked = tuple(path.split("."))
    return any(asked[: len(known)] == known or known[: len(asked)] == asked for known in _split(job_type))


def values_at(paths: Iterable[str], data: Any) -> list[Any]:
    """The single values that ``data``, a JSON value or an object, has at these dotted paths, and below."""
    secret = tuple(tuple(path.split(".")) for path in paths)
    return list(_values(data, secret)) if secret else []


def _secrets(job_type: JobType, payload: Any, context: Any) -> list[Any]:
    """The values that are sensitive, one by one."""
    secret = _split(job_type)
    values = list(_values(payload, secret))
    if values:
        with suppress(JobsError):  # as the handler sees them: a time is written in another way than in JSON
            values += _values(job_type.decode(payload), secret)
    values += job_type.secrets(payload)
    return values + values_in(context or {})


def values_in(context: Mapping[str, Any]) -> list[Any]:
    """The single values in what travels with a job that ``JOBS["SENSITIVE_CONTEXT"]`` names."""
    return [leaf for name in _hidden_names() if name in context for leaf in _leaves(context[name])] if context else []


def _words(values: Sequence[Any]) -> list[str]:
    """What to look for, the longest first, so that none is cut by another that it contains."""
    found: set[str] = set()
    for value in values[:MOST]:
        for form in _forms(value):
            if len(form) >= SHORTEST:
                found.add(form)
    return sorted(found, key=lambda word: (-len(word), word))


def _forms(value: Any) -> Iterator[str]:
    if isinstance(value, bool) or value is None:
        return
    text = str(value)
    yield text
    yield repr(value).removeprefix("'").removesuffix("'") if isinstance(value, str) else repr(value)
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    with suppress(UnicodeError):
        yield quote(text, safe="")
        yield quote_plus(text)
    if "\n" in text:
        yield from (line.strip() for line in text.splitlines())


def _values(value: Any, secret: tuple[_Path, ...]) -> Iterator[Any]:
    """The values in ``value`` that are sensitive: without names, one by one. ``secret``: paths from here."""
    if () in secret:
        yield from _leaves(value)
        return
    nested = None if secret else _nested(value)
    if nested is not None:
        yield from _values(nested[1], _split(nested[0]) if nested[0] else ())
        return
    children = _children(value)
    if children is None and secret:  # of another shape than the type says
        yield from _leaves(value)
    for name, item in children or ():
        yield from _values(item, secret if name is None else _below(secret, name))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value  # the names, where they are not fixed, are secret too
    children = _children(value)
    if children is None:
        yield getattr(value, "value", value)  # of an enum member
    for _, item in children or ():
        yield from _leaves(item)


def _children(value: Any) -> list[tuple[str | None, Any]] | None:
    """What lies in ``value``, by name or, in lists, without one; None where it holds nothing."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return [(None, item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return [(name, getattr(value, name, None)) for name in value.__dataclass_fields__]
    return None


def _masked(value: Any, secret: tuple[_Path, ...]) -> Any:
    """``value`` with MASK at the paths ``secret``, which start here; where its shape is another one, all of it."""
    if value is None:
        return None
    if () in secret:
        return MASK
    if isinstance(value, list):
        return [_masked(item, secret) for item in value]
    if isinstance(value, dict):
        nested = _nested(value)
        if nested is not None and not secret:
            return {**value, "payload": mask(nested[0], value["payload"])}
        return {key: _masked(item, _below(secret, key)) for key, item in value.items()}
    return MASK if secret else value


def _nested(value: Any) -> tuple[JobType | None, Any] | None:
    """The type and the arguments of a job that is itself an argument; None for anything else.

    The type is None where it is not registered here; a name without a dot is then no job's.
    """
    if isinstance(value, dict) and value.keys() == {"type", "payload"} and isinstance(value["type"], str):
        with suppress(JobsError):
            return registry.get(value["type"]), value["payload"]
        if "." in value["type"]:
            return None, value["payload"]
    return None


def _all(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_all(item) for item in value]
    return None if value is None else MASK


def _split(job_type: JobType) -> tuple[_Path, ...]:
    return tuple(tuple(path.split(".")) for path in job_type.sensitive_fields)


def _below(secret: tuple[_Path, ...], key: Any) -> tuple[_Path, ...]:
    return tuple(path[1:] for path in secret if path and path[0] == key)
