"""What is wrong now, the rules that say so, and what each of them has found and sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.alerts.form import KINDS, READ, RuleForm, is_within, shown
from dashboard.kit.drafts import is_draft
from dashboard.kit.numbers import in_figures
from dashboard.kit.once import act_once, sent_before
from dashboard.kit.pages import by, need, page, why
from dashboard.kit.reach import NOWHERE, concerning, in_words
from dashboard.kit.switching import switch_once, tell
from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from handlers import alerts
from handlers.alerts.edits import facts
from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob
from handlers.models import AlertIncident, AlertKind, AlertRule
from handlers.outbound import without_path
from handlers.selection import Reach

VIEW, ADD, CHANGE, DELETE, MUTE = (
    f"jobsite_jobs.{verb}_alertrule" for verb in ("view", "add", "change", "delete", "mute")
)
OPEN = 100  # incidents that the page names
HISTORY = 25
SPANS = (
    (1, gettext_lazy("1 hour")),
    (4, gettext_lazy("4 hours")),
    (24, gettext_lazy("1 day")),
    (168, gettext_lazy("1 week")),
)


def overview(site: AdminSite, request: HttpRequest) -> TemplateResponse:
    """What is wrong now, and every rule."""
    need(request, VIEW, _("You may not see alerts."))
    reach = concerning(request, VIEW)
    rules = [rule for rule in AlertRule.objects.order_by("name") if is_within(reach, rule)]
    incidents = list(
        AlertIncident.objects.filter(ended_at=None, **_of(rules, reach))
        .select_related("rule")
        .order_by("-began_at")[: OPEN + 1]
    )
    of_rule: dict[int, int] = {}
    for incident in incidents:
        of_rule[incident.rule_id] = of_rule.get(incident.rule_id, 0) + 1
    now = timezone.now()
    context = {
        "incidents": incidents[:OPEN],
        "more": len(incidents) > OPEN,
        "rows": [{**_row(rule, now), "open": of_rule.get(rule.pk, 0)} for rule in rules],
        "may_add": request.user.has_perm(ADD) and concerning(request, VIEW, ADD) != NOWHERE,
        "has_dead_man": bool(jobs_settings().dead_man_url),
        "lacks_address": not jobs_settings().console_url,
    }
    return page(site, request, "alerts/alerts", _("Alerts"), context)


def new(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Choose a kind, then fill in the rule."""
    need(request, ADD, _("You may not make alert rules."))
    kind = request.GET.get("kind", "")
    reach = concerning(request, VIEW, ADD)
    kinds = [each for each in KINDS if reach.is_whole or any(each[0] in READ[name] for name in ("job_type", "queue"))]
    if kind not in dict(kinds):
        return page(site, request, "alerts/kinds", _("New alert rule"), {"kinds": kinds})
    form = RuleForm(AlertKind(kind), request.POST if request.method == "POST" else None, reach=reach)
    if form.is_bound and form.is_valid() and not is_draft(request):
        try:
            made, is_new = act_once(request, lambda: _added(request, form))
        except InvalidJob as error:
            form.refuse(error)
        else:
            pk, _space, name = made.partition(" ")
            _tell(request, _("The rule %s holds from now on.") % name, is_new)
            return _to(request, int(pk))
    context = {"form": form, "kind_words": dict(KINDS)[AlertKind(kind)]}
    return page(site, request, "alerts/new", _("New alert rule"), context, status=400 if form.errors else 200)


def rule(site: AdminSite, request: HttpRequest, rule_id: int) -> HttpResponse:
    """One rule: what it has found, and the form that changes it."""
    need(request, VIEW, _("You may not see alerts."))
    row = _found(request, rule_id)
    if row is None:
        return _gone(request)
    if request.method == "POST":
        need(request, CHANGE, _("You may not change alert rules."))
        _need_reach(request, row, CHANGE)
    initial = {**shown(facts(row)), "version": row.version}
    posted, reach = request.POST if request.method == "POST" else None, concerning(request, VIEW, CHANGE)
    form = RuleForm(AlertKind(row.kind), posted, initial=initial, reach=reach)
    if form.is_bound and form.is_valid() and not is_draft(request):
        sent = form.cleaned_data
        try:
            found = switch_once(
                request,
                lambda: alerts.change_rule(
                    row.pk, form.terms, version=sent["version"], by=by(request), reason=sent["reason"]
                ),
            )
        except InvalidJob as error:
            form.refuse(error)
        else:
            tell(request, found, _("The rule is so from now on."), _("Nothing changed: the rule was so already."))
            return _to(request, row.pk)
    may_change = _may(request, row, CHANGE)
    context = {
        **_row(row, timezone.now()),
        "form": form,
        "kind_words": dict(KINDS)[AlertKind(row.kind)],
        "incidents": row.incidents.order_by("-pk")[:HISTORY],
        "notices": row.notices.order_by("-pk")[:HISTORY],
        "may_change": may_change,
        "may_mute": _may(request, row, MUTE),
        "may_delete": _may(request, row, DELETE),
        "secret": row.webhook_secret if may_change else "",
        "spans": SPANS,
        "max_reason": MAX_REASON,
    }
    return page(site, request, "alerts/rule", row.name, context, status=400 if form.errors else 200)


