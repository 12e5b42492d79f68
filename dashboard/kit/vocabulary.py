"""Fixed words of the engine as people read them: states, and the verbs of the audit. What is stored stays English."""

from __future__ import annotations

from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from dashboard.kit.numbers import thousands

# Of jobs, workflows and failure groups, in the middle of a line.
STATES = {
    "awaiting": pgettext_lazy("state", "awaiting"),
    "scheduled": pgettext_lazy("state", "scheduled"),
    "retrying": pgettext_lazy("state", "retrying"),
    "enqueued": pgettext_lazy("state", "enqueued"),
    "processing": pgettext_lazy("state", "processing"),
    "succeeded": pgettext_lazy("state", "succeeded"),
    "failed": pgettext_lazy("state", "failed"),
    "deleted": pgettext_lazy("state", "deleted"),
    "handed back": pgettext_lazy("state", "handed back"),
    "snoozed": pgettext_lazy("state", "snoozed"),
    "waiting": pgettext_lazy("state", "waiting"),
    "skipped": pgettext_lazy("state", "skipped"),
    "paused": pgettext_lazy("state", "paused"),
    "running": pgettext_lazy("state", "running"),
    "cancelled": pgettext_lazy("state", "cancelled"),
    "missed": pgettext_lazy("state", "missed"),
    "resolved": pgettext_lazy("state", "resolved"),
    "ignored": pgettext_lazy("state", "ignored"),
    "regressed": pgettext_lazy("state", "regressed"),
    "open": pgettext_lazy("state", "open"),
    "new": pgettext_lazy("state", "new"),
    "ended": pgettext_lazy("state", "ended"),
    "cancelling": pgettext_lazy("state", "cancelling"),
    "unneeded": pgettext_lazy("state", "not needed"),
    "gone": pgettext_lazy("state", "aged out"),
}
# Of the audit, as they stand in a list.
VERBS = {
    "enqueue": gettext_lazy("Enqueue"),
    "schedule": gettext_lazy("Schedule"),
    "retry": gettext_lazy("Retry"),
    "edit_and_retry": gettext_lazy("Edit and retry"),
    "requeue": gettext_lazy("Requeue"),
    "move": gettext_lazy("Move"),
    "delete": gettext_lazy("Delete"),
    "restore": gettext_lazy("Restore"),
    "signal": gettext_lazy("Signal"),
    "show_stack": gettext_lazy("Show stack"),
    "pause_queue": gettext_lazy("Pause queue"),
    "resume_queue": gettext_lazy("Resume queue"),
    "pause_type": gettext_lazy("Pause type"),
    "resume_type": gettext_lazy("Resume type"),
    "stop_worker": gettext_lazy("Stop worker"),
    "start_bulk": gettext_lazy("Start bulk"),
    "pause_bulk": gettext_lazy("Pause bulk"),
    "try_bulk": gettext_lazy("Try bulk"),
    "resume_bulk": gettext_lazy("Resume bulk"),
    "stop_bulk": gettext_lazy("Stop bulk"),
    "finish_bulk": gettext_lazy("Finish bulk"),
    "export": gettext_lazy("Export"),
    "exported": gettext_lazy("Exported"),
    "complete_saga": gettext_lazy("Complete saga"),
    "resolve_group": gettext_lazy("Resolve group"),
    "ignore_group": gettext_lazy("Ignore group"),
    "reopen_group": gettext_lazy("Reopen group"),
    "assign_group": gettext_lazy("Assign group"),
    "note_group": gettext_lazy("Note group"),
    "add_recurring": gettext_lazy("Add recurring"),
    "change_recurring": gettext_lazy("Change recurring"),
    "remove_recurring": gettext_lazy("Remove recurring"),
    "trigger_recurring": gettext_lazy("Trigger recurring"),
    "backfill_recurring": gettext_lazy("Backfill recurring"),
    "pause_recurring": gettext_lazy("Pause recurring"),
    "resume_recurring": gettext_lazy("Resume recurring"),
    "enqueue_workflow": gettext_lazy("Enqueue workflow"),
    "extend_workflow": gettext_lazy("Extend workflow"),
    "continue_with": gettext_lazy("Continue with"),
    "pause_workflow": gettext_lazy("Pause workflow"),
    "resume_workflow": gettext_lazy("Resume workflow"),
    "cancel_workflow": gettext_lazy("Cancel workflow"),
    "retry_workflow": gettext_lazy("Retry workflow"),
    "skip": gettext_lazy("Skip"),
    "save_policy": gettext_lazy("Save policy"),
    "delete_policy": gettext_lazy("Delete policy"),
    "assign_policy": gettext_lazy("Assign policy"),
    "change_limit": gettext_lazy("Change limit"),
    "reset_limit": gettext_lazy("Reset limit"),
    "add_alert": gettext_lazy("Add alert"),
    "change_alert": gettext_lazy("Change alert"),
    "delete_alert": gettext_lazy("Delete alert"),
    "mute_alert": gettext_lazy("Mute alert"),
    "unmute_alert": gettext_lazy("Unmute alert"),
    "test_alert": gettext_lazy("Test alert"),
    "create_client": gettext_lazy("Create client"),
    "revoke_client": gettext_lazy("Revoke client"),
    "add_user": gettext_lazy("Add user"),
    "change_user": gettext_lazy("Change user"),
    "delete_user": gettext_lazy("Delete user"),
    "set_password": gettext_lazy("Set password"),
    "disable_password": gettext_lazy("Disable password"),
    "add_group": gettext_lazy("Add group"),
    "change_group": gettext_lazy("Change group"),
    "delete_group": gettext_lazy("Delete group"),
    "sign_in": gettext_lazy("Sign in"),
    "lock_out": gettext_lazy("Lock out"),
    "lift_lock_out": gettext_lazy("Lift lock out"),
    "share_view": gettext_lazy("Share view"),
    "change_view": gettext_lazy("Change view"),
    "unshare_view": gettext_lazy("Unshare view"),
    "remove_view": gettext_lazy("Remove view"),
    "mark_deploy": gettext_lazy("Mark deploy"),
}


def state_label(state: str) -> str:
    """A state, or what stands in the place of one on a badge, as people read it: in the middle of a line."""
    return str(STATES.get(state) or state)


def counted_state(state: str, count: int) -> str:
    """How many are in it: ``3 failed``. The state ``""``: not yet in any of these."""
    match state:
        case "done":
            words = ngettext("%(number)s done", "%(number)s done", count)
        case "succeeded":
            words = ngettext("%(number)s succeeded", "%(number)s succeeded", count)
        case "failed":
            words = ngettext("%(number)s failed", "%(number)s failed", count)
        case "deleted":
            words = ngettext("%(number)s deleted", "%(number)s deleted", count)
        case "skipped":
            words = ngettext("%(number)s skipped", "%(number)s skipped", count)
        case "unneeded":
            words = ngettext("%(number)s not needed", "%(number)s not needed", count)
        case "":
            words = ngettext("%(number)s to come", "%(number)s to come", count)
        case _other:
            words = f"%(number)s {state_label(state).replace('%', '%%')}"
    return words % {"number": thousands(count)}
