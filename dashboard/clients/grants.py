"""Who may give a client which verbs: nobody more than they may do themselves."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest

from dashboard.kit.languages import in_language
from handlers.api.scopes import VERBS

VIEW, ADD, REVOKE = (f"jobsite_jobs.{verb}_apiclient" for verb in ("view", "add", "revoke"))

# verb of the API -> the permissions that a person needs for the same
NEEDED = {
    "read": ("view_jobrecord", "view_failuregroup", "view_recurringjob", "view_workflow"),
    "enqueue": ("enqueue_jobrecord",),
    "schedule": ("enqueue_jobrecord",),
    "retry": ("retry_jobrecord",),
    "requeue": ("requeue_jobrecord",),
    "delete": ("delete_jobrecord",),
    "restore": ("delete_jobrecord",),
    "move": ("move_jobrecord",),
    "signal": ("signal_jobrecord",),
    "bulk": ("run_bulkoperation",),
    "recurring": (
        "add_recurringjob", "change_recurringjob", "delete_recurringjob", "trigger_recurringjob",
        "pause_recurringjob", "enqueue_jobrecord",
    ),
    "workflows": ("change_workflow", "retry_jobrecord", "delete_jobrecord"),
    "failures": ("change_failuregroup",),
    "sensitive": ("view_sensitive",),
}  # fmt: skip


def may_grant(user: AbstractBaseUser | AnonymousUser, verb: str) -> bool:
    """Whether ``user`` may do what ``verb`` lets a client do."""
    return all(user.has_perm(f"jobsite_jobs.{name}") for name in NEEDED[verb])  # type: ignore[union-attr]


def grantable(request: HttpRequest) -> dict[str, str]:
    """The verbs that this person may give, with their words."""
    return {verb: in_language(words) for verb, words in VERBS.items() if may_grant(request.user, verb)}
