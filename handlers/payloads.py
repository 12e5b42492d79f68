"""Job and Command bases, and their way to JSON and back. The only module that knows the validation library (pydantic).

A payload is a standard dataclass. Its hints are enforced when it is encoded, so that a wrong value fails at the enqueue
and not in a worker, and again when it is decoded. Messages name the field and the reason and never show a value:
arguments may be secret, or huge.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, NoReturn, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import PydanticSerializationError, core_schema

from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob
from handlers.misfits import in_words
from handlers.wording import Figures, worded


class _Payload:
    __slots__ = ()
    # Instances are checked again, because a dataclass's own __init__ checks nothing.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always"
    )


class Job(_Payload):
    """Base of job types: subclass it as ``@dataclass(frozen=True)``; the fields are the job's arguments.

    Field types: whatever pydantic reads from JSON, such as int, str, bool, float, Decimal, datetime, timedelta, UUID,
    enums, nested dataclasses, list, dict, tuple, unions and Optional. Strict: a str in an int field is refused, not
    converted.
    """

    __slots__ = ()


class Command(_Payload):
    """Base of commands: subclass it as ``@dataclass(frozen=True)``; fields as for ``Job``."""

    __slots__ = ()


class Event(_Payload):
    """Base of events: subclass it as ``@dataclass(frozen=True)``; fields as for ``Job``.

    Stored under ``app_label.ClassName``, unless ``class OrderPlaced(Event, name="shop.Placed")`` says otherwise;
    ``aliases``: former names, a tuple, so that a rename strands no stored event.
    """

    __slots__ = ()

    def __init_subclass__(cls, *, name: str | None = None, aliases: tuple[str, ...] | None = None) -> None:
        # What is not said stays: dataclass(slots=True) makes the class a second time, and says nothing.
        if name is not None:
            cls._event_name = name  # type: ignore[attr-defined]
        if aliases is not None:
            cls._event_aliases = aliases  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class ExecuteCommandJob(Job):
    """The job that runs ``command`` in a worker.

    It exists in Python only: what is stored, and what the console shows, is the command under its own name.
    """

    command: Command


Payload = Job | Command | Event
DEEPEST = 100  # levels of nesting that a payload may have
LONGEST_REASON = 500  # characters of what is said of a value
P = TypeVar("P", bound=Payload)


def unwrap(payload: object) -> Any:
    """What is stored for ``payload``: the command in an ``ExecuteCommandJob``, else ``payload`` itself."""
    while isinstance(payload, ExecuteCommandJob):
        payload = payload.command
    return payload


def check_class(cls: Any) -> None:
    """Raise InvalidJob, saying how to mend it, unless ``cls`` is a dataclass whose hints can be checked and stored."""
    if not isinstance(cls, type) or not issubclass(cls, Job | Command):
        raise InvalidJob(f"{_name(cls)} is not a job type: derive a class from handlers.Job or handlers.Command")
    _check_dataclass(cls)


def check_event_class(cls: Any) -> None:
    """The same of an event's class."""
    if not isinstance(cls, type) or not issubclass(cls, Event) or cls is Event:
        raise InvalidJob(f"{_name(cls)} is not an event: derive a class from handlers.Event", field="event")
    _check_dataclass(cls)


def _check_dataclass(cls: type) -> None:
    if "__dataclass_fields__" not in cls.__dict__:
        raise InvalidJob(f"{_name(cls)} is not a dataclass: put @dataclass(frozen=True) above the class")
    for field in dataclasses.fields(cast("Any", cls)):
        if not field.init:
            raise InvalidJob(
                f"{_name(cls)}: field {field.name} has init=False, so a stored job could not be read back:"
                " make it a property, or a normal field",
                field=field.name,
            )
    _adapter(cls)


def encode(payload: Payload, *, type_name: str) -> bytes:
    """``payload`` as JSON. Raises InvalidJob when a value does not fit its hint, cannot be stored, or is too large."""
    cls: Any = type(payload)
    adapter = _adapter(cls)
    try:
        adapter.validator.validate_python(payload)
        data = adapter.serializer.to_json(payload)
        again = adapter.validator.validate_json(data)
    except Exception as error:  # noqa: BLE001 - the class's own validators may raise anything
        _refuse(error, type_name, payload)
    check_size(data, type_name)
    # The handler must get what was enqueued: a tuple in a field of type Any would come back as a list.
    for name in _field_names(cls):
        before, after = getattr(payload, name), getattr(again, name)
        if before != after and not _is_same(before, after):
            _refuse_unstorable(type_name, payload)
            raise _invalid(
                type_name, name,
                worded(
                    "this value would come back from JSON as another one: give the field a hint that names its exact"
                    " type"
                ),
            )  # fmt: skip
    if b"\\u0000" in data:
        _refuse_unstorable(type_name, payload)
    return data


