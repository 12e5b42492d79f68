"""The audit's page: who did what, when, to what, from where and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.admin import display
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from dashboard.audit.changes import changes
from dashboard.kit import about, by_key
from dashboard.kit.acts import did, to_what
from dashboard.kit.changelist import KeysetChangeList
from dashboard.kit.differences import Difference
from dashboard.kit.filters import SPANS, Choices, DeclaredFilter
from dashboard.kit.moments import marked, moment
from dashboard.kit.numbers import thousands
from dashboard.kit.reach import concerning, is_limited
from dashboard.kit.reach import in_words as reach_in_words
from dashboard.kit.readonly import ReadOnlyAdmin
from dashboard.kit.text import in_words, inert, pretty_json
from dashboard.people.entries import PEOPLE_VERBS
from dashboard.people.fields import is_field
from dashboard.tags import ago
from dashboard.views.saved import VERBS as VIEW_VERBS
from handlers.admission.edits import VERBS as LIMIT_VERBS
from handlers.alerts.edits import VERBS as ALERT_VERBS
from handlers.audit import user_name
from handlers.failure_groups import VERBS as GROUP_VERBS
from handlers.models import AuditEntry
from handlers.policy_edits import VERBS as POLICY_VERBS
from handlers.recurrence.verbs import VERBS as RECURRING_VERBS
from handlers.sagas.by_hand import VERBS as SAGA_VERBS
from handlers.selection import WHOLE, Reach
from handlers.workflows.verbs import VERBS as WORKFLOW_VERBS

VIEW = "jobsite_jobs.view_auditentry"
MAX_USERS = 100  # offered by the filter
SHOWN = 4  # fields of a change that are shown at once; more are folded
MAX_DETAIL = 5_000  # characters of an entry's data that the page shows
JOB_VERBS = (
    "enqueue",
    "schedule",
    "retry",
    "edit_and_retry",
    "requeue",
    "move",
    "delete",
    "restore",
    "signal",
    "show_stack",
)
CLIENT_VERBS = ("create_client", "revoke_client")
SWITCH_VERBS = ("pause_queue", "resume_queue", "pause_type", "resume_type", "stop_worker")
SITE_VERBS = ("mark_deploy",)
BULK_VERBS = ("start_bulk", "pause_bulk", "try_bulk", "resume_bulk", "stop_bulk", "finish_bulk", "export", "exported")
HOURS = {"1h": 1, "24h": 24, "7d": 24 * 7, "30d": 24 * 30}
ELSEWHERE = (
    "asked",
    "job_ids",
    "from",
    "was",
    "mark",
    "before",
    "after",
    "changed",
)  # parts of an entry's data that other columns tell
# What a target's first words name, and the page that holds it; the rest of the target is its id or name.
NUMBERED = {"bulk operation": "bulk_run", "workflow": "workflow", "saga": "saga"}
PAGES = {
    "queue": "queues",
    "type": "job_types",
    "policy": "retry_policies",
    "limit": "limits",
    "client": "clients",
    "view": "job_views",
}


class EntryFilter(DeclaredFilter):
    """By the exact value of one of an entry's columns."""

    column: ClassVar[str]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The entries with that value."""
        value = self.value()
        return queryset.filter(**{self.column: value}) if value else queryset


class VerbFilter(EntryFilter):
    """By what was done."""

    title = gettext_lazy("verb")
    parameter_name = column = "verb"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Every verb that is on the audit."""
        own = (
            *RECURRING_VERBS,
            *WORKFLOW_VERBS,
            *SAGA_VERBS,
            *POLICY_VERBS,
            *LIMIT_VERBS,
            *ALERT_VERBS,
            *CLIENT_VERBS,
            *PEOPLE_VERBS,
            *VIEW_VERBS,
        )
        verbs = (*JOB_VERBS, *SWITCH_VERBS, *BULK_VERBS, *GROUP_VERBS, *own, *SITE_VERBS)
        return [(verb, in_words(verb)) for verb in verbs]


