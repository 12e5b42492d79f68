"""``task`` with all that a job can have, on every Django: that of Django 6.0 takes nothing beyond Django's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from handlers.tasks.families import native


def task(
    function: Callable[..., Any] | None = None,
    *,
    priority: int = 0,
    queue_name: str = "default",
    backend: str = "default",
    takes_context: bool = False,
    **options: Any,
) -> Any:
    """``function`` as a task of ``django.tasks``; on Django 5.2, of the package.

    As ``django.tasks.task`` of Django 6.1. ``options``: what the backend's class of tasks takes, such as
    ``max_attempts``. Raises its InvalidTask for what does not fit.
    """

    def made(func: Callable[..., Any]) -> Any:
        return (
            native()
            .backends[backend]
            .task_class(
                func=func,
                priority=priority,
                queue_name=queue_name,
                backend=backend,
                takes_context=takes_context,
                run_after=None,
                **options,
            )
        )

    return made if function is None else made(function)
