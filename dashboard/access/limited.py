"""Which pages people may open whose role is limited to some jobs: those that obey the limit, and no other.

A page that is not named here is for those who are not limited: whoever adds one, and has it show and do only what
is within ``dashboard.kit.reach``, names it.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import gettext as _

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
        )),
        "index", "undo", "jobs_export", "jobs_new", "jobs_after", "jobs_columns",
        "job_views", "job_view", "job_view_new", "job_view_edit", "job_view_delete",
        # what was done to many of them, and what they run on
        "bulk", "bulk_new", "bulk_run", "bulk_pause", "bulk_try", "bulk_resume", "bulk_stop",
        "queues", "pause_queue", "resume_queue",
        "job_types", "job_type", "enqueue_one", "pause_type", "resume_type",
    }
)  # fmt: skip
UNNAMED = ("<path:object_id>/", "jobs/", "(?P<url>.*)$")  # old addresses that lead on, and what there is no page for

# These only show, and are about every job: for those whose permission of that name, and that to see jobs, reaches
# them all, whatever else of theirs is limited.
WHOLE_ONLY = {
    **dict.fromkeys(("failures", "failure_group", "jobs_ended", "workers", "foreign", "retry_policies"), VIEW_JOBS),
    **dict.fromkeys(("recurring", "recurring_job", "recurring_day"), "jobsite_jobs.view_recurringjob"),
    **dict.fromkeys(("workflows", "workflow"), "jobsite_jobs.view_workflow"),
    "alerts": "jobsite_jobs.view_alertrule",
    "limits": "jobsite_jobs.view_limitoverride",
    "jobsite_jobs_auditentry_changelist": "jobsite_jobs.view_auditentry",
    "jobsite_jobs_auditentry_change": "jobsite_jobs.view_auditentry",
}


def check(request: HttpRequest) -> None:
    """Raise PermissionDenied, in words, where this page is not for the person who asks for it."""
    match = request.resolver_match
    name, route = (match.url_name, match.route) if match else (None, "")
    if not (route.endswith(UNNAMED) if name is None else allows(request, name)):
        reach = next((found for found in _reaches(request, name or "") if not found.is_whole), WHOLE)
        limit = "" if reach.is_whole else f"{in_words(reach)} "
        raise PermissionDenied(limit + _("This page is about jobs beyond it: it is for people without such a limit."))


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
