"""The handlers of this app as async ones: what is promised of jobs holds for both kinds."""

from __future__ import annotations

from dataclasses import replace
from functools import update_wrapper
from typing import Any

from asgiref.sync import sync_to_async

from handlers import CancellationToken, current_run
from handlers.job_types import JobType
from handlers.many.types import ManyType
from handlers.registry import registry


def make_async() -> None:
    """From now on those that are sync are run by coroutines, in threads."""
    for job_type in registry.all():
        is_plain = not (job_type.is_async or job_type.atomic or isinstance(job_type, ManyType))
        if is_plain and job_type.handler.__module__.startswith(f"{__package__}."):
            registry.register(replace(job_type, handler=_coroutine(job_type)))


def _coroutine(job_type: JobType) -> Any:
    async def handle(job: Any, token: CancellationToken) -> Any:
        return await sync_to_async(job_type.run, thread_sensitive=False)(job, token, current_run)

    update_wrapper(handle, job_type.handler, updated=())
    del handle.__wrapped__  # type: ignore[attr-defined]  # its signature is another one
    return handle
