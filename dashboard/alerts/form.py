"""The form of an alert rule. The engine says what fits; the form puts its words beside the field."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from dashboard.kit.named import OneName
from dashboard.kit.reach import covers_all, in_words
from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from handlers.alerts.edits import Terms, check
from handlers.conf import ENGINE_TYPES
from handlers.exceptions import InvalidJob
from handlers.models import AlertKind, AlertRule
from handlers.queues import known_queues
from handlers.registry import registry
from handlers.selection import WHOLE, Reach

KINDS = (
    (AlertKind.GROUP, _("A new failure group, or one that came back")),
    (AlertKind.SHARE, _("The share of failed attempts of a job type")),
    (AlertKind.WAIT, _("The oldest wait on a queue")),
    (AlertKind.WORKER, _("No worker, or none that serves a queue where jobs wait")),
    (AlertKind.RECURRING, _("A recurring job that missed its time")),
    (AlertKind.BULK, _("A bulk operation that paused by itself")),
)
# Fields that only some kinds read; the form leaves out the others.
READ = {
    "job_type": (AlertKind.GROUP, AlertKind.SHARE, AlertKind.RECURRING),
    "queue": (AlertKind.SHARE, AlertKind.WAIT, AlertKind.WORKER),
    "percent": (AlertKind.SHARE,),
    "least": (AlertKind.SHARE,),
    "minutes": (AlertKind.SHARE,),
    "wait_minutes": (AlertKind.WAIT,),
}
FIELD_OF = {AlertKind.SHARE: "percent", AlertKind.WAIT: "wait_minutes"}  # by which a kind's threshold is typed


class RuleForm(forms.Form):
    """A rule of one kind, with the fields that this kind reads."""

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("As messages name it."))
    job_type = forms.ChoiceField(label=_("Job type"), required=False, widget=OneName("type"))
    queue = forms.ChoiceField(label=_("Queue"), required=False, widget=OneName("queue"))
    percent = forms.FloatField(label=_("Failed, %"), initial=25, help_text=_("Told from this share on."))
    least = forms.IntegerField(
        label=_("Attempts, at least"), initial=20, help_text=_("With fewer in the time, a share says little.")
    )
    minutes = forms.IntegerField(label=_("In the last, minutes"), initial=15)
    wait_minutes = forms.FloatField(label=_("Longer than, minutes"), initial=10)
    hold_seconds = forms.IntegerField(
        label=_("Lasting, seconds"), initial=0, help_text=_("It is told once it has lasted so long. 0: at once.")
    )
    again_minutes = forms.IntegerField(
        label=_("Tell again after, minutes"), initial=240, help_text=_("While it lasts. 0: never again.")
    )
    emails = forms.CharField(
        label=_("Mail to"), required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("Addresses, one a line."),
    )  # fmt: skip
    webhook_url = forms.CharField(
        label=_("Webhook"), required=False, max_length=500, help_text=_("An https address; what comes is signed.")
    )
    version = forms.CharField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(
        label=_("Reason"), required=False, max_length=MAX_REASON, help_text=_("Optional, kept in the audit.")
    )

    def __init__(
        self, kind: AlertKind, data: Any = None, *, initial: dict[str, Any] | None = None, reach: Reach = WHOLE
    ) -> None:
        """``reach``: about whose jobs it may be."""
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.kind, self.reach = kind, reach
        for name, kinds in READ.items():
            if kind not in kinds:
                del self.fields[name]
        initial = initial or {}
        types = [known.name for known in registry.all() if not known.name.startswith(ENGINE_TYPES)]
        queues = sorted(known_queues())
        if not reach.is_whole:
            types = [name for name in types if name in reach.types()]
            queues = [name for name in queues if name in reach.queues()]
        for name, of_all, known in (
            ("job_type", _("every job type"), types),
            ("queue", _("every queue"), queues),
        ):
            if name in self.fields:
                now = initial.get(name)
                kept = [now] if now and now not in known else []  # the code no longer names it
                choices = [("", of_all), *((each, each) for each in (*known, *kept))]
                self.fields[name].choices = choices  # type: ignore[attr-defined]

    @property
    def terms(self) -> Terms:
        """What the engine takes."""
        sent = self.cleaned_data
        names = ("name", "job_type", "queue", "least", "minutes", "hold_seconds", "again_minutes", "webhook_url")
        own = {name: sent[name] for name in names if name in self.fields and sent[name] is not None}
        threshold = {"percent": 0.01, "wait_minutes": 60.0}
        for name, factor in threshold.items():
            if name in self.fields:
                own["threshold"] = round(sent[name] * factor, 6)
        return Terms(
            kind=self.kind.value, emails=[each for each in re.split(r"[\s,;]+", sent["emails"]) if each], **own
        )

    def clean(self) -> dict[str, Any]:
        """The engine's own checks, when each field by itself is readable."""
        if not self.errors:
            try:
                check(self.terms)
            except InvalidJob as error:
                self.refuse(error)
            else:
                if not is_within(self.reach, self.terms):
                    self.add_error(None, f"{_('A rule of yours is about your jobs alone.')} {in_words(self.reach)}")
        return self.cleaned_data

    def refuse(self, error: InvalidJob) -> None:
        """Show what the engine said, beside the field that it names."""
        name = FIELD_OF.get(self.kind) if error.field == "threshold" else error.field
        is_seen = name in self.fields and name != "version"
        self.add_error(name if is_seen else None, sentence(error))


def is_within(reach: Reach, rule: Terms | AlertRule) -> bool:
    """Whether a rule is about jobs within ``reach`` alone."""
    return covers_all(reach, rule.job_type, rule.queue)


def shown(terms: dict[str, Any]) -> dict[str, Any]:
    """The fields of a rule's ``terms``, as ``handlers.alerts.edits.facts`` has them."""
    return {
        **terms,
        "percent": _short(terms["threshold"] * 100),
        "wait_minutes": _short(terms["threshold"] / 60),
        "emails": "\n".join(terms["emails"]),
    }


def _short(number: float) -> float:
    """Rounded, and without a fraction that says nothing."""
    rounded = round(number, 4)
    return int(rounded) if rounded.is_integer() else rounded