def encode_without(payload: Payload, without: Collection[str], *, type_name: str) -> bytes:
    """The same of what is there already: all fields but ``without``. Those are checked when they have come."""
    cls: Any = type(payload)
    hints = get_type_hints(cls, include_extras=True)
    fields = {
        name: encode_value(getattr(payload, name), hints[name], what=f"{type_name}: {name}").decode()
        for name in _field_names(cls)
        if name not in without
    }
    data = f"{{{','.join(f'{json.dumps(name)}:{value}' for name, value in fields.items())}}}".encode()
    check_size(data, type_name)
    return data


_PLAIN = (
    "take plain types (text, numbers, true and false, lists, dicts with names of text), or, where a function returns"
    " it, a return hint that names its type"
)


def encode_value(value: Any, hint: Any, *, what: str) -> bytes:
    """``value``, which is no payload, as JSON. Raises InvalidJob (``what``) unless it fits ``hint`` and is storable."""
    try:
        _refuse_unstorable(what, value)
        adapter = _adapter(hint)
        adapter.validator.validate_python(value, strict=True)
        data = adapter.dump_json(value, warnings="error")
        again = adapter.validator.validate_json(data)
    except InvalidJob:
        raise
    except PydanticSerializationError:
        raise InvalidJob(f"{what}: cannot be stored as JSON: {_PLAIN}") from None
    except Exception as error:  # noqa: BLE001 - the class's own validators may raise anything
        _refuse(error, what, value)
    if value != again and not _is_same(value, again):
        raise InvalidJob(f"{what}: would come back from JSON as another value: {_PLAIN}")
    return data


def value_schema(hint: Any) -> dict[str, Any]:
    """The JSON schema of values of ``hint``. Raises InvalidJob."""
    return _adapter(hint).json_schema()