def _added(request: HttpRequest, form: RuleForm) -> str:
    rule = alerts.add_rule(form.terms, by=by(request), reason=form.cleaned_data["reason"])
    return f"{rule.pk} {rule.name}"


def mute(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Tell nobody for some hours. POST only."""
    hours = request.POST.get("hours", "")
    span = int(hours) if hours in {str(each) for each, _words in SPANS} else SPANS[0][0]

    def act() -> str:
        alerts.mute_rule(rule_id, timezone.now() + timedelta(hours=span), by=by(request), reason=why(request))
        return _("Nobody is told for %s. What is still so then is told.") % dict(SPANS)[span]

    return _act(request, rule_id, MUTE, act)


def unmute(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Tell people again. POST only."""

    def act() -> str:
        was = alerts.unmute_rule(rule_id, by=by(request), reason=why(request))
        return _("It is told again.") if was else _("It was not muted.")

    return _act(request, rule_id, MUTE, act)


def test(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Send a message that is a test. POST only."""

    def act() -> str:
        number = alerts.send_test(rule_id, by=by(request))
        told = ngettext("A test goes out to %d place; see below.", "A test goes out to %d places; see below.", number)
        return told % number

    return _act(request, rule_id, CHANGE, act)


def delete(site: AdminSite, request: HttpRequest, rule_id: int) -> HttpResponse:
    """Ask, and delete the rule with what it has found."""
    need(request, DELETE, _("You may not delete alert rules."))
    if request.method == "POST" and sent_before(request):
        _tell(request, _("It is deleted."), is_new=False)
        return HttpResponseRedirect(reverse("admin:alerts", current_app=request.current_app))
    row = _found(request, rule_id, DELETE)
    if row is None:
        return _gone(request)
    if request.method != "POST" or is_draft(request):
        title = _("Delete %(name)s?") % {"name": row.name}
        return page(site, request, "alerts/delete", title, {"rule": row, "max_reason": MAX_REASON})
    switched = switch_once(request, lambda: alerts.delete_rule(row.pk, by=by(request), reason=why(request)))
    tell(request, switched, _("Deleted the alert rule %s.") % row.name, _("It was deleted before."))
    return HttpResponseRedirect(reverse("admin:alerts", current_app=request.current_app))


def _tell(request: HttpRequest, words: str, is_new: bool) -> None:
    if is_new:
        messages.success(request, words)
    else:
        before = _("That was when this was sent before; nothing was done now.")
        messages.info(request, f"{words} {before}")


def _act(request: HttpRequest, rule_id: int, permission: str, act: Callable[[], str]) -> HttpResponse:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    need(request, permission, _("You may not do that with alert rules."))
    if not concerning(request, permission).is_whole and _found(request, rule_id, permission) is None:
        return _gone(request)
    try:
        _tell(request, *act_once(request, act))
    except InvalidJob as error:
        messages.error(request, sentence(error))
    if not request.user.has_perm(VIEW):
        return HttpResponseRedirect(reverse("admin:index", current_app=request.current_app))
    return _to(request, rule_id)


def _found(request: HttpRequest, rule_id: int, *permissions: str) -> AlertRule | None:
    """The rule, if this person may see it. Raises PermissionDenied where ``permissions`` do not reach it."""
    row = AlertRule.objects.filter(pk=rule_id).first() if rule_id < 2**63 else None
    if row is None or not is_within(concerning(request, *_held(request)), row):
        return None
    _need_reach(request, row, *permissions)
    return row


def _held(request: HttpRequest) -> list[str]:
    """Whoever may change rules and not see them sees those that they may change."""
    return [VIEW] if request.user.has_perm(VIEW) else []


def _may(request: HttpRequest, row: AlertRule, permission: str) -> bool:
    return request.user.has_perm(permission) and is_within(concerning(request, *_held(request), permission), row)


def _need_reach(request: HttpRequest, row: AlertRule, *permissions: str) -> None:
    reach = concerning(request, *_held(request), *permissions)
    if not is_within(reach, row):
        raise PermissionDenied(in_words(reach))


def _of(rules: list[AlertRule], reach: Reach) -> dict[str, Any]:
    """What narrows incidents to those of ``rules``."""
    return {} if reach.is_whole else {"rule__in": [rule.pk for rule in rules]}


def _row(row: AlertRule, now: Any) -> dict[str, Any]:
    is_muted = row.muted_until is not None and row.muted_until > now
    scope = row.job_type or row.queue
    return {
        "rule": row,
        "is_muted": is_muted,
        "scope": scope,
        "condition": _condition(row),
        "places": [*row.emails, *([without_path(row.webhook_url)] if row.webhook_url else [])],
    }


def _condition(row: AlertRule) -> str:
    if row.kind == AlertKind.SHARE:
        return _("%(percent)s %% of at least %(least)d attempts in %(minutes)d min") % {
            "percent": in_figures(f"{row.threshold * 100:g}"),
            "least": row.least,
            "minutes": row.minutes,
        }
    if row.kind == AlertKind.WAIT:
        return _("longer than %s min") % in_figures(f"{row.threshold / 60:g}")
    return ""


def _to(request: HttpRequest, rule_id: int) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:alert_rule", args=[rule_id], current_app=request.current_app))


def _gone(request: HttpRequest) -> HttpResponse:
    messages.warning(request, _("There is no such alert rule any more."))
    return HttpResponseRedirect(reverse("admin:alerts", current_app=request.current_app))
