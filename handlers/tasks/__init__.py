"""Django's Tasks, as durable jobs: ``TASKS = {"default": {"BACKEND": "handlers.tasks.DurableBackend"}}``."""

from __future__ import annotations

from handlers.tasks.backend import DurableBackend, as_job
from handlers.tasks.decorating import task

__all__ = ["DurableBackend", "as_job", "task"]