class UserFilter(EntryFilter):
    """By who did it, by name: an entry outlives its user."""

    title = gettext_lazy("user")
    parameter_name, column = "user", "username"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Those who can open the console; to who sees but a part of the jobs, nobody else."""
        if is_limited(request.user):
            return [(request.user.get_username(),) * 2]
        users = get_user_model()._default_manager.order_by("pk")
        if is_field("is_staff"):
            users = users.filter(is_staff=True)
        names = [user_name(user) for user in users[:MAX_USERS]]
        return list(zip(names, names, strict=True))


class TimeFilter(DeclaredFilter):
    """By when it was done."""

    title = gettext_lazy("time")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """A few spans."""
        return [(name, str(words)) for name, words in SPANS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The entries since then; all for a span that is none."""
        hours = HOURS.get(self.value() or "")
        return queryset.filter(at__gte=timezone.now() - timedelta(hours=hours)) if hours else queryset


class AuditChangeList(KeysetChangeList):
    """The newest first; for a limited role those that are about its jobs alone, of as many as are looked at."""

    reach: Reach = WHOLE

    def get_results(self, request: HttpRequest) -> None:
        """A page of them."""
        self.reach = _reach(request)
        super().get_results(request)

    def page(self, size: int) -> list[Any]:
        """At most ``size`` entries; fewer where not as many are among those that were looked at."""
        if self.reach.is_whole:
            return super().page(size)
        found, self.reached = by_key.among(
            self._read, lambda some: about.within(self.reach, some), size, step=about.STEP, most=about.MOST
        )
        for entry in found:  # those that did not move are not named, so they may be beyond
            entry.data = {name: value for name, value in _data(entry).items() if name != "asked"}
        return found

    def _read(self, last: int | None, number: int) -> list[Any]:
        rows: QuerySet[Any] = self.queryset
        if self.after is not None:
            return list(rows.filter(pk__gt=self.after if last is None else last).order_by("pk")[:number])
        before = self.before if last is None else last
        return list((rows if before is None else rows.filter(pk__lt=before))[:number])


