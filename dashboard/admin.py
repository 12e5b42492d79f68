"""What the console registers: jobs and the audit to read, users and groups to manage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin, ShowFacets, display
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from dashboard import queries, verbs, views
from dashboard.actions import ACTIONS
from dashboard.changelist import KeysetChangeList
from dashboard.filters import QueueFilter, StateFilter, TypeFilter, UserFilter, VerbFilter
from dashboard.site import site
from dashboard.templatetags.console import ago, due, record_badge
from dashboard.text import inert, one_line
from handlers.models import AuditEntry, JobRecord
from handlers.registry import registry
from handlers.states import State

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

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Never."""
        return False


class JobRecordAdmin(ReadOnlyAdmin):
    """The job list and the job page, with the verbs that the person may use."""

    list_filter = (StateFilter, TypeFilter, QueueFilter)
    search_fields = ("pk",)
    search_help_text = "A job's id, or a part of its type."
    actions = ACTIONS
    ordering = ("-pk",)

    # --- the list ---

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The columns; the buttons only for those who may use one."""
        columns: list[Any] = ["state_badge", "job", "queue", "attempts", "last_error", "when", "ran_on"]
        if any(verb.allowed(request.user) for verb in verbs.VERBS.values()):
            columns.append(self._buttons(request))
        return columns

    def _buttons(self, request: HttpRequest) -> Any:
        """A column that carries each row's token for the actions, and a button for the verb most used."""
        usable = [verb for verb in (verbs.RETRY, verbs.REQUEUE, verbs.RESTORE) if verb.allowed(request.user)]
        back = urlencode({"back": request.GET.urlencode()})

        @display(description="")
        def buttons(record: JobRecord) -> SafeString:
            token = format_html('<input type="hidden" name="expect" value="{}:{}">', record.pk, record.token)
            verb = next((verb for verb in usable if verb.possible(record)), None)
            if verb is None:
                return token
            return format_html(
                '{}<button type="submit" class="small" formaction="{}?{}" aria-label="{} job {}">{}</button>',
                token,
                self._url(verb.name, record.pk),
                back,
                verb.label_for(record),
                record.pk,
                verb.label_for(record),
            )

        return buttons

    def _url(self, name: str, job_id: int) -> str:
        return reverse(f"admin:jobs_jobrecord_{name}", args=[job_id], current_app=self.admin_site.name)

    list_display_links = ("job",)

    @display(description="state")
    def state_badge(self, record: JobRecord) -> SafeString:
        """The state as a coloured word."""
        return record_badge(record)

    @display(description="job")
    def job(self, record: JobRecord) -> SafeString:
        """Type and id."""
        return format_html('{} <span class="quiet">#{}</span>', inert(record.job_type), record.pk)

    @display(description="attempts")
    def attempts(self, record: JobRecord) -> SafeString | str:
        """Runs started, and how many of this round failed where it is not all of them."""
        if record.failures == record.attempt or not record.failures:
            return str(record.attempt or "")
        return format_html('{} <span class="quiet">({} failed)</span>', record.attempt, record.failures)

    @display(description="last error")
    def last_error(self, record: JobRecord) -> SafeString | str:
        """The last failure in one line, while it matters."""
        if not record.error or record.state == State.SUCCEEDED:
            return ""
        line = one_line(record.error)
        return format_html('<span class="error-line" title="{}">{}</span>', line, line)

    @display(description="when")
    def when(self, record: JobRecord) -> SafeString | str:
        """The time that matters most in this state."""
        at = queries.moment(record)
        return due(at) if record.state == State.SCHEDULED else ago(at)

    @display(description="worker")
    def ran_on(self, record: JobRecord) -> str:
        """Which worker has it, or had it last."""
        return inert(record.worker)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A number is an id; anything else is a part of a registered type's name, or the whole of any type's."""
        term = search_term.strip()
        number = term.removeprefix("#")
        if number.isascii() and number.isdigit() and len(number) < 19:
            return queryset.filter(pk=int(number)), False
        if not term:
            return queryset, False
        names = {term}
        for job_type in registry.all():
            if term.casefold() in job_type.name.casefold():
                names |= {job_type.name, *job_type.aliases}
        return queryset.filter(job_type__in=names), False

    def has_retry_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may retry jobs."""
        return verbs.VERBS["retry"].allowed(request.user)

    def has_requeue_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may requeue jobs."""
        return verbs.VERBS["requeue"].allowed(request.user)

    def has_restore_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may restore jobs."""
        return verbs.VERBS["restore"].allowed(request.user)

    def has_delete_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may delete jobs."""
        return verbs.VERBS["delete"].allowed(request.user)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list. Refuses a forged action instead of passing over it, and "all that match" in every disguise."""
        if request.method == "POST":
            for name in request.POST.getlist("action"):
                if name in verbs.VERBS and not verbs.VERBS[name].allowed(request.user):
                    raise PermissionDenied(f"You may not {name} jobs.")
            if request.POST.get("select_across", "0") != "0":
                raise PermissionDenied("Tick the jobs: acting on all that match is not possible here.")
        context = {"title": "Jobs", "max_reason": verbs.MAX_REASON, **(extra_context or {})}
        return super().changelist_view(request, context)

    # --- one job ---

    def get_urls(self) -> list[URLPattern]:
        """The stock addresses after one for each verb."""
        wrap = self.admin_site.admin_view
        own = [
            path(f"<int:job_id>/{verb.name}/", wrap(views.verb_view(verb)), name=f"jobs_jobrecord_{verb.name}")
            for verb in verbs.VERBS.values()
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The job page."""
        if not self.has_view_permission(request):
            raise PermissionDenied("You may not see jobs.")
        record = self.get_object(request, object_id)
        if record is None:
            messages.warning(request, f"There is no job {one_line(object_id, 30)}. Jobs that ended well age out.")
            return redirect("admin:jobs_jobrecord_changelist")
        return views.job_page(self.admin_site, request, record)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseRedirect:
        """The job page tells the history."""
        return redirect("admin:jobs_jobrecord_change", object_id)


class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what, newest first."""

    search_fields = ()
    list_display = ("when", "username", "what", "target_link", "moved", "reason_text")
    list_display_links = None
    list_filter = (VerbFilter, UserFilter)
    ordering = ("-pk",)

    @display(description="when")
    def when(self, entry: AuditEntry) -> SafeString | str:
        """How long ago; the exact time on hover."""
        return ago(entry.at)

    @display(description="did")
    def what(self, entry: AuditEntry) -> str:
        """The verb."""
        return entry.verb.replace("_", " ").capitalize()

    @display(description="to")
    def target_link(self, entry: AuditEntry) -> SafeString | str:
        """What it was done to; a single job as a link."""
        data = entry.data if isinstance(entry.data, dict) else {}
        ids = data.get("job_ids")
        if isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], int):
            url = reverse("admin:jobs_jobrecord_change", args=[ids[0]], current_app=self.admin_site.name)
            return format_html('<a href="{}">{}</a>', url, inert(entry.target))
        return inert(entry.target)

    @display(description="moved")
    def moved(self, entry: AuditEntry) -> str:
        """How many really moved, of how many asked for."""
        data = entry.data if isinstance(entry.data, dict) else {}
        asked = data.get("asked")
        return (
            f"{entry.count:,} of {asked:,}" if isinstance(asked, int) and asked != entry.count else f"{entry.count:,}"
        )

    @display(description="reason")
    def reason_text(self, entry: AuditEntry) -> str:
        """Why, in the person's words."""
        return inert(entry.reason)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        return super().changelist_view(request, {"title": "Audit", **(extra_context or {})})


site.register(JobRecord, JobRecordAdmin)
site.register(AuditEntry, AuditEntryAdmin)
site.register(get_user_model(), UserAdmin)
site.register(Group, GroupAdmin)
