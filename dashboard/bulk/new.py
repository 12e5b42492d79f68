"""The page that says what a verb would do to all that match, asks how, and starts it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import cast

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.bulk.pages import list_url, page
from dashboard.kit import in_short, serving, turns, verbs
from dashboard.kit.drafts import is_draft
from dashboard.kit.languages import in_language
from dashboard.kit.limits import TookTooLong, time_limit
from dashboard.kit.once import act_once
from dashboard.kit.reach import NOWHERE, acting
from dashboard.kit.runs import CHOICES, Run, count_in_words, moves_within
from dashboard.kit.search import list_query, selection_of
from dashboard.kit.selection_words import in_words
from handlers import bulk
from handlers.exceptions import InvalidJob
from handlers.gateway import job_scheduler
from handlers.models import JobRecord
from handlers.selection import WINDOW, InvalidSelection, Selection

SAMPLE = 20  # jobs that the preview names
SAMPLE_SECONDS = 1.0
AT_ONCE = 1_000  # jobs that are counted before the page is shown; of more, the page asks for the number by itself
FAILED_PERCENT = 20  # of first attempts, above which a run pauses unless somebody says otherwise


class OptionsForm(forms.Form):
    """How a run goes."""

    queue = forms.ChoiceField(
        label=gettext_lazy("To queue"), error_messages={"required": gettext_lazy("Choose the queue that they go to.")},
        help_text=gettext_lazy(
            "What is scheduled keeps its time. Failed jobs stay failed: their next retry goes there."
        ),
    )  # fmt: skip
    rate_per_second = forms.FloatField(
        label=gettext_lazy("At most, jobs a second"),
        required=False,
        min_value=0.1,
        max_value=10_000,
        help_text=gettext_lazy("Empty: no limit."),
    )
    canary = forms.IntegerField(
        label=gettext_lazy("Canary jobs"), required=False, min_value=0, max_value=1_000, initial=bulk.CANARY,
        help_text=gettext_lazy(
            "So many go first; the rest follows only if the first attempt of each succeeds. Empty: none."
        ),
    )  # fmt: skip
    max_failed_percent = forms.FloatField(
        label=gettext_lazy("Pause above, % failed"), required=False, min_value=0, max_value=100, initial=FAILED_PERCENT,
        help_text=gettext_lazy("Of first attempts, once 20 have ended. Empty: no limit."),
    )  # fmt: skip
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=verbs.MAX_REASON,
        help_text=gettext_lazy("Optional, kept in the audit."),
    )
    confirm_count = forms.IntegerField(label=gettext_lazy("Number of jobs, to confirm"), required=False, min_value=0)


def new(site: AdminSite, request: HttpRequest) -> HttpResponseBase:
    """What a verb would do to which jobs, and how; a POST starts it."""
    if not request.user.has_perm(verbs.RUN_BULK):
        raise PermissionDenied(_("You may not start bulk operations."))
    name = request.GET.get("verb", "")
    problem, verb, selection, fitting, reach = "", CHOICES.get(name), None, None, NOWHERE
    if verb is None:
        problem = _("There is no verb %(name)s for all that match; there are %(choices)s.") % {
            "name": repr(name[:40]),
            "choices": ", ".join(CHOICES),
        }
    elif not verb.allowed(request.user):
        raise PermissionDenied(verb.refusal)
    else:
        try:
            reach = acting(request, verbs.RUN_BULK, verb.permission)
            selection = selection_of(request, within=reach)
            fitting = bulk.narrowed(verb.name, selection)
        except (InvalidSelection, InvalidJob) as error:
            problem = in_language(error)
    form = OptionsForm(request.POST if request.method == "POST" else None, use_required_attribute=False)
    if verb is None or selection is None or fitting is None:
        return page(site, request, "new", _("New bulk operation"), {"problem": problem}, status=400)
    if verb.to_queue:
        choices = serving.choices(request, selection.queues[0] if len(selection.queues) == 1 else "", reach)
        choices = [(queue, words) for queue, words in choices if moves_within(selection, queue, reach)]
        cast("forms.ChoiceField", form.fields["queue"]).choices = [("", _("(choose)")), *choices]
    else:
        del form.fields["queue"]
    if not bulk.VERBS[verb.name].runs:
        del form.fields["canary"], form.fields["max_failed_percent"]
    if not selection.is_empty:
        del form.fields["confirm_count"]
    acts = request.method == "POST" and not is_draft(request)
    if acts and form.is_valid() and (started := _start(request, verb, selection, form)):
        return HttpResponseRedirect(reverse("admin:bulk_run", args=[started], current_app=site.name))
    asks_again = "X-Live" in request.headers  # for the number alone
    count, most = _count(fitting, whole=asks_again)
    rows = [] if asks_again else _sample(fitting)
    shorts = in_short.of_jobs(request, rows)
    title = verb.of_jobs(count_in_words(count or 0, most) if count != 0 else _("no jobs"))
    context = {
        "verb": verb,
        "form": form,
        "count": count,
        "counting": not asks_again and count is not None and count > most,
        "button": title,
        "rows": [(row, shorts[row.pk]) for row in rows],
        "more": count is not None and count > len(rows),
        "words": in_words(fitting, timezone.now()),
        "search": str(fitting),
        "runs": bulk.VERBS[verb.name].runs,
        "window": WINDOW if fitting.looks_at_newest else None,
        "everything": selection.is_empty,
        "back": f"{list_url(site)}?{list_query(request.GET)}",
    }
    return page(site, request, "new", _("%(what)s?") % {"what": title}, context, status=400 if form.errors else 200)


def _start(request: HttpRequest, verb: verbs.Verb, selection: Selection, form: OptionsForm) -> int | None:
    """The run that the form starts, or started when it was sent before; None where it is refused."""
    given = form.cleaned_data
    percent = given.get("max_failed_percent")

    def start() -> str:
        made = job_scheduler.start_bulk(
            verb.name,
            selection,
            queue=given.get("queue"),
            by=cast("AbstractBaseUser", request.user),
            reason=given["reason"],
            rate_per_second=given["rate_per_second"],
            canary=given.get("canary") or 0,
            max_failed_share=percent / 100 if percent is not None else None,
            confirm_count=given.get("confirm_count"),
        )
        messages.success(request, _("Started in the background: %(what)s.") % {"what": Run(made).what})
        return str(made.pk)

    try:
        # Every job is counted then, which takes long.
        with turns.held(request, "count") if selection.is_empty else nullcontext():
            operation_id, is_new = act_once(request, start)
    except turns.NoTurn as error:
        form.add_error(None, in_language(error))
        return None
    except InvalidJob as error:
        form.add_error(error.field if error.field in form.fields else None, in_language(error))
        return None
    if not is_new:
        messages.info(request, _("This form was sent before and started this run then; nothing was done now."))
    return int(operation_id)


def _count(fitting: Selection, *, whole: bool) -> tuple[int | None, int]:
    """How many jobs fit, and up to how many were counted: ``bulk.count_of``."""
    most = bulk.COUNTED if whole else AT_ONCE
    count = bulk.count_of(fitting, most=most)
    # It is asked for as a whole because there are more than AT_ONCE; where that takes too long, this still holds.
    return (AT_ONCE + 1, AT_ONCE) if whole and count is None else (count, most)


def _sample(fitting: Selection) -> list[JobRecord]:
    try:
        with time_limit(SAMPLE_SECONDS):
            return fitting.page(SAMPLE)
    except TookTooLong:
        return []
