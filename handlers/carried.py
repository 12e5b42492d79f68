"""Context that travels: what the code that enqueues a job is about, its handler finds again.

A small mapping of names to JSON beside the job's arguments: what ``handlers.context`` has set, the language where
another one than the site's is active, and the values of what ``JOBS["CONTEXT"]`` names. It is the job's for good,
whatever its attempts are, and becomes that of the code that its handler runs: so it goes on to what that enqueues.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils import translation
from django.utils.module_loading import import_string

from handlers.conf import CONTEXT_NAME, CONTEXT_OWN, jobs_settings
from handlers.exceptions import InvalidJob
from handlers.wording import worded

F = TypeVar("F", bound=Callable[..., Any])

USER, LANGUAGE = CONTEXT_OWN
MOST_BYTES = 4_096  # of one job's context, as JSON
LANGUAGE_TAG = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,4}(@[A-Za-z0-9]{1,20})?")
NOTHING: Mapping[str, Any] = MappingProxyType({})

_given: ContextVar[Mapping[str, Any]] = ContextVar("handlers_context", default=NOTHING)
# What was given around the innermost open block, and so on outwards. Not the block's own: several threads and tasks may
# be in the same one at once.
_before: ContextVar[Any] = ContextVar("handlers_context_before", default=None)


class Carrier(Protocol):
    """What ``JOBS["CONTEXT"]`` may name beside a ContextVar. In async handlers its value must be its task's own."""

    def get(self) -> Any:
        """The value of here and now, plain JSON; None: there is none."""

    def set(self, value: Any, /) -> Any:
        """Let it be ``value`` from here on."""


class Later:
    """In place of a value: what gives it, asked only where a job is enqueued."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.value = function


class context:  # noqa: N801 - used in a with statement, and as a decorator
    """Jobs and events that are enqueued in here, from whatever depth, carry these names to their handlers.

        with context(user=request.user, tenant="acme"):
            job_scheduler.enqueue(SendReceipt(7))

    Also a decorator of functions, async ones too. Values are plain JSON, all together at most 4,096 bytes; ``user`` may
    be a user, of whom the login is kept. ``language``, such as "pt-br", is that of the handler. None takes a name away
    that a block around this one has set. What is wrong is refused where a job is enqueued: InvalidJob, its field
    ``context``.
    """

    def __init__(self, /, **names: Any) -> None:
        self._names = names

    def __enter__(self) -> None:
        before = _given.get()
        _before.set((before, _before.get()))
        _given.set({**before, **self._names})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (found := _before.get()) is not None:
            before, outer = found
            _given.set(before)
            _before.set(outer)

    def __call__(self, function: F) -> F:
        """``function``, each call of which runs in such a block."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def within(*args: Any, **kwargs: Any) -> Any:
                with context(**self._names):
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def within(*args: Any, **kwargs: Any) -> Any:
                with context(**self._names):
                    return function(*args, **kwargs)

        return within  # type: ignore[return-value]


def capture() -> str | None:
    """The context of here and now as JSON; None where there is none. Raises InvalidJob (``context``)."""
    given, carriers, language = _given.get(), _carriers(), translation.get_language()
    is_usual = language is None or language == settings.LANGUAGE_CODE
    if not given and not carriers and is_usual:
        return None
    found: dict[str, Any] = {} if is_usual else {LANGUAGE: language}
    for name, carrier in carriers.items():
        found[name] = _get(carrier)
    found |= given
    return encoded({name: _value(name, value) for name, value in found.items()})


def encoded(values: Mapping[str, Any]) -> str | None:
    """``values`` as a job keeps them; None where there are none but Nones. Raises InvalidJob (``context``)."""
    parts = [f"{json.dumps(_name(name))}:{_json(name, value)}" for name, value in values.items() if value is not None]
    if not parts:
        return None
    text = f"{{{','.join(parts)}}}"
    if (size := len(text.encode())) > MOST_BYTES:
        longest = max((name for name in values), key=lambda name: len(str(values[name])))
        raise InvalidJob(
            worded(
                "context: %(size)d bytes as JSON are more than the limit of %(limit)d, most of them of %(name)s: keep"
                " it elsewhere, and its id here",
                size=size, limit=MOST_BYTES, name=repr(longest),
            ),
            field="context",
        )  # fmt: skip
    return text


