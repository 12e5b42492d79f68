"""Django's Tasks, as durable jobs: ``TASKS = {"default": {"BACKEND": "handlers.tasks.DurableBackend"}}``."""

from __future__ import annotations

from handlers.tasks.backend import DurableBackend, as_job

__all__ = ["DurableBackend", "as_job"]
