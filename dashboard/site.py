"""The console's AdminSite: the stock one, with a start page of its own and pages for what has no table."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, get_script_prefix, get_urlconf, include, path, reverse
from django.utils.cache import patch_cache_control
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from django.views.i18n import JavaScriptCatalog, set_language

from dashboard.kit import crowd, languages
from dashboard.kit.drafts import TOLD, is_draft
from dashboard.kit.rendering import in_console
from dashboard.kit.waiting import answered
from dashboard.signing_in import SigningIn
from handlers.addresses import client_address
from handlers.audit import acts_from

LABEL = "jobsite_jobs"  # of the engine, whose models have their pages at jobs/, as they had before it was called so
VIEW_JOBS = "jobsite_jobs.view_jobrecord"

# Pages without a model: (url name, words, a permission that they ask for beside that to see jobs).
PAGES = (
    ("failures", gettext_lazy("Failures"), VIEW_JOBS),
    ("alerts", gettext_lazy("Alerts"), "jobsite_jobs.view_alertrule"),
    ("bulk", gettext_lazy("Bulk operations"), VIEW_JOBS),
    ("recurring", gettext_lazy("Recurring jobs"), "jobsite_jobs.view_recurringjob"),
    ("workflows", gettext_lazy("Workflows"), "jobsite_jobs.view_workflow"),
    ("sagas", gettext_lazy("Sagas"), "jobsite_jobs.view_sagarecord"),
    ("queues", gettext_lazy("Queues"), VIEW_JOBS),
    ("workers", gettext_lazy("Workers"), VIEW_JOBS),
    ("foreign", gettext_lazy("RQ's own jobs"), VIEW_JOBS),
    ("job_types", gettext_lazy("Job types"), VIEW_JOBS),
    ("limits", gettext_lazy("Limits"), "jobsite_jobs.view_limitoverride"),
    ("retry_policies", gettext_lazy("Retry policies"), VIEW_JOBS),
    ("clients", gettext_lazy("API clients"), "jobsite_jobs.view_apiclient"),
)
# Of models, as the navigation calls them: a plural is made in English only.
NAMES = {"JobRecord": gettext_lazy("Jobs"), "AuditEntry": gettext_lazy("Audit")}
# The order of the jobs app's entries; whatever else is registered comes after, by name.
ORDER = ("JobRecord", *(name for name, _words, _permission in PAGES), "AuditEntry")


class JobsSite(SigningIn):
    """Jobs, queues, job types, retry policies, the audit, users and groups."""

    site_title = gettext_lazy("Jobs console")
    site_header = gettext_lazy("Jobs console")
    index_title = gettext_lazy("Overview")
    index_template = "dashboard/overview/overview.html"
    app_index_template = "dashboard/kit/app_index.html"
    login_template = "dashboard/access/login.html"
    enable_nav_sidebar = False  # there is one of our own, in groups and on a phone too
    site_url: Any = None  # where "View site" leads, if anywhere; may be lazy

    @property
    def environment(self) -> str:
        """The word on the badge in header and title, such as ``staging``; empty for none."""
        return str(getattr(settings, "CONSOLE_ENVIRONMENT", ""))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """The stock context, with what the console's base template needs."""
        from dashboard.account import keys  # these need models, which are not loaded when this module is
        from dashboard.kit.health import banners

        return {
            **super().each_context(request),
            "console_banners": lambda: banners(request),  # asked for by pages that show them
            "console_environment": self.environment,
            "console_keys": lambda: keys.act(request),
            "console_languages": languages.languages,
            "console_has_catalog": languages.has_catalog,
            "console_nav": SimpleLazyObject(lambda: self._nav(request)),  # asked for by what is rendered
        }

    def get_urls(self) -> list[URLResolver | URLPattern]:
        """The stock addresses after our own."""
        # They need models, which are not loaded when this module is.
        from dashboard.account import pages as account
        from dashboard.alerts import pages as alerts
        from dashboard.audit import undo
        from dashboard.bulk import new as bulk_new
        from dashboard.bulk import pages as bulk
        from dashboard.clients import pages as clients
        from dashboard.failures import actions as failure_actions
        from dashboard.failures import listing as failures
        from dashboard.failures import page as failure_page
        from dashboard.foreign import page as foreign
        from dashboard.jobs import after, columns, edit, export, joblist, names
        from dashboard.limits import pages as limits
        from dashboard.overview import ended
        from dashboard.overview import page as overview
        from dashboard.policies import pages as policies
        from dashboard.queues import page as queues
        from dashboard.recurring import actions, listing
        from dashboard.recurring import day as recurring_day
        from dashboard.recurring import edit as recurring_edit
        from dashboard.recurring import page as recurring
        from dashboard.sagas import actions as saga_actions
        from dashboard.sagas import listing as sagas
        from dashboard.sagas import page as saga
        from dashboard.types import enqueue
        from dashboard.types import pages as types
        from dashboard.views import pages as views
        from dashboard.workers import page as workers
        from dashboard.workflows import actions as workflow_actions
        from dashboard.workflows import listing as workflows
        from dashboard.workflows import page as workflow

        return [
            path("language/", login_not_required(require_POST(set_language)), name="language"),
            path("account/", self.admin_view(partial(account.account, self)), name="account"),
            path("seen/", self.admin_view(overview.caught_up), name="caught_up"),
            path("jobs/ended/", self._page(ended.jobs_ended), name="jobs_ended"),
            path("failures/", self._page(failures.failures), name="failures"),
            path("alerts/", self._page(alerts.overview), name="alerts"),
            path("alerts/new/", self._page(alerts.new), name="alert_new"),
            path("alerts/<int:rule_id>/", self._page(alerts.rule), name="alert_rule"),
            path("alerts/<int:rule_id>/delete/", self._page(alerts.delete), name="alert_delete"),
            path("alerts/<int:rule_id>/mute/", self.admin_view(alerts.mute), name="alert_mute"),
            path("alerts/<int:rule_id>/unmute/", self.admin_view(alerts.unmute), name="alert_unmute"),
            path("alerts/<int:rule_id>/test/", self.admin_view(alerts.test), name="alert_test"),
            path("failures/<slug:fingerprint>/", self._page(failure_page.group_page), name="failure_group"),
            *(
                path(f"failures/<slug:fingerprint>/{verb}/", self.admin_view(view), name=f"{verb}_group")
                for verb, view in failure_actions.VERBS.items()
            ),
            path("queues/", self._page(queues.queues), name="queues"),
            path("queues/<slug:name>/pause/", self.admin_view(queues.pause_queue), name="pause_queue"),
            path("queues/<slug:name>/resume/", self.admin_view(queues.resume_queue), name="resume_queue"),
            path("workers/", self._page(workers.workers), name="workers"),
            path("foreign/", self._page(foreign.foreign), name="foreign"),
            path("workers/stop/", self.admin_view(workers.stop_worker), name="stop_worker"),
            path("job-types/", self._page(types.job_types), name="job_types"),
            path("job-types/<str:name>/", self._page(types.job_type), name="job_type"),
            path("job-types/<str:name>/enqueue/", self._page(enqueue.enqueue), name="enqueue_one"),
            path("job-types/<str:name>/pause/", self.admin_view(types.pause_type), name="pause_type"),
            path("job-types/<str:name>/resume/", self.admin_view(types.resume_type), name="resume_type"),
            path("jobs/jobrecord/<int:job_id>/edit/", self._page(edit.edit), name="jobsite_jobs_jobrecord_edit"),
            path("limits/", self._page(limits.limits), name="limits"),
            path("limits/<slug:name>/", self._page(limits.limit), name="limit"),
            path("limits/<slug:name>/reset/", self._page(limits.reset), name="limit_reset"),
            path("clients/", self._page(clients.clients), name="clients"),
            path("clients/new/", self._page(clients.new), name="client_new"),
            path("clients/<int:client_id>/", self._page(clients.client), name="client"),
            path("clients/<int:client_id>/revoke/", self._page(clients.revoke), name="client_revoke"),
            path("retry-policies/", self._page(policies.retry_policies), name="retry_policies"),
            path("retry-policies/new/", self._page(policies.new_policy), name="retry_policy_new"),
            path("retry-policies/<int:policy_id>/", self._page(policies.retry_policy), name="retry_policy"),
            path("retry-policies/<int:policy_id>/types/", self._page(policies.assign), name="retry_policy_types"),
            path("retry-policies/<int:policy_id>/delete/", self._page(policies.remove), name="retry_policy_delete"),
            path("recurring/", self._page(listing.recurring), name="recurring"),
            path("recurring/<int:entry_id>/", self._page(recurring.recurring_job), name="recurring_job"),
            path("recurring/day/", self._page(recurring_day.day), name="recurring_day"),
            path("recurring/new/", self._page(recurring_edit.new), name="recurring_new"),
            path("recurring/<int:entry_id>/edit/", self._page(recurring_edit.edit), name="recurring_edit"),
            path("recurring/<int:entry_id>/delete/", self._page(actions.delete), name="recurring_delete"),
            path("recurring/<int:entry_id>/backfill/", self._page(actions.backfill), name="recurring_backfill"),
            path("recurring/<int:entry_id>/trigger/", self.admin_view(actions.trigger), name="trigger_recurring"),
            path("recurring/<int:entry_id>/pause/", self.admin_view(actions.pause), name="pause_recurring"),
            path("recurring/<int:entry_id>/resume/", self.admin_view(actions.resume), name="resume_recurring"),
            path("sagas/", self._page(sagas.sagas), name="sagas"),
            path("sagas/<int:saga_id>/", self._page(saga.saga), name="saga"),
            path("sagas/<int:saga_id>/complete/", self._page(saga_actions.complete), name="complete_saga"),
            path("sagas/<int:saga_id>/retry/<int:job_id>/", self.admin_view(saga_actions.retry), name="retry_in_saga"),
            path("workflows/", self._page(workflows.workflows), name="workflows"),
            path("workflows/<int:workflow_id>/", self._page(workflow.workflow), name="workflow"),
            path("workflows/<int:workflow_id>/cancel/", self._page(workflow_actions.cancel), name="workflow_cancel"),
            path("workflows/<int:workflow_id>/pause/", self.admin_view(workflow_actions.pause), name="pause_workflow"),
            path(
                "workflows/<int:workflow_id>/resume/", self.admin_view(workflow_actions.resume), name="resume_workflow"
            ),
            path("workflows/<int:workflow_id>/retry/", self.admin_view(workflow_actions.retry), name="retry_workflow"),
            path("workflows/jobs/<int:job_id>/skip/", self._page(workflow_actions.skip), name="skip_job"),
            path("bulk/", self._page(bulk.operations), name="bulk"),
            path("bulk/new/", self._page(bulk_new.new), name="bulk_new"),
            path("bulk/<int:operation_id>/", self._page(bulk.run), name="bulk_run"),
            *(
                path(
                    f"bulk/<int:operation_id>/{what}/",
                    self.admin_view(bulk.switch_view(self, what)),
                    name=f"bulk_{what}",
                )
                for what in bulk.SWITCHES
            ),
            path("jobs/export/", self._page(export.export), name="jobs_export"),
            path("undo/<int:entry_id>/", self.admin_view(undo.undo), name="undo"),
            path("jobs/after/", self._page(after.after), name="jobs_after"),
            path("jobs/views/", self._page(views.views), name="job_views"),
            path("jobs/views/new/", self._page(views.new), name="job_view_new"),
            path("jobs/views/<int:view_id>/", self._page(views.view), name="job_view"),
            path("jobs/views/<int:view_id>/edit/", self._page(views.edit), name="job_view_edit"),
            path("jobs/views/<int:view_id>/delete/", self._page(views.delete), name="job_view_delete"),
            path("jobs/columns/", self._page(columns.choose), name="jobs_columns"),
            path("jobs/new/", self._page(joblist.new_jobs), name="jobs_new"),
            path("jobs/names/", self._page(names.names), name="jobs_names"),
            path("jobs/", self.admin_view(self.app_index), {"app_label": LABEL}),
            *(_at_jobs(each) for each in super().get_urls()),
        ]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """The stock wrapper; and whoever lacks a permission gets a page that says so (403), inside the console.

        A form that is sent when nobody is signed in gets the login in the place of an answer, and is given back after.
        """
        from dashboard.access import idle, limited  # these need models, which are not loaded when this module is
        from dashboard.access import pages as access

        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            request.current_app = self.name
            with acts_from(client_address(request)):
                if is_draft(request):
                    messages.warning(request, TOLD)
                try:
                    limited.check(request)
                    answer: HttpResponseBase = view(request, *args, **kwargs)
                except PermissionDenied as denied:
                    context = {**self.each_context(request), "title": _("Not permitted"), "reason": str(denied)}
                    answer = TemplateResponse(request, "dashboard/kit/403.html", context, status=403)
                except Http404 as missing:
                    # Words of ours; what the URL resolver raises says which addresses there are.
                    said = missing.args[0] if missing.args and isinstance(missing.args[0], str) else ""
                    context = {**self.each_context(request), "title": _("Not found"), "reason": said}
                    answer = TemplateResponse(request, "dashboard/kit/404.html", context, status=404)
            if isinstance(answer, HttpResponseNotAllowed) and request.method == "GET":
                answer = access.only_sent(self, request, answer.headers["Allow"])
            return in_console(answer)

        guarded.__dict__.update(getattr(view, "__dict__", {}))  # csrf_exempt and the like
        stock = super().admin_view(guarded, cacheable)

        @wraps(stock)
        def asked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with answered():
                idle.look(request)
                is_logout = request.path == reverse("admin:logout", current_app=self.name)  # which is done already
                if request.method == "POST" and not is_logout and not self.has_permission(request):
                    return access.signed_out(self, request)
                if "X-Live" not in request.headers:
                    return stock(request, *args, **kwargs)
                try:
                    with crowd.live.place(str(request.user.pk)):
                        return stock(request, *args, **kwargs)
                except crowd.Crowded:
                    return crowd.later()

        return asked

    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The stock page, as part of the console; whoever had sent a form when nobody was signed in gets it back."""
        from dashboard.access import asked
        from dashboard.access import pages as access

        wanted = asked.read(self, request.POST.get(asked.FIELD, ""))
        answer = super().login(request, access.carried(wanted) | (extra_context or {}))
        if wanted and isinstance(answer, HttpResponseRedirect) and self.has_permission(request):
            answer = access.nothing_done(self, request, wanted, str(access.SIGNED_OUT))
        return in_console(answer)

    def i18n_javascript(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The scripts' words, the stock admin's and ours. Their address names the language: a browser may keep them."""
        answer = cast(
            "HttpResponse", JavaScriptCatalog.as_view(packages=["django.contrib.admin", "dashboard"])(request)
        )
        patch_cache_control(answer, private=True, max_age=3600)
        return answer

    def _page(self, view: Callable[..., HttpResponseBase]) -> Any:
        def page(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            if not request.user.has_perm(VIEW_JOBS):
                raise PermissionDenied(_("You may not see jobs."))
            return view(self, request, **kwargs)

        return self.admin_view(page)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """The stock list, jobs first, with the pages that have no model. A page asks for it three times."""
        kept: dict[Any, list[dict[str, Any]]] = request.__dict__.setdefault("_console_apps", {})
        if (self.name, app_label) not in kept:
            kept[self.name, app_label] = self._app_list(request, app_label)
        return kept[self.name, app_label]

    def _app_list(self, request: HttpRequest, app_label: str | None) -> list[dict[str, Any]]:
        from dashboard.access import limited  # needs models, which are not loaded when this module is

        apps: list[dict[str, Any]] = super().get_app_list(request, app_label)
        for app in apps:
            app["models"] = [each for each in app["models"] if limited.allows(request, _list_of(each["model"]))]
            if app["app_label"] != LABEL:
                continue
            if request.user.has_perm(VIEW_JOBS):
                app["models"] += [
                    {
                        "name": words,
                        "object_name": name,
                        "admin_url": _address(
                            name, self.name, get_script_prefix(), get_urlconf() or settings.ROOT_URLCONF
                        ),
                        "add_url": None,
                        "view_only": True,
                        "perms": {"add": False, "change": False, "delete": False, "view": True},
                    }
                    for name, words, permission in PAGES
                    if request.user.has_perm(permission)
                    and limited.allows(request, name)
                    and (name != "foreign" or _has_foreign())
                ]
            for model in app["models"]:
                model["name"] = NAMES.get(model["object_name"], model["name"])
            rank = {name: place for place, name in enumerate(ORDER)}
            app["models"].sort(key=lambda model: (rank.get(model["object_name"], len(rank)), model["name"]))
        apps.sort(key=lambda app: app["app_label"] != LABEL)
        return [app for app in apps if app["models"]]

    def _nav(self, request: HttpRequest) -> Any:
        """Every page that this person may see; nothing for who is not signed in."""
        from dashboard.navigation import (
            Navigation,
            navigation,
        )  # needs models, which are not loaded when this module is

        if not self.has_permission(request):
            return Navigation(())
        return navigation(request, reverse("admin:index", current_app=self.name), self.get_app_list(request))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The start page."""
        from dashboard.kit import reach
        from dashboard.overview.page import overview
        from dashboard.overview.within import overview_within

        within, context = reach.seen(request), dict[str, Any]()
        if request.user.has_perm(VIEW_JOBS):
            context = overview(request) if within.is_whole else overview_within(request, within)
        return super().index(request, {**context, **(extra_context or {})})


@cache
def _address(name: str, app: str, prefix: str, urlconf: object) -> str:
    """Of a page, which each page leads to; it hangs on nothing else."""
    return reverse(f"admin:{name}", urlconf=urlconf, current_app=app)  # type: ignore[arg-type]


def _has_foreign() -> bool:
    """Whether the site has queues of RQ's own."""
    from handlers.adoption import listing

    return bool(listing.names())


def _list_of(model: Any) -> str:
    """The name of the address of a model's list."""
    return f"{model._meta.app_label}_{model._meta.model_name}_changelist"


def _at_jobs(address: URLResolver | URLPattern) -> URLResolver | URLPattern:
    """A stock address; those of the engine's models are at ``jobs/``, where links to them have always led."""
    route = str(address.pattern)
    if not isinstance(address, URLResolver) or not route.startswith(f"{LABEL}/"):
        return address
    return path(route.replace(LABEL, "jobs", 1), include(address.urlconf_name))


site = JobsSite(name="console")