@contextmanager
def entered(text: str) -> Iterator[None]:
    """Let a context, as ``capture`` has made it, be that of here and now; afterwards all is as it was before."""
    values: dict[str, Any] = json.loads(text)
    carriers = _carriers()
    with ExitStack() as stack:
        if (language := values.pop(LANGUAGE, None)) and language != translation.get_language():
            stack.enter_context(translation.override(language))
        for name, carrier in carriers.items():
            if name in values:
                stack.enter_context(_set(carrier, values.pop(name)))
        stack.enter_context(_set(_given, values))
        yield


@contextmanager
def only(text: str | None) -> Iterator[None]:
    """The same, and nothing else: what is of here and now, and not in ``text``, is not there meanwhile."""
    values: dict[str, Any] = json.loads(text) if text else {}
    with ExitStack() as stack:
        language = values.pop(LANGUAGE, None) or settings.LANGUAGE_CODE
        if language != (translation.get_language() or language):
            stack.enter_context(translation.override(language))
        for name, carrier in _carriers().items():
            value = values.pop(name, None)
            if value is not None or _get(carrier) is not None:
                stack.enter_context(_set(carrier, value))
        if values or _given.get():
            stack.enter_context(_set(_given, values))
        yield


def wrong_carriers() -> list[str]:
    """What is wrong with the paths that ``JOBS["CONTEXT"]`` names, in words."""
    found = []
    for name, path in jobs_settings().context.items():
        try:
            _carrier(name, path)
        except ImproperlyConfigured as error:
            found.append(str(error))
    return found


def _get(carrier: Any) -> Any:
    return carrier.get(None) if isinstance(carrier, ContextVar) else carrier.get()


@contextmanager
def _set(carrier: Any, value: Any) -> Iterator[None]:
    if isinstance(carrier, ContextVar):
        token = carrier.set(value)
        try:
            yield
        finally:
            carrier.reset(token)
        return
    before = carrier.get()
    carrier.set(value)
    try:
        yield
    finally:
        carrier.set(before)


@cache
def _carriers() -> Mapping[str, Any]:
    return {name: _carrier(name, path) for name, path in jobs_settings().context.items()}


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting == "JOBS":
        _carriers.cache_clear()


def _carrier(name: str, path: str) -> Any:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"JOBS CONTEXT: {name!r}: {path!r} cannot be imported: {error}.") from None
    if not callable(getattr(found, "get", None)) or not callable(getattr(found, "set", None)):
        raise ImproperlyConfigured(
            f"JOBS CONTEXT: {name!r}: {path!r} is no contextvars.ContextVar, and no object with get() and set(value)."
        )
    return found


def _value(name: str, value: Any) -> Any:
    if isinstance(value, Later):
        value = value.value()
    if name == USER and hasattr(value, "get_username"):
        return str(value.get_username()) or None  # an anonymous user has none
    return value


def _name(name: object) -> str:
    if isinstance(name, str) and CONTEXT_NAME.fullmatch(name):
        return name
    raise InvalidJob(
        worded(
            "context: %(name)s is no name: use up to 64 letters, digits, dots, hyphens and underscores, a letter first",
            name=repr(str(name)[:100]),
        ),
        field="context",
    )


def _json(name: str, value: Any) -> str:
    """``value`` as JSON, which comes back as it is. Messages show no value: it may be secret."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
        is_plain = "\\u0000" not in text and json.loads(text) == value
    except (TypeError, ValueError, RecursionError):
        is_plain = False
    if not is_plain:
        raise InvalidJob(
            worded(
                "context: %(name)s must be plain JSON (text, numbers, true and false, lists, dicts with names of text),"
                " not %(kind)s",
                name=name, kind=type(value).__name__,
            ),
            field="context",
        )  # fmt: skip
    if name == LANGUAGE and not (isinstance(value, str) and LANGUAGE_TAG.fullmatch(value)):
        raise InvalidJob(
            worded("context: %(name)s must be a language's code, such as 'pt-br'", name=name), field="context"
        )
    return text
