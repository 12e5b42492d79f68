"""The job list's filters. Their choices come from what is declared, never from a scan of the table."""

from __future__ import annotations

from collections.abc import Callable, Collection
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

    def offered(self) -> Choices:
        """With the name of a state that has no tab of its own, too."""
        return [(value, capfirst(state_label(value))) for value, _value in super().offered()]


def types_of(request: HttpRequest) -> Collection[str]:
    """The registered types, as far as this person sees jobs of them."""
    return seen(request).types()


def queues_of(request: HttpRequest) -> Collection[str]:
    """The declared queues, as far as this person sees jobs on them."""
    reach = seen(request)
    return known_queues() if reach.is_whole else reach.queues()


NAMES: dict[str, Callable[[HttpRequest], Collection[str]]] = {"type": types_of, "queue": queues_of}


class TypeFilter(JobFilter):
    """By job type; a type's former names count as the type, and a part of names as all that have it."""

    title = gettext_lazy("type")
    parameter_name = "type"
    names_url = "admin:jobs_names"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The registered types."""
        return [(name, name) for name in sorted(types_of(request))]


class QueueFilter(JobFilter):
    """By queue."""

    title = gettext_lazy("queue")
    parameter_name = "queue"
    names_url = "admin:jobs_names"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The declared queues."""
        return [(name, name) for name in sorted(queues_of(request))]


class WorkerFilter(JobFilter):
    """By the worker that has the job, or had it last."""

    title = gettext_lazy("worker")
    parameter_name = "worker"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The workers that have said that they are there, and serve queues of which this person sees jobs."""
        reach = seen(request)
        rows = WorkerProcess.objects.filter(kind="worker").order_by("name").values_list("name", "queues")[:MAX_WORKERS]
        within = None if reach.is_whole else reach.queues()
        return [(name, name) for name, queues in rows if within is None or within.intersection(queues)]


class SinceFilter(JobFilter):
    """By when the job was created."""

    title = gettext_lazy("time")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """A few spans; ``since:`` and ``until:`` in the search box take any."""
        return [(name, str(words)) for name, words in SPANS]
