"""A django-rq site's jobs as durable ones, by settings alone, its code unchanged.

``RQ = {"QUEUE_CLASS": "handlers.adoption.DurableQueue", "SCHEDULER_CLASS": "handlers.adoption.DurableScheduler",
"JOB_CLASS": "handlers.adoption.DurableJob"}``. See docs/django-rq.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from handlers.lazily import lazy

if TYPE_CHECKING:
    from handlers.adoption.handle import DurableJob
    from handlers.adoption.queue import DurableQueue
    from handlers.adoption.scheduler import DurableScheduler

__all__ = ["DurableJob", "DurableQueue", "DurableScheduler"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "DurableJob": "handlers.adoption.handle",
            "DurableQueue": "handlers.adoption.queue",
            "DurableScheduler": "handlers.adoption.scheduler",
        },
    )
