"""The filters of the lists. Their choices come from what is declared, never from a scan of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from dashboard.queries import STATES
from handlers.gateway import known_queues
from handlers.models import WorkerProcess
from handlers.registry import registry

MAX_WORKERS = 100  # offered by the job list's
SPANS = (("1h", "Last hour"), ("24h", "Last 24 hours"), ("7d", "Last 7 days"), ("30d", "Last 30 days"))

Choices = list[tuple[str, str]]


class DeclaredFilter(SimpleListFilter):
    """A filter that keeps an unknown value as a choice: an old permalink still says what it shows."""

    def offered(self) -> Choices:
        """The declared choices, and the present value where it is none of them."""
        declared = [(str(choice), str(label)) for choice, label in self.lookup_choices]
        value = self.value()
        return declared if value is None or value in dict(declared) else [*declared, (value, value)]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """A link for each that is offered."""
        self.lookup_choices = [*self.offered()]
        return super().choices(changelist)

    def has_output(self) -> bool:
        """Shown even with a single choice, so that the page keeps its shape."""
        return bool(self.lookup_choices) or self.value() is not None


class JobFilter(DeclaredFilter):
    """A part of the job list's address. ``dashboard.search`` reads all parts at once: here they are only shown."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Unchanged."""
        return queryset


class StateFilter(JobFilter):
    """By state; the job list shows it as tabs."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The states, what needs attention first."""
        return [(value, value.capitalize()) for value in STATES]


class TypeFilter(JobFilter):
    """By job type; a type's former names count as the type."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The registered types."""
        return [(job_type.name, job_type.name) for job_type in registry.all()]


class QueueFilter(JobFilter):
    """By queue."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The declared queues."""
        return [(name, name) for name in sorted(known_queues())]


class WorkerFilter(JobFilter):
    """By the worker that has the job, or had it last."""

    title = "worker"
    parameter_name = "worker"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The workers that have said that they are there."""
        names = WorkerProcess.objects.filter(kind="worker").order_by("name").values_list("name", flat=True)
        return [(name, name) for name in names[:MAX_WORKERS]]


class SinceFilter(JobFilter):
    """By when the job was created."""

    title = "time"
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """A few spans; ``since:`` and ``until:`` in the search box take any."""
        return list(SPANS)
