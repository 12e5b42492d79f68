"""Which pages people may open whose role is limited to some jobs: those that obey the limit, and no other.

A page that is not named here is for those who are not limited: whoever adds one, and has it show and do only what
is within ``dashboard.kit.reach``, names it.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.reach import VIEW_JOBS, in_words, is_limited, reach_of
from handlers.selection import WHOLE, Reach

# By the name of the address: these show and do only what is within reach.
OBEYS = frozenset(
    {
        # of the stock admin; nothing of a job is there
        "login", "logout", "password_change", "password_change_done", "jsi18n", "app_list", "language",
        "account",
        # jobs
        *(f"jobsite_jobs_jobrecord_{page}" for page in (
            "changelist", "change", "add", "delete", "history", "retry", "requeue", "restore", "move", "edit", "stack",
            "signal",
        )),
        "index", "undo", "jobs_export", "jobs_new", "jobs_names", "jobs_after", "jobs_columns",
        "job_views", "job_view", "job_view_new", "job_view_edit", "job_view_delete",
        # what was done to many of them, and what they run on
        "bulk", "bulk_new", "bulk_run", "bulk_pause", "bulk_try", "bulk_resume", "bulk_stop",
        "queues", "pause_queue", "resume_queue",
        "job_types", "job_type", "enqueue_one", "pause_type", "resume_type",
        "recurring", "recurring_job", "recurring_day", "recurring_new", "recurring_edit", "recurring_delete",
        "recurring_backfill", "trigger_recurring", "pause_recurring", "resume_recurring",
        "alerts", "alert_new", "alert_rule", "alert_delete", "alert_mute", "alert_unmute", "alert_test",
        "limits", "limit", "limit_reset", "retry_policies", "workers", "failures", "failure_group",
        "sagas", "saga", "complete_saga", "retry_in_saga",
        "workflows", "workflow", "workflow_cancel", "pause_workflow", "resume_workflow", "retry_workflow", "skip_job",
        "jobsite_jobs_auditentry_changelist", "jobsite_jobs_auditentry_change",
    }
)  # fmt: skip
UNNAMED = ("<path:object_id>/", "jobs/", "(?P<url>.*)$")  # old addresses that lead on, and what there is no page for

# These only show, and are about every job: for those whose permission of that name, and that to see jobs, reaches
# them all, whatever else of theirs is limited.
WHOLE_ONLY = dict.fromkeys(("jobs_ended", "foreign"), VIEW_JOBS)


OTHERWISE = gettext_lazy("This page is about jobs beyond it: it is for people without such a limit.")
# Why a page of these is for nobody who is limited; of others it is said that they are about jobs beyond.
WHY = {
    **dict.fromkeys(
        ("resolve_group", "ignore_group", "reopen_group", "assign_group", "note_group"),
        gettext_lazy("A failure group is one for all of its jobs, and some may be beyond it."),
    ),
    **dict.fromkeys(
        ("retry_policy", "retry_policy_new", "retry_policy_types", "retry_policy_delete"),
        gettext_lazy("A retry policy can be followed by types beyond it."),
    ),
    "stop_worker": gettext_lazy("A worker may run jobs beyond it."),
    "foreign": gettext_lazy("Jobs that are RQ's own are of no job type, so nobody can tell which are within it."),
}


def check(request: HttpRequest) -> None:
    """Raise PermissionDenied, in words, where this page is not for the person who asks for it."""
    match = request.resolver_match
    name, route = (match.url_name, match.route) if match else (None, "")
    if not (route.endswith(UNNAMED) if name is None else allows(request, name)):
        reach = next((found for found in _reaches(request, name or "") if not found.is_whole), WHOLE)
        limit = "" if reach.is_whole else f"{in_words(reach)} "
        why = WHY.get(name or "")
        told = _("This is for people without such a limit.") if why else OTHERWISE
        raise PermissionDenied(f"{limit}{why} {told}" if why else f"{limit}{told}")


def allows(request: HttpRequest, name: str) -> bool:
    """Whether this person's limits, if they have some, leave them the page of this name."""
    if name in OBEYS or not is_limited(request.user):
        return True
    return name in WHOLE_ONLY and all(reach.is_whole for reach in _reaches(request, name))


def _reaches(request: HttpRequest, name: str) -> list[Reach]:
    return [
        reach_of(request.user, permission)
        for permission in (VIEW_JOBS, WHOLE_ONLY.get(name, VIEW_JOBS))
        if request.user.has_perm(permission)
    ]
