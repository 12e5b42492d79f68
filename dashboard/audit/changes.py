"""What an entry of the audit says of a change: what was there before, and what is there since."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.differences import Difference, differences
from dashboard.kit.text import inert, one_line
from handlers.models import AuditEntry
from handlers.recurrence.verbs import ARGUMENT, CONTEXT

LONGEST = 400  # characters of a value

# Of recurring jobs; an argument has its own name.
_COLUMNS: dict[str, Promise] = {
    "job_type": gettext_lazy("Job type"),
    "queue": gettext_lazy("Queue"),
    "cron": gettext_lazy("Cron"),
    "every_seconds": gettext_lazy("Every, seconds"),
    "zone": gettext_lazy("Time zone"),
    "start_at": gettext_lazy("Start"),
    "end_at": gettext_lazy("End"),
    "jitter_seconds": gettext_lazy("Jitter, seconds"),
    "misfire": gettext_lazy("When it was missed"),
    "catch_up": gettext_lazy("At most"),
    "catch_up_seconds": gettext_lazy("None older than, seconds"),
    "overlap": gettext_lazy("While the last one runs"),
    "pause_after": gettext_lazy("Pause after"),
    "heartbeat_url": gettext_lazy("Heartbeat to"),
}


def changes(entry: AuditEntry) -> list[Difference]:
    """Field by field; none where the entry has no before and after."""
    data: Any = entry.data if isinstance(entry.data, dict) else {}
    before, after = data.get("before"), data.get("after")
    if "before" not in data and "after" not in data:
        return []
    if isinstance(before, dict) and isinstance(after, dict) and entry.verb in ("edit_and_retry", "change_recurring"):
        return [Difference(_label(name), _text(before, name), _text(after, name)) for name in {**before, **after}]
    if isinstance(before, dict) or isinstance(after, dict):
        return differences(before, after)
    code = _("the code")  # two plain values, as of an assignment, are one field
    return [Difference(_("Policy"), one_line(str(before or code)), one_line(str(after or code)))]


def _label(name: Any) -> str:
    """Of an argument or a column."""
    if known := _COLUMNS.get(name):
        return str(known)
    if str(name).startswith(CONTEXT):
        return f"{_('Context')}: {inert(str(name).removeprefix(CONTEXT), 100)}"
    return inert(str(name).removeprefix(ARGUMENT), 100) or _("all arguments")


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return _("none") if value is None or value == "" else inert(str(value), LONGEST)
