"""A django-rq site's jobs as durable ones, by settings alone, its code unchanged.

``RQ = {"QUEUE_CLASS": "handlers.adoption.DurableQueue", "SCHEDULER_CLASS": "handlers.adoption.DurableScheduler",
"JOB_CLASS": "handlers.adoption.DurableJob"}``. See docs/django-rq.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handlers.adoption.handle import DurableJob
    from handlers.adoption.queue import DurableQueue
    from handlers.adoption.scheduler import DurableScheduler

__all__ = ["DurableJob", "DurableQueue", "DurableScheduler"]

_WHERE = {"DurableJob": "handle", "DurableQueue": "queue", "DurableScheduler": "scheduler"}


def __getattr__(name: str) -> Any:
    """The classes, which need Django's apps."""
    from importlib import import_module

    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
