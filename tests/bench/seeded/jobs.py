"""The types of the made-up jobs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from handlers import FixedBackoff, Job, RetryPolicy, handles

TYPES, QUEUES = (int(os.environ.get(f"BENCH_{word}", most)) for word, most in (("TYPES", 200), ("QUEUES", 50)))


@dataclass(frozen=True)
class Order(Job):
    """What each of them is given."""

    order_id: int
    customer: str
    express: bool


def declare(number: int) -> None:
    """One of the types, whose handler does nothing."""

    def handle(job: Job) -> None:
        """Do nothing."""

    name = f"Type{number:03d}"
    job_class: Any = dataclass(frozen=True)(type(name, (Order,), {"__module__": __name__, "__qualname__": name}))
    handle.__qualname__ = f"handle_{name}"
    retry = RetryPolicy(max_attempts=1 + number % 5, backoff=FixedBackoff(timedelta(seconds=30)))
    handles(job_class, queue=f"lane-{number % QUEUES:03d}", name=f"seed.{name}", retry=retry)(handle)


for number in range(TYPES):
    declare(number)
