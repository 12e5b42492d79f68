"""Under which name a queue of ours stands in RQ: its own, unless the site has one of that name whose jobs are pickles.

A worker of RQ's that unpickles fails every message that is not a pickle, and ours are JSON. So beside such a queue ours
has a name of its own, which no queue of ours can have: ``jobs:default`` beside ``default``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from rq.queue import Queue

BESIDE = "jobs:"


def reads_json(config: dict[str, Any]) -> bool:
    """Whether workers of this entry of RQ_QUEUES read JSON; without a word about it they read pickles."""
    return "json" in str(config.get("SERIALIZER", "pickle")).lower()


@cache
def rq_name(queue: str) -> str:
    """The name of our ``queue`` as RQ knows it."""
    config = (getattr(settings, "RQ_QUEUES", None) or {}).get(queue)
    return queue if config is None or reads_json(config) else BESIDE + queue


def queue_key(queue: str) -> str:
    """The Redis key of the list of our ``queue``."""
    return Queue.redis_queue_namespace_prefix + rq_name(queue)


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting == "RQ_QUEUES":
        rq_name.cache_clear()
