"""The job list and the job page, as the admin shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.jobs import columns, joblist, rows, signals, stack, titles, views
from dashboard.jobs import page as job_page
from dashboard.jobs.actions import ACTIONS, pass_over_what_is_no_id, pass_over_what_is_out_of_reach
from dashboard.jobs.changelist import JobChangeList
from dashboard.jobs.filters import QueueFilter, SinceFilter, StateFilter, TypeFilter, WorkerFilter
from dashboard.kit import crowd, queries, verbs
from dashboard.kit.changelist import KeysetChangeList
from dashboard.kit.reach import covers, no_job, seen
from dashboard.kit.readonly import ReadOnlyAdmin
from dashboard.kit.search import cleaned
from dashboard.kit.text import inert, one_line
from dashboard.kit.tick_boxes import TickBoxes
from dashboard.tags import ago, due, record_badge
from handlers.models import JobRecord
from handlers.states import State

# Where the columns have no room beside each other, these stand below a job's name, each with its label.
LABELLED = ("queue", "priority", "attempts", "created", "started", "finished", "took", "ran_on")


class JobRecordAdmin(TickBoxes, ReadOnlyAdmin):
    """The job list and the job page, with the verbs that the person may use."""

    list_filter = (StateFilter, TypeFilter, QueueFilter, WorkerFilter, SinceFilter)
    search_fields = ("pk",)  # what makes the stock admin show a search box; ``dashboard.kit.search`` reads it
    search_help_text = gettext_lazy("An id, words, or args.order_id:7")
    actions = ACTIONS
    change_list_template = "dashboard/jobs/list.html"
    ordering = ("-pk",)

    # --- the list ---

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """Jobs by the selection in the address."""
        return JobChangeList

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The columns; the buttons only for those who may use one."""
        chosen = [name for name in columns.chosen(request) if name not in columns.IN_JOB]
        listed: list[Any] = ["state_badge", self._job(request), *(self._column(name) for name in chosen)]
        if any(verb.allowed(request.user) for verb in verbs.VERBS.values()):
            listed.append(self._buttons(request))
        return listed

    def _column(self, name: str) -> Any:
        """A column by its name, with its label in each cell where that is shown."""
        if name not in LABELLED:
            return name
        label, shown = str(columns.COLUMNS[name]), getattr(self, name)

        @display(description=columns.COLUMNS[name])
        def column(record: JobRecord) -> SafeString | str:
            value = shown(record)
            return format_html('<span class="cell-label">{} </span>{}', label, value) if value else ""

        column.__name__ = name  # the cell's class
        return column

    def _job(self, request: HttpRequest) -> Any:
        """The column that leads to each job, with the way back to this list."""
        back = self.get_preserved_filters(request)
        address = self._addresses("change")

        @display(description=gettext_lazy("job"))
        def job(record: JobRecord) -> SafeString:
            url = address(record.pk)
            link = format_html(
                '<a href="{}" class="job-link">{}</a>', f"{url}?{back}" if back else url, rows.heading(record)
            )
            return link + rows.below(record)

        return job

    def _buttons(self, request: HttpRequest) -> Any:
        """A column that carries each row's token for the actions, and a button for the verb most used."""
        usable = [verb for verb in (verbs.RETRY, verbs.REQUEUE, verbs.RESTORE) if verb.allowed(request.user)]
        addresses = {verb.name: self._addresses(verb.name) for verb in usable}
        back = urlencode({"back": request.GET.urlencode()})

        @display(description=gettext_lazy("actions"))
        def buttons(record: JobRecord) -> SafeString:
            token = format_html('<input type="hidden" name="expect" value="{}:{}">', record.pk, record.token)
            possible = (verb for verb in usable if verb.possible(record) and covers(request, record, verb.permission))
            verb = next(possible, None)
            if verb is None:
                return token
            label = verb.label_for(record)
            return format_html(
                '{}<button type="submit" class="small" formaction="{}?{}" aria-label="{}">{}</button>',
                token,
                addresses[verb.name](record.pk),
                back,
                _("%(verb)s job %(number)d") % {"verb": label, "number": record.pk},
                label,
            )

        return buttons

    def _addresses(self, name: str) -> Callable[[int], str]:
        """The address of each job's page or verb. To look each row's up takes as long as all else of the row."""
        url = reverse(f"admin:jobsite_jobs_jobrecord_{name}", args=[0], current_app=self.admin_site.name)
        before, _zero, after = url.rpartition("/0/")
        return lambda job_id: f"{before}/{job_id}/{after}"

    list_display_links = None  # the job's cell has its link, and others beside it

    @display(description=gettext_lazy("state"))
    def state_badge(self, record: JobRecord) -> SafeString:
        """The state as a coloured word."""
        return record_badge(record)

    def queue(self, record: JobRecord) -> str:
        """The queue that it is on."""
        return record.queue

    def priority(self, record: JobRecord) -> str:
        """Its priority, as a plain number."""
        return str(record.priority)

    def attempts(self, record: JobRecord) -> SafeString | str:
        """Runs started, and how many of this round failed where it is not all of them."""
        if record.failures == record.attempt or not record.failures:
            return str(record.attempt or "")
        return format_html(
            '{} <span class="quiet">({})</span>', record.attempt, _("%(count)s failed") % {"count": record.failures}
        )

    @display(description=gettext_lazy("last error"))
    def last_error(self, record: JobRecord) -> SafeString | str:
        """The last failure in one line, while it matters."""
        if not record.error or record.state == State.SUCCEEDED:
            return ""
        line = one_line(record.error)
        return format_html('<span class="error-line" title="{}">{}</span>', line, line)

    def created(self, record: JobRecord) -> SafeString | str:
        """When it was enqueued or scheduled."""
        return ago(record.created_at)

    def started(self, record: JobRecord) -> SafeString | str:
        """When its last attempt began."""
        return ago(record.started_at)

    def finished(self, record: JobRecord) -> SafeString | str:
        """When it ended."""
        return ago(record.finished_at)

    def took(self, record: JobRecord) -> str:
        """How long its last attempt ran."""
        return rows.took(record)

    @display(description=gettext_lazy("when"))
    def when(self, record: JobRecord) -> SafeString | str:
        """The time that matters most in this state."""
        at = queries.moment(record)
        return due(at) if at and at == record.run_at else ago(at)

    def ran_on(self, record: JobRecord) -> str:
        """Which worker has it, or had it last."""
        return inert(record.worker)

    def has_retry_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may retry jobs."""
        return verbs.VERBS["retry"].allowed(request.user)

    def has_requeue_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may requeue jobs."""
        return verbs.VERBS["requeue"].allowed(request.user)

    def has_restore_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may restore jobs."""
        return verbs.VERBS["restore"].allowed(request.user)

    def has_move_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may move jobs to another queue."""
        return verbs.VERBS["move"].allowed(request.user)

    def has_delete_jobs_permission(self, request: HttpRequest) -> bool:
        """Whether this person may delete jobs."""
        return verbs.VERBS["delete"].allowed(request.user)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list. Refuses a forged action instead of passing over it, and "all that match" in every disguise."""
        if request.method == "POST":
            for name in request.POST.getlist("action"):
                if name in verbs.VERBS and not verbs.VERBS[name].allowed(request.user):
                    raise PermissionDenied(verbs.VERBS[name].refusal)
            if request.POST.get("select_across", "0") != "0":
                raise PermissionDenied(_("Tick the jobs, or start a bulk operation: this form takes only ticked ones."))
            pass_over_what_is_no_id(request)
            pass_over_what_is_out_of_reach(request)
        elif (clean := cleaned(request.GET)) is not None:
            return HttpResponseRedirect(f"{request.path}?{clean}" if clean else request.path)
        context = {"title": _("Jobs"), "max_reason": verbs.MAX_REASON, **(extra_context or {})}
        try:
            response = super().changelist_view(request, context)
        except crowd.Crowded:
            return crowd.refused(self.admin_site, request, request.path)
        if isinstance(response, TemplateResponse) and response.context_data and "cl" in response.context_data:
            listed = response.context_data["cl"]
            response.context_data["title"] = titles.title(request, listed.selection)
            response.context_data |= joblist.company(request, listed, response.context_data["action_form"])
        return response

    # --- one job ---

    def get_urls(self) -> list[URLPattern]:
        """The stock addresses after one for each verb."""
        wrap = self.admin_site.admin_view
        own = [
            path(
                f"<int:job_id>/{name}/",
                wrap(views.verb_view(self.admin_site, verb)),
                name=f"jobsite_jobs_jobrecord_{name}",
            )
            for name, verb in verbs.VERBS.items()
        ]
        own.append(path("<int:job_id>/stack/", wrap(stack.show_stack), name="jobsite_jobs_jobrecord_stack"))
        own.append(path("<int:job_id>/signal/", wrap(signals.send_signal), name="jobsite_jobs_jobrecord_signal"))
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The job page."""
        if not self.has_view_permission(request):
            raise PermissionDenied(_("You may not see jobs."))
        record = self.get_object(request, object_id)
        if not seen(request).is_whole and (record is None or not covers(request, record)):
            raise Http404(no_job(one_line(object_id, 30)))
        if record is None:
            messages.warning(
                request,
                _("There is no job %(object_id)s. Jobs that ended well age out.")
                % {"object_id": one_line(object_id, 30)},
            )
            return HttpResponseRedirect(
                reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=self.admin_site.name)
            )
        return job_page.job_page(self.admin_site, request, record)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseRedirect:
        """The job page tells the history."""
        page = reverse("admin:jobsite_jobs_jobrecord_change", args=[object_id], current_app=self.admin_site.name)
        return HttpResponseRedirect(page)
