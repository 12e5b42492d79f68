"""The filters of the lists. Their choices come from what is declared, never from a scan of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from dashboard.queries import STATES, in_state, queue_names
from handlers.registry import registry

MAX_USERS = 100  # offered by the audit's filter

Choices = list[tuple[str, str]]


class DeclaredFilter(SimpleListFilter):
    """A filter that keeps an unknown value as a choice: an old permalink still says what it shows."""

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """The declared choices, and the present value where it is none of them."""
        value = self.value()
        if value is not None and value not in {str(choice) for choice, _ in self.lookup_choices}:
            self.lookup_choices = [*self.lookup_choices, (value, value)]
        return super().choices(changelist)

    def has_output(self) -> bool:
        """Shown even with a single choice, so that the page keeps its shape."""
        return bool(self.lookup_choices) or self.value() is not None


class StateFilter(DeclaredFilter):
    """By state; the job list shows it as tabs."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The states, what needs attention first."""
        return [(value, value.capitalize()) for value in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The jobs in that state."""
        value = self.value()
        return queryset.filter(in_state(value)) if value else queryset


class TypeFilter(DeclaredFilter):
    """By job type; a type's former names count as the type."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The registered types."""
        return [(job_type.name, job_type.name) for job_type in registry.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The jobs of that type."""
        value = self.value()
        if not value:
            return queryset
        aliases = next((job_type.aliases for job_type in registry.all() if job_type.name == value), ())
        return queryset.filter(job_type__in=[value, *aliases])


class QueueFilter(DeclaredFilter):
    """By queue."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The declared queues."""
        return [(name, name) for name in queue_names()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The jobs of that queue."""
        value = self.value()
        return queryset.filter(queue=value) if value else queryset


class VerbFilter(DeclaredFilter):
    """Audit entries by what was done."""

    title = "verb"
    parameter_name = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """The gateway's verbs."""
        verbs = ("enqueue", "schedule", "retry", "requeue", "delete", "restore", "pause_queue", "resume_queue")
        return [(verb, verb.replace("_", " ").capitalize()) for verb in verbs]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The entries of that verb."""
        value = self.value()
        return queryset.filter(verb=value) if value else queryset


class UserFilter(DeclaredFilter):
    """Audit entries by who did it, by name: an entry outlives its user."""

    title = "user"
    parameter_name = "user"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Those who can open the console."""
        users = get_user_model()._default_manager.filter(is_staff=True).order_by("pk")[:MAX_USERS]
        return [(user.get_username(), user.get_username()) for user in users]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The entries of that user."""
        value = self.value()
        return queryset.filter(username=value) if value else queryset
