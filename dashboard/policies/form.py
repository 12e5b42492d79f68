"""The form of a retry policy. The engine says what fits; the form puts its words beside the field."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from dashboard.kit.verbs import MAX_REASON
from handlers.exceptions import InvalidJob
from handlers.models import StoredPolicy
from handlers.models.policy import BACKOFFS
from handlers.policy_edits import FIELDS, draft, facts


class PolicyForm(forms.Form):
    """A policy's fields, which version the person saw, and why it changes."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=60, help_text=gettext_lazy("Such as mail-slow."))
    max_attempts = forms.IntegerField(
        label=gettext_lazy("Attempts"), help_text=gettext_lazy("Runs in all, the first included; 1 means no retry.")
    )
    backoff = forms.ChoiceField(label=gettext_lazy("Backoff"), choices=BACKOFFS)
    delay_seconds = forms.FloatField(
        label=gettext_lazy("Delay, in seconds"),
        help_text=gettext_lazy(
            "Fixed: each wait. Linear: the step. Exponential: the first wait. Polynomial: not used."
        ),
    )
    factor = forms.FloatField(
        label=gettext_lazy("Factor"),
        help_text=gettext_lazy("Exponential only: how many times longer each wait is than the last."),
    )
    max_delay_seconds = forms.FloatField(
        label=gettext_lazy("Longest wait, in seconds"),
        required=False,
        help_text=gettext_lazy("Empty: a year, which no wait exceeds."),
    )
    jitter = forms.FloatField(
        label=gettext_lazy("Jitter"),
        help_text=gettext_lazy("0 to 1: up to this share of each wait is taken off at random."),
    )
    on_exhausted = forms.ChoiceField(
        label=gettext_lazy("After the last attempt"),
        choices=[
            ("fail", gettext_lazy("The job fails, and stays until someone acts")),
            ("delete", gettext_lazy("The job is deleted")),
        ],
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        help_text=gettext_lazy("Optional, kept in the history and the audit."),
    )

    draft: StoredPolicy | None = None  # what the form says, once it is valid

    @classmethod
    def of(cls, policy: StoredPolicy) -> PolicyForm:
        """An unbound form that shows ``policy``."""
        values = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value  # 30, not 30.0
            for name, value in facts(policy).items()
        }
        return cls(initial={**values, "version": policy.version})

    @property
    def fields_of_policy(self) -> dict[str, Any]:
        """What the engine takes."""
        return {name: self.cleaned_data[name] for name in FIELDS}

    def clean(self) -> dict[str, Any]:
        """The engine's own checks, when each field by itself is readable."""
        if not self.errors:
            try:
                self.draft = draft(self.fields_of_policy)
            except InvalidJob as error:
                self.refuse(error)
        return self.cleaned_data

    def refuse(self, error: InvalidJob) -> None:
        """Show what the engine said, beside the field that it names."""
        words = str(error).removeprefix(f"{error.field}: ")
        self.add_error(error.field if error.field in FIELDS else None, words[:1].upper() + words[1:] + ".")