def decode(cls: type[P], data: Any, *, type_name: str) -> P:
    """A ``cls`` from ``data``, a JSON value as Python has it, or bytes as ``encode`` makes them.

    Raises InvalidJob when it does not fit the hints.
    """
    adapter: TypeAdapter[P] = _adapter(cls)
    if isinstance(data, bytes):
        text = data
    else:
        try:
            text = json.dumps(data, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            _refuse_unstorable(type_name, data)
            raise _invalid(type_name, "", worded("the arguments are not JSON")) from None
    if b"\\u" in text:
        _refuse_unstorable(type_name, _value(data))
    try:
        payload: P = adapter.validator.validate_json(text)
        return payload
    except Exception as error:  # noqa: BLE001 - the class's own validators may raise anything
        _refuse(error, type_name, _value(data))


def _value(data: Any) -> Any:
    return json.loads(data) if isinstance(data, bytes) else data


def schema(cls: type[Payload]) -> dict[str, Any]:
    """The JSON schema of ``cls``."""
    return _adapter(cls).json_schema()


@dataclasses.dataclass(frozen=True, slots=True)
class Polymorphic:
    """Annotation for a field that holds any job or command, stored as ``{"type": name, "payload": {...}}``.

    ``to_json``: what is stored for an object; ``from_json``: the object for a type name and its payload. Both raise
    InvalidJob. They are passed in, because the registry that knows the names is above this module.
    """

    to_json: Callable[[Any], dict[str, Any]]
    from_json: Callable[[str, Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """How the validation library handles the field."""
        stored = core_schema.typed_dict_schema(
            {
                "type": core_schema.typed_dict_field(core_schema.str_schema(strict=True)),
                "payload": core_schema.typed_dict_field(core_schema.any_schema()),
            },
            extra_behavior="forbid",
        )
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(
                lambda value: self.from_json(value["type"], value["payload"]), stored
            ),
            python_schema=core_schema.no_info_plain_validator_function(self._check),
            serialization=core_schema.plain_serializer_function_ser_schema(self.to_json),
        )

    def _check(self, value: Any) -> Any:
        self.to_json(value)
        return value


def _build_adapter(cls: Any) -> TypeAdapter[Any]:
    try:
        adapter = TypeAdapter(cls)
        adapter.rebuild(raise_errors=True)
        adapter.json_schema()
    except PydanticUndefinedAnnotation as error:
        raise InvalidJob(
            f"{_name(cls)}: the hint {error.name} is not defined: import it at the top of the module (not under"
            " TYPE_CHECKING) and define it above the class, at module level"
        ) from error
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError, NameError) as error:
        raise InvalidJob(
            f"{_name(cls)}: a hint cannot be stored as JSON: use plain types, dataclasses, or the id of a model"
            f" instead of the model ({str(error).splitlines()[0][:300]})"
        ) from error
    return adapter


_adapter: Callable[[Any], TypeAdapter[Any]] = cache(_build_adapter)


@cache
def _field_names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def _refuse(error: Exception, type_name: str, value: Any) -> NoReturn:
    """Raise InvalidJob for what the validation library raised; without the value."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        path = _path(first["loc"], value, is_missing=first["type"] == "missing")
        reason: str = in_words(first["type"], first["msg"])
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, InvalidJob):  # from a job or command inside this one
            path = ".".join(part for part in (path, cause.field) if part)
            reason = cause.args[0]
        elif first["type"] == "union_tag_invalid":  # its message shows the value
            reason = worded("Input does not match any of the expected variants")
    else:
        _refuse_unstorable(type_name, value)
        path = ""
        name = type(error).__name__
        reason = worded("the arguments cannot be stored as JSON (%(error)s)", error=name)
        if not isinstance(error, PydanticSerializationError):  # raised by the class's own __post_init__ or validators
            reason = worded("the arguments were refused with %(error)s", error=name)
    raise _invalid(type_name, path, reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON]) from None


def _refuse_unstorable(type_name: str, value: Any) -> None:
    """Raise InvalidJob for the first value that a database or JSON cannot hold; return when there is none."""
    for path, reason in _unstorable(value, ()):
        raise _invalid(type_name, _dotted(path), reason) from None


def _invalid(type_name: str, field: str, reason: str) -> InvalidJob:
    where = ": ".join(part for part in (type_name, field) if part)
    return InvalidJob(worded("%(field)s: %(message)s", field=where, message=reason) if where else reason, field=field)


def _unstorable(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if len(path) > DEEPEST:
        yield path[:3], worded("nested more than %(levels)s levels deep", levels=DEEPEST)
    elif isinstance(value, str):
        if "\0" in value:
            yield path, worded("text with a NUL character cannot be stored")
        elif not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            yield path, worded("text with a lone surrogate is not valid Unicode")
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, worded("NaN and infinity cannot be stored")
    else:
        for place, item in _items(value):
            yield from _unstorable(item, (*path, place))


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key), key
            yield str(key), item
    elif isinstance(value, list | tuple | set | frozenset):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name, None)


def _is_same(a: Any, b: Any) -> bool:
    """Whether ``b``, read back from JSON, stands for ``a``."""
    a, b = unwrap(a), unwrap(b)
    if isinstance(a, datetime) and isinstance(b, datetime) and a.utcoffset() is not None:
        # In UTC: where clocks are put back, an hour a year, Python calls equal instants of different zones unequal.
        return b.utcoffset() is not None and a.astimezone(UTC) == b.astimezone(UTC)
    if dataclasses.is_dataclass(a):  # not ==: the class may have none
        return type(a) is type(b) and all(_is_same(x, y) for (_, x), (_, y) in zip(_items(a), _items(b), strict=True))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_is_same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
    return bool(a == b)


def _path(loc: Sequence[str | int], value: Any, *, is_missing: bool) -> str:
    """``loc`` as a dotted path into ``value``, without what names a branch of a union and not a place."""
    path: list[str | int] = []
    part: Any
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]
        elif dataclasses.is_dataclass(value) and isinstance(part, str) and hasattr(value, part):
            value = getattr(value, part)
        elif not (last and is_missing and isinstance(value, dict)):  # a missing field is a place
            continue
        path.append(part)
    return _dotted(path)


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(part)[:100] for part in path).encode("utf-8", "replace").decode().replace("\0", "?")


def check_size(data: bytes, type_name: str) -> None:
    limit = jobs_settings().max_payload_bytes
    if len(data) > limit:
        raise _invalid(
            type_name, "",
            worded(
                "the arguments take %(size)s bytes as JSON, more than the limit of %(limit)s: store the data elsewhere"
                " and pass its id, or raise JOBS['MAX_PAYLOAD_BYTES']",
                size=Figures(f"{len(data):,}"), limit=Figures(f"{limit:,}"),
            ),
        )  # fmt: skip


def _name(cls: object) -> str:
    return getattr(cls, "__qualname__", None) or repr(cls)[:100]
