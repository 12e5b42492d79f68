"""When and where a new job of a type runs, how long that is of use, and what becomes of it where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.fields import SpanField, UtcField
from dashboard.kit.named import OneName
from dashboard.kit.one_at_a_time import rule_in_words
from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from handlers.conf import SYSTEM_QUEUE
from handlers.deadlines import LONGEST_WAIT
from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.queues import known_queues
from handlers.selection import WHOLE, Reach
from handlers.unique import DEBOUNCE, ERROR, EXISTING, REPLACE, Rule, Unique

KEEP, BESIDE = "keep", "beside"
AS_DECLARED = {
    EXISTING: gettext_lazy("As the type says: keep it"),
    ERROR: gettext_lazy("As the type says: refuse this one"),
    REPLACE: gettext_lazy("As the type says: take its place"),
    DEBOUNCE: gettext_lazy("As the type says: postpone it"),
}
TOO_LONG = gettext_lazy("At most 3,650 days.")


class WhenForm(forms.Form):
    """What there is to say beside the arguments. ``options``, once it is valid, are those of the gateway's verb."""

    when = forms.ChoiceField(
        label=gettext_lazy("When"),
        choices=[
            ("now", gettext_lazy("Now")),
            ("delay", gettext_lazy("After a delay")),
            ("at", gettext_lazy("At a time")),
        ],
        initial="now",
    )
    delay = SpanField(
        label=gettext_lazy("Delay"),
        required=False,
        bare_unit="min",
        help_text=gettext_lazy("Such as 90 s, 5 min or 1 h 30 min; a bare number is minutes."),
    )
    at = UtcField(label=gettext_lazy("Time (UTC)"), required=False)
    expires_after = SpanField(
        label=gettext_lazy("Expires after"), required=False, bare_unit="min",
        help_text=gettext_lazy(
            "From now, such as 15 min or 2 h: if it was not started by then, it is deleted. Empty: never."
        ),
    )  # fmt: skip
    expires_at = UtcField(label=gettext_lazy("Or expires at (UTC)"), required=False)
    if_there = forms.ChoiceField(label=gettext_lazy("If there is one already"), required=False)
    queue = forms.ChoiceField(label=gettext_lazy("Queue"), widget=OneName("queue"))
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        help_text=gettext_lazy("Optional, kept in the audit."),
    )

    def __init__(self, *args: Any, job_type: JobType, reach: Reach = WHOLE, **options: Any) -> None:
        """``job_type``: its own queue and its own rule are chosen at first."""
        super().__init__(*args, **options)
        self.job_type = job_type
        names = sorted((known_queues() - {SYSTEM_QUEUE}) | {job_type.queue})
        if not reach.is_whole:
            names = [name for name in names if name in reach.queues() and reach.covers(job_type.name, name)]
        queue = cast("forms.ChoiceField", self.fields["queue"])
        queue.choices = [(name, name) for name in names]
        queue.initial = job_type.queue
        there = cast("forms.ChoiceField", self.fields["if_there"])
        there.choices = list(_choices(job_type.unique))
        there.help_text = (
            _("One at a time %(rule)s. One that is enqueued beside it holds no key.")
            % {"rule": rule_in_words(job_type.unique)}
            if job_type.unique
            else _("Kept is only what holds a key: enqueued with that choice here, or with unique= in code.")
        )

    def clean(self) -> dict[str, Any]:
        """What was chosen must be filled in, and the deadline come after the job is due."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        when = cleaned.get("when")
        if when in ("delay", "at") and cleaned.get(when) is None and when not in self.errors:
            self.add_error(when, _("Say how long.") if when == "delay" else _("Say when."))
        for name in ("delay", "expires_after"):
            if (cleaned.get(name) or timedelta(0)) > LONGEST_WAIT:
                self.add_error(name, TOO_LONG)
        if not self.errors:
            self._check_expiry(timezone.now())
        return cleaned

    def _check_expiry(self, now: datetime) -> None:
        wait, at = (self.cleaned_data[name] for name in ("expires_after", "expires_at"))
        if wait is not None and at is not None:
            self.add_error("expires_at", _("Say one of the two: after how long, or when."))
        elif wait == timedelta(0):
            self.add_error("expires_after", _("It would be over at once: say how long, or leave it empty."))
        elif at is not None and at <= now:
            self.add_error("expires_at", _("That has passed."))
        elif (wait or at) and (at or now + wait) <= self._due(now):
            self.add_error(self.expiry_field, _("That comes before the job is due, so it would never run."))

    def _due(self, now: datetime) -> datetime:
        chosen = self.cleaned_data
        if chosen["when"] == "at":
            return max(now, cast("datetime", chosen["at"]))
        return now + (chosen["delay"] if chosen["when"] == "delay" else timedelta(0))

    @property
    def expiry_field(self) -> str:
        """Where the deadline was given."""
        return "expires_at" if self.cleaned_data.get("expires_at") else "expires_after"

    @property
    def options(self) -> dict[str, Any]:
        """Those of the gateway's verb, which is ``schedule`` where there is an ``at``; only what was said."""
        chosen = self.cleaned_data
        queue = chosen["queue"]
        told = {
            "delay": chosen["delay"] if chosen["when"] == "delay" else None,
            "at": chosen["at"] if chosen["when"] == "at" else None,
            "expires": chosen["expires_after"] or chosen["expires_at"],
            "unique": self._unique(),
            "queue": None if queue == self.job_type.queue else queue,
        }
        return {name: value for name, value in told.items() if value is not None}

    @property
    def rule(self) -> Unique | None:
        """By which there is one at a time."""
        return self.job_type.rule(self._unique())

    def _unique(self) -> Rule:
        chosen, own = self.cleaned_data["if_there"], self.job_type.unique
        if chosen == KEEP:
            return replace(own, on_conflict=EXISTING) if own else Unique()
        return False if chosen == BESIDE else None

    def refuse(self, error: InvalidJob) -> None:
        """Show what the engine said, beside the field that it names."""
        name = {"expires": self.expiry_field, "unique": "if_there"}.get(error.field, error.field)
        self.add_error(name if name in self.fields else None, sentence(error))


def _choices(rule: Unique | None) -> Iterator[tuple[str, str]]:
    """What there is to choose; the first is as the type says. Replacing is not offered: it deletes a job."""
    if rule is None:
        yield "", _("The type has no rule: enqueue this one too")
        yield KEEP, _("Keep one with the same arguments")
        return
    yield "", str(AS_DECLARED[rule.on_conflict])
    if rule.on_conflict in (REPLACE, DEBOUNCE):
        yield KEEP, _("Keep it as it is")
    yield BESIDE, _("Enqueue this one beside it")
