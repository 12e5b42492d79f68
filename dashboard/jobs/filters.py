"""The job list's filters. Their choices come from what is declared, never from a scan of the table."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from dashboard.kit.filters import SPANS, Choices, DeclaredFilter
from dashboard.kit.queries import STATES
from dashboard.kit.reach import seen
from dashboard.kit.vocabulary import state_label
from handlers.models import WorkerProcess
from handlers.queues import known_queues

MAX_WORKERS = 100  # that are offered


class JobFilter(DeclaredFilter):
    """A part of the job list's address. ``dashboard.kit.search`` reads all parts at once: here they are only shown."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Unchanged."""
        return queryset


class StateFilter(JobFilter):
    """By state; the job list shows it as tabs."""

    title = gettext_lazy("state")
    parameter_name = "state"
    is_select = False

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The states, what needs attention first."""
        return [(value, capfirst(state_label(value))) for value in STATES]


class TypeFilter(JobFilter):
    """By job type; a type's former names count as the type."""

    title = gettext_lazy("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The registered types."""
        return [(name, name) for name in sorted(seen(request).types())]


class QueueFilter(JobFilter):
    """By queue."""

    title = gettext_lazy("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The declared queues."""
        reach = seen(request)
        return [(name, name) for name in sorted(known_queues() if reach.is_whole else reach.queues())]


class WorkerFilter(JobFilter):
    """By the worker that has the job, or had it last."""

    title = gettext_lazy("worker")
    parameter_name = "worker"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The workers that have said that they are there."""
        names = WorkerProcess.objects.filter(kind="worker").order_by("name").values_list("name", flat=True)
        return [(name, name) for name in names[:MAX_WORKERS]]


class SinceFilter(JobFilter):
    """By when the job was created."""

    title = gettext_lazy("time")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """A few spans; ``since:`` and ``until:`` in the search box take any."""
        return [(name, str(words)) for name, words in SPANS]
