"""Asynchronous twins of verbs that talk to the database, as Django's ORM has them: ``enqueue``, ``aenqueue``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def twin(verb: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """The same verb for a caller on an event loop, which it does not hold up: same arguments, answers and errors.

    It runs on the thread and the connection that the asynchronous ORM of the same context uses. A caller that is
    cancelled meanwhile does not know whether it was carried out; it never is by halves.
    """
    run = sync_to_async(verb, thread_sensitive=True)

    @wraps(verb)
    async def asynchronous(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await run(self, *args, **kwargs)

    asynchronous.__name__ = f"a{verb.__name__}"
    asynchronous.__qualname__ = f"{verb.__qualname__.rpartition('.')[0]}.{asynchronous.__name__}"
    asynchronous.__doc__ = f"``{verb.__name__}`` for asynchronous callers."
    return asynchronous
