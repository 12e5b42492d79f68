"""The stock admin's pages for rows that only the engine writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin, ShowFacets
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from dashboard.kit.changelist import KeysetChangeList

if TYPE_CHECKING:
    BaseAdmin = ModelAdmin[Any]
else:
    BaseAdmin = ModelAdmin  # generic for the type checker only


class ReadOnlyAdmin(BaseAdmin):
    """Rows that only the engine writes: no form of the admin adds, changes or deletes one."""

    empty_value_display = ""
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    sortable_by = ()
    show_facets = ShowFacets.NEVER
    actions: Any = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Pages by key."""
        return KeysetChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; with the status that says so where the address is wrong (400) or reading took too long (503)."""
        response = super().changelist_view(request, extra_context)
        changelist = response.context_data.get("cl") if isinstance(response, TemplateResponse) else None  # type: ignore[union-attr]
        if changelist is not None and (changelist.wrong or changelist.too_slow):
            response.status_code = 503 if changelist.too_slow else 400
        return response

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False
