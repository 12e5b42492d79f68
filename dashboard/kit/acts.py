"""What people did, as the audit has it, in the reader's words: "retried with edited arguments", "job 17"."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, pgettext_lazy

from dashboard.kit.text import in_words, inert
from handlers.models import AuditEntry

# The words stand between a person's name and what it was done to.
_DID: dict[str, Promise] = {
    "enqueue": pgettext_lazy("who did it to what", "enqueued"),
    "schedule": pgettext_lazy("who did it to what", "scheduled"),
    "retry": pgettext_lazy("who did it to what", "retried"),
    "edit_and_retry": pgettext_lazy("who did it to what", "retried with edited arguments"),
    "requeue": pgettext_lazy("who did it to what", "requeued"),
    "take_back": pgettext_lazy("who did it to what", "took back"),
    "move": pgettext_lazy("who did it to what", "moved"),
    "delete": pgettext_lazy("who did it to what", "deleted"),
    "restore": pgettext_lazy("who did it to what", "restored"),
    "signal": pgettext_lazy("who did it to what", "answered"),
    "show_stack": pgettext_lazy("who did it to what", "looked at the stack of"),
    "pause_queue": pgettext_lazy("who did it to what", "paused"),
    "resume_queue": pgettext_lazy("who did it to what", "resumed"),
    "pause_type": pgettext_lazy("who did it to what", "paused"),
    "resume_type": pgettext_lazy("who did it to what", "resumed"),
    "stop_worker": pgettext_lazy("who did it to what", "asked to finish and stop"),
    "start_bulk": pgettext_lazy("who did it to what", "started"),
    "pause_bulk": pgettext_lazy("who did it to what", "paused"),
    "try_bulk": pgettext_lazy("who did it to what", "tried some more of"),
    "resume_bulk": pgettext_lazy("who did it to what", "resumed"),
    "stop_bulk": pgettext_lazy("who did it to what", "stopped"),
    "finish_bulk": pgettext_lazy("who did it to what", "finished"),
    "export": pgettext_lazy("who did it to what", "began to export"),
    "exported": pgettext_lazy("who did it to what", "exported"),
    "resolve_group": pgettext_lazy("who did it to what", "resolved"),
    "ignore_group": pgettext_lazy("who did it to what", "ignored"),
    "reopen_group": pgettext_lazy("who did it to what", "opened again"),
    "assign_group": pgettext_lazy("who did it to what", "changed the assignee of"),
    "note_group": pgettext_lazy("who did it to what", "wrote a note on"),
    "add_recurring": pgettext_lazy("who did it to what", "added"),
    "change_recurring": pgettext_lazy("who did it to what", "changed"),
    "remove_recurring": pgettext_lazy("who did it to what", "removed"),
    "trigger_recurring": pgettext_lazy("who did it to what", "triggered"),
    "backfill_recurring": pgettext_lazy("who did it to what", "backfilled"),
    "pause_recurring": pgettext_lazy("who did it to what", "paused"),
    "resume_recurring": pgettext_lazy("who did it to what", "resumed"),
    "enqueue_workflow": pgettext_lazy("who did it to what", "enqueued"),
    "extend_workflow": pgettext_lazy("who did it to what", "extended"),
    "continue_with": pgettext_lazy("who did it to what", "had another job follow"),
    "pause_workflow": pgettext_lazy("who did it to what", "paused"),
    "resume_workflow": pgettext_lazy("who did it to what", "resumed"),
    "cancel_workflow": pgettext_lazy("who did it to what", "cancelled"),
    "retry_workflow": pgettext_lazy("who did it to what", "retried the failed jobs of"),
    "skip": pgettext_lazy("who did it to what", "skipped"),
    "complete_saga": pgettext_lazy("who did it to what", "completed by hand"),
    "save_policy": pgettext_lazy("who did it to what", "saved"),
    "delete_policy": pgettext_lazy("who did it to what", "deleted"),
    "assign_policy": pgettext_lazy("who did it to what", "changed the retry policy of"),
    "change_limit": pgettext_lazy("who did it to what", "changed"),
    "reset_limit": pgettext_lazy("who did it to what", "gave back the code's values to"),
    "add_alert": pgettext_lazy("who did it to what", "added"),
    "change_alert": pgettext_lazy("who did it to what", "changed"),
    "delete_alert": pgettext_lazy("who did it to what", "deleted"),
    "mute_alert": pgettext_lazy("who did it to what", "muted"),
    "unmute_alert": pgettext_lazy("who did it to what", "unmuted"),
    "test_alert": pgettext_lazy("who did it to what", "tested"),
    "create_client": pgettext_lazy("who did it to what", "made"),
    "revoke_client": pgettext_lazy("who did it to what", "revoked the token of"),
    "add_user": pgettext_lazy("who did it to what", "added"),
    "change_user": pgettext_lazy("who did it to what", "changed"),
    "delete_user": pgettext_lazy("who did it to what", "deleted"),
    "set_password": pgettext_lazy("who did it to what", "reset the password of"),
    "disable_password": pgettext_lazy("who did it to what", "took away the password of"),
    "add_group": pgettext_lazy("who did it to what", "added"),
    "change_group": pgettext_lazy("who did it to what", "changed"),
    "delete_group": pgettext_lazy("who did it to what", "deleted"),
    "sign_in": pgettext_lazy("who did it to what", "signed in as"),
    "lock_out": pgettext_lazy("who did it to what", "locked out"),
    "lift_lock_out": pgettext_lazy("who did it to what", "let sign in again"),
    "share_view": pgettext_lazy("who did it to what", "shared"),
    "change_view": pgettext_lazy("who did it to what", "changed"),
    "unshare_view": pgettext_lazy("who did it to what", "no longer shares"),
    "remove_view": pgettext_lazy("who did it to what", "removed"),
    "mark_deploy": pgettext_lazy("who did it to what", "marked the deploy of"),
}
# Where the button said something else, because of the state that all of the jobs were in.
_FROM: dict[tuple[str, str], Promise] = {
    ("retry", "scheduled"): pgettext_lazy("who did it to what", "had run now"),
    ("delete", "processing"): pgettext_lazy("who did it to what", "stopped and deleted"),
}
_APPROVED = {
    True: pgettext_lazy("who did it to what", "approved"), False: pgettext_lazy("who did it to what", "declined"),
}  # fmt: skip
_OWN_PASSWORD = pgettext_lazy("who did it to what", "changed their own password:")

# What the first words of a target name, the longest first; what follows is an id or a name.
_KINDS: dict[str, Promise] = {
    "bulk operation": gettext_lazy("bulk operation %(name)s"),
    "failure group": gettext_lazy("failure group %(name)s"),
    "alert rule": gettext_lazy("alert rule %(name)s"),
    "recurring": gettext_lazy("recurring job %(name)s"),
    "workflow": gettext_lazy("workflow %(name)s"),
    "saga": gettext_lazy("saga %(name)s"),
    "job": gettext_lazy("job %(name)s"),
    "queue": gettext_lazy("queue %(name)s"),
    "type": gettext_lazy("job type %(name)s"),
    "worker": gettext_lazy("worker %(name)s"),
    "policy": gettext_lazy("retry policy %(name)s"),
    "limit": gettext_lazy("limit %(name)s"),
    "client": gettext_lazy("API client %(name)s"),
    "user": gettext_lazy("user %(name)s"),
    "group": gettext_lazy("group %(name)s"),
    "view": gettext_lazy("view %(name)s"),
    "version": gettext_lazy("version %(name)s"),
}


def did(entry: AuditEntry) -> str:
    """What was done, to be read before what it was done to."""
    data: Any = entry.data if isinstance(entry.data, dict) else {}
    sources = data.get("from")
    if isinstance(sources, dict) and len(sources) == 1 and (words := _FROM.get((entry.verb, *sources))):
        return str(words)
    if entry.verb == "signal" and isinstance(approved := data.get("approved"), bool):
        return str(_APPROVED[approved])
    if entry.verb == "set_password" and entry.target == f"user {entry.username}":
        return str(_OWN_PASSWORD)
    return inert(str(_DID.get(entry.verb) or in_words(entry.verb).lower()))


def to_what(target: str) -> str:
    """What it was done to: ``job 17``."""
    for kind, words in _KINDS.items():
        if target.startswith(f"{kind} "):
            return str(words) % {"name": inert(target.removeprefix(f"{kind} "))}
    return inert(target)
