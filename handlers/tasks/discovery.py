"""Where tasks are found: in each app's ``tasks.py``, and by the path that a job is of."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from handlers.registry import registry

logger = logging.getLogger(__name__)

_failures: dict[str, str] = {}


def failures() -> dict[str, str]:
    """The modules that could not be imported, and why."""
    return dict(_failures)


def autodiscover() -> None:
    """Import the ``tasks.py`` of every installed app, so that each process knows the same tasks.

    One that needs what is not there (many apps have tasks for another system) is passed over, with a warning of
    ``check``. Any other error comes through.
    """
    from handlers.tasks.families import native

    registry.find_with(find)
    native().backends.all()  # each names its queues
    for config in apps.get_app_configs():
        name = f"{config.name}.tasks"
        if config.module is None or not module_has_submodule(config.module, "tasks"):
            continue
        try:
            import_module(name)
        except ImportError as error:
            _failures[name] = str(error)


def find(path: str) -> None:
    """Have the task at ``path`` registered, if there is one: a function's module and name.

    The module is imported, which registers the tasks that it makes; else the name must lead to one. Nothing is called.
    """
    from handlers.tasks.families import family_of

    module, _, name = path.rpartition(".")
    while module and apps.ready:
        found = _imported(module)
        if found is not None:
            task = _at(found, name)
            if not registry.has(path) and family_of(task) is not None and task.module_path == path:
                _register(task)
            return
        module, _, last = module.rpartition(".")
        name = f"{last}.{name}"


def _imported(name: str) -> Any:
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            logger.warning("cannot import %s, which a job's type names: %s", name, error)
        return None
    except Exception:
        logger.warning("cannot import %s, which a job's type names", name, exc_info=True)
        return None


def _at(module: Any, name: str) -> Any:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _register(task: Any) -> None:
    """A task that another backend has made: it came to this one by ``.using(backend=...)``."""
    from handlers.tasks.task_types import declare

    backend = _durable(task)
    if backend is not None:
        declare(task, backend._policy, backend._timeout)


def _durable(task: Any) -> Any:
    """A backend of this kind, of the task's family; None where there is none any more."""
    from handlers.tasks.backend import DurableBackend
    from handlers.tasks.families import family_of

    of = family_of(task)
    return next((each for each in of.backends.all() if isinstance(each, DurableBackend)), None) if of else None