class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what, newest first."""

    search_fields = ()
    change_list_template = "dashboard/audit/list.html"
    list_display = ("when", "who", "what", "target_link", "moved", "reason_text", "details", "origin")
    list_display_links = None
    list_filter = (VerbFilter, UserFilter, TimeFilter)
    ordering = ("-pk",)

    class Media:
        """The page's own style."""

        css: ClassVar = {"all": ["dashboard/audit.css"]}

    @display(description=pgettext_lazy("column of the audit", "when"))
    def when(self, entry: AuditEntry) -> SafeString | str:
        """How long ago; the exact time on hover."""
        return ago(entry.at)

    @display(description=pgettext_lazy("column of the audit", "who"))
    def who(self, entry: AuditEntry) -> str:
        """The person's name, or the program's."""
        return inert(entry.username)

    @display(description=pgettext_lazy("column of the audit", "did"))
    def what(self, entry: AuditEntry) -> str:
        """What was done, to be read between who did it and to what."""
        return did(entry)

    @display(description=pgettext_lazy("column of the audit", "to"))
    def target_link(self, entry: AuditEntry) -> SafeString | str:
        """What it was done to, as a link where there is a page of it."""
        url = self._url(entry)
        return format_html('<a href="{}">{}</a>', url, to_what(entry.target)) if url else to_what(entry.target)

    @display(description=pgettext_lazy("column of the audit", "moved"))
    def moved(self, entry: AuditEntry) -> str:
        """How many really moved, of how many asked for."""
        asked = _data(entry).get("asked")
        if isinstance(asked, int) and asked != entry.count:
            return _("%(moved)s of %(asked)s") % {"moved": thousands(entry.count), "asked": thousands(asked)}
        return thousands(entry.count)

    @display(description=pgettext_lazy("column of the audit", "why"))
    def reason_text(self, entry: AuditEntry) -> SafeString:
        """Why, in the person's words."""
        return marked(inert(entry.reason))

    @display(description=pgettext_lazy("column of the audit", "details"))
    def details(self, entry: AuditEntry) -> SafeString | str:
        """Before and after, for what has them; else whatever else was written down."""
        data = _data(entry)
        if changed := changes(entry):
            return _listed(changed)
        rest = {name: value for name, value in data.items() if name not in ELSEWHERE and value is not None}
        if rest.keys() == {"until"}:
            return format_html(_("until {time}"), time=_until(rest["until"]))
        if not rest:
            return ""
        return format_html(
            "<details><summary>{}</summary><pre>{}</pre></details>", _("Details"), inert(pretty_json(rest), MAX_DETAIL)
        )

    @display(description=pgettext_lazy("column of the audit", "from"))
    def origin(self, entry: AuditEntry) -> str:
        """The client's address; empty where a program asked."""
        return inert(entry.source)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        """What this person may see of it."""
        return AuditChangeList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> AuditEntry | None:
        """The entry, if it is about nothing that they may not see."""
        entry: AuditEntry | None = super().get_object(request, object_id, from_field)
        if entry is None or not self.has_view_permission(request):
            return entry  # whoever may see none is refused by who asks for it
        return entry if about.within(_reach(request), [entry]) else None

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list."""
        reach = _reach(request)
        told = "" if reach.is_whole else f"{reach_in_words(reach)} {_('What is about these jobs alone is told here.')}"
        return super().changelist_view(request, {"title": _("Audit"), "reach_words": told, **(extra_context or {})})

    def _url(self, entry: AuditEntry) -> str:
        """The page of what it was done to; empty for none."""
        data, site = _data(entry), self.admin_site.name
        ids = data.get("job_ids")
        if isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], int):
            return reverse("admin:jobsite_jobs_jobrecord_change", args=[ids[0]], current_app=site)
        kind, _, number = entry.target.rpartition(" ")
        if kind in NUMBERED and number.isascii() and number.isdigit() and len(number) < 19:
            return reverse(f"admin:{NUMBERED[kind]}", args=[int(number)], current_app=site)
        policies = data.get("policies")
        if entry.verb == "save_policy" and isinstance(policies, list) and policies and isinstance(policies[0], int):
            return reverse("admin:retry_policy", args=[abs(policies[0])], current_app=site)
        if entry.verb in RECURRING_VERBS:
            name = entry.target.partition(" ")[2].removesuffix("\N{HORIZONTAL ELLIPSIS}")
            return f"{reverse('admin:recurring', current_app=site)}?{urlencode({'q': name})}"
        if entry.verb in GROUP_VERBS:
            name = entry.target.removeprefix("failure group ").partition(" ")[0]
            is_name = name.isalnum() and name.isascii()
            return reverse("admin:failure_group", args=[name], current_app=site) if is_name else ""
        page = PAGES.get(entry.target.partition(" ")[0])
        return reverse(f"admin:{page}", current_app=site) if page else ""


def _reach(request: HttpRequest) -> Reach:
    """What the entries must be about that this person sees."""
    return concerning(request, VIEW)


def _data(entry: AuditEntry) -> dict[str, Any]:
    return entry.data if isinstance(entry.data, dict) else {}


def _listed(changed: list[Difference]) -> SafeString:
    """Field by field; folded where there are many."""
    lines = format_html_join(
        "", "<li>{}: {} → <strong>{}</strong></li>", ((each.label, each.before, each.after) for each in changed)
    )
    words = ngettext("%(number)d field", "%(number)d fields", len(changed)) % {"number": len(changed)}
    opened = SafeString(" open") if len(changed) <= SHOWN else ""
    return format_html("<details{}><summary>{}</summary><ul>{}</ul></details>", opened, words, lines)


def _until(text: object) -> SafeString | str:
    """A time as the data has it."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return inert(str(text), 100)
    return moment(at) if at.tzinfo else inert(str(text), 100)
