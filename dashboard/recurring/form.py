"""The form of a recurring job, but for its arguments. The engine says what fits; its words stand beside the field."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any, cast
from zoneinfo import available_timezones

from django import forms
from django.utils.functional import cached_property
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.fields import SpanField, UtcField
from dashboard.kit.named import OneName
from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from handlers.conf import SYSTEM_QUEUE
from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.models import Misfire, Overlap, RecurringJob
from handlers.queues import known_queues
from handlers.recurrence.definition import Options
from handlers.selection import WHOLE, Reach

ZONES = "zones"  # the id of the page's list of them
BESIDES = ("name", "cron", "no_heartbeat", "reason")  # fields that are none of the options


class RecurringForm(forms.Form):
    """Name, rule and options, named as the arguments of the gateway's verb are."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=200,
        help_text=gettext_lazy("Such as nightly report. It cannot be changed later."),
    )
    cron = forms.CharField(
        label=gettext_lazy("Cron line"), required=False, max_length=1_000,
        help_text=format_lazy(
            "{} {} {}",
            gettext_lazy(
                "Minute, hour, day of month, month, day of week, such as 0 9 * * MON-FRI; with six fields the second is"
                " first. Both day fields must hold. @daily and its kin are known."
            ),
            gettext_lazy("Where clocks go forward, a time that is skipped fires at the first moment after it."),
            gettext_lazy(
                "Where they go back, a line of fixed hours fires once, and one of every so many minutes or hours in"
                " both passes."
            ),
        ),
        widget=forms.TextInput(attrs={"class": "code-input", "autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    every = SpanField(
        label=gettext_lazy("Or every"),
        required=False,
        help_text=gettext_lazy("Such as 90 s, 5 min or 1 h 30 min. Then no cron line."),
    )
    timezone = forms.CharField(
        label=gettext_lazy("Time zone"), initial="UTC", max_length=100,
        help_text=gettext_lazy("Whose wall clock the cron line goes by, such as Europe/Berlin."),
        widget=forms.TextInput(attrs={"list": ZONES, "autocomplete": "off"}),
    )  # fmt: skip
    start = UtcField(label=gettext_lazy("Start (UTC)"), required=False, help_text=gettext_lazy("Empty: at once."))
    end = UtcField(label=gettext_lazy("End (UTC)"), required=False, help_text=gettext_lazy("Empty: never."))
    misfire = forms.ChoiceField(
        label=gettext_lazy("When it was missed"), choices=Misfire.choices, initial=Misfire.ONE,
        help_text=gettext_lazy("Of what nobody fired in time, as in an outage."),
    )  # fmt: skip
    catch_up = forms.IntegerField(
        label=gettext_lazy("At most"),
        initial=100,
        help_text=gettext_lazy("Of those that were missed, where each runs."),
    )
    catch_up_within = SpanField(
        label=gettext_lazy("None older than"),
        initial=timedelta(days=1),
        help_text=gettext_lazy("Of those that were missed, where each runs."),
    )
    overlap = forms.ChoiceField(
        label=gettext_lazy("While the last one runs"), choices=Overlap.choices, initial=Overlap.ALLOW
    )
    jitter = SpanField(
        label=gettext_lazy("Jitter"),
        required=False,
        help_text=gettext_lazy("Each occurrence comes up to so much later, spread by name. Empty: none."),
    )
    queue = forms.ChoiceField(label=gettext_lazy("Queue"), required=False, widget=OneName("queue"))
    pause_after = forms.IntegerField(
        label=gettext_lazy("Pause after"),
        initial=0,
        help_text=gettext_lazy("Failed jobs in a row. 0: it never pauses by itself."),
    )
    heartbeat_url = forms.CharField(
        label=gettext_lazy("Heartbeat address"), required=False, max_length=1_000,
        help_text=gettext_lazy(
            "Asked for after each success, as by a dead man's switch. http or https; it counts as a secret."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "inputmode": "url"}),
    )  # fmt: skip
    no_heartbeat = forms.BooleanField(label=gettext_lazy("No heartbeat any more"), required=False)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        help_text=gettext_lazy("Optional, kept in the audit."),
    )

    def __init__(
        self, data: Any, *, row: RecurringJob | None, hides: bool, job_type: JobType, reach: Reach = WHOLE
    ) -> None:
        """``row``: what is edited; ``hides``: its heartbeat address; ``reach``: where its jobs may go."""
        self.row, self.hides = row, hides and row is not None and bool(row.heartbeat_url)
        super().__init__(data, initial=_initial(row) if row else {}, use_required_attribute=False)
        if row:
            del self.fields["name"]
        queues = sorted((known_queues() - {SYSTEM_QUEUE}) | ({row.queue} if row and row.queue else set()))
        if not reach.is_whole:
            queues = [name for name in queues if name in reach.queues() and reach.covers(job_type.name, name)]
        own = [("", _("of the type: %(queue)s") % {"queue": job_type.queue})]
        if not reach.covers(job_type.name, job_type.queue):
            own = []
        queue = cast("forms.ChoiceField", self.fields["queue"])
        queue.choices, queue.required = [*own, *((name, name) for name in queues)], not own
        if not self.hides:
            del self.fields["no_heartbeat"]
        else:
            self.initial["heartbeat_url"] = ""
            self.fields["heartbeat_url"].help_text = _("There is one, a secret. Leave it empty to keep it.")

    @cached_property
    def options(self) -> Options:
        """What the gateway takes, once the form is valid."""
        given = {name: value for name, value in self.cleaned_data.items() if name not in BESIDES}
        if self.row and self.hides and not given["heartbeat_url"] and not self.cleaned_data["no_heartbeat"]:
            given["heartbeat_url"] = self.row.heartbeat_url
        return Options(**given | {"queue": given["queue"] or None})

    def refuse(self, error: InvalidJob) -> None:
        """Show what the engine said, beside the field that it names."""
        self.add_error(error.field if error.field in self.fields else None, sentence(error))


@cache  # they are read from the disk
def zones() -> list[tuple[str, str]]:
    """Every time zone there is."""
    return [(name, "") for name in sorted(available_timezones())]


def _initial(row: RecurringJob) -> dict[str, Any]:
    """What the form shows of a stored one."""

    def span(seconds: float | None) -> timedelta | None:
        return timedelta(seconds=seconds) if seconds else None

    return {
        "cron": row.cron,
        "every": span(row.every_seconds),
        "timezone": row.zone,
        "start": row.start_at,
        "end": row.end_at,
        "misfire": row.misfire,
        "catch_up": row.catch_up,
        "catch_up_within": timedelta(seconds=row.catch_up_seconds),
        "overlap": row.overlap,
        "jitter": span(row.jitter_seconds),
        "queue": row.queue,
        "pause_after": row.pause_after,
        "heartbeat_url": row.heartbeat_url,
    }
