"""The two packages that have ``Task``: Django's own since 6.0, and ``django-tasks``, from which it came.

Both may be there at once: on Django 6, an app may still import the package. Then each has its own backends, made from
the one setting ``TASKS``, its own class of ``Task``, its own errors and signals.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

DJANGO, PACKAGE = NAMES = ("django.tasks", "django_tasks")


class Family:
    """What one of them calls its parts."""

    def __init__(self, name: str) -> None:
        self.name = name
        base, errors = import_module(f"{name}.base"), import_module(f"{name}.exceptions")
        self.task: Any = base.Task
        self.result: Any = base.TaskResult
        self.context: Any = base.TaskContext
        self.error: Any = base.TaskError
        self.status: Any = base.TaskResultStatus
        self.backend: Any = import_module(f"{name}.backends.base").BaseTaskBackend
        self.does_not_exist: Any = errors.TaskResultDoesNotExist
        self.invalid: Any = errors.InvalidTask if name == DJANGO else errors.InvalidTaskError

    @property
    def backends(self) -> Any:
        """Its connection handler."""
        return import_module(self.name).task_backends

    @cached_property
    def signals(self) -> Any:
        """Its module of signals."""
        return import_module(f"{self.name}.signals")


@cache
def family(name: str) -> Family:
    """The one of this name, which must be there."""
    return Family(name)


@cache
def native() -> Family:
    """Django's own, or where Django has none, the package. Raises ImproperlyConfigured where neither is there."""
    for name in NAMES:
        if find_spec(name) is not None:
            return family(name)
    raise ImproperlyConfigured("Django before 6.0 has no django.tasks: pip install django-tasks, which is the same.")


def in_use() -> Iterator[Family]:
    """The native one, and the other if somebody has imported it."""
    yield native()
    if native().name == DJANGO and PACKAGE in sys.modules:
        yield family(PACKAGE)


def family_of(task: Any) -> Family | None:
    """Whose ``Task`` this is; None for whatever is none."""
    return next((each for each in in_use() if isinstance(task, each.task)), None)


def owner_of(backend: Any) -> Family:
    """Which of them has made this backend; the native one, if somebody else has."""
    first, *others = in_use()
    for other in others:
        if any(each is backend for each in other.backends.all(initialized_only=True)):
            return other
    return first
