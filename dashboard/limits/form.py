"""The form of a limit. The engine says what fits; the form puts its words beside the field."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from handlers.admission.edits import check
from handlers.exceptions import InvalidJob

VALUES = ("concurrency", "rate")


class LimitForm(forms.Form):
    """A limit's values, which version the person saw, and why it changes."""

    concurrency = forms.IntegerField(
        label=gettext_lazy("At once"),
        required=False,
        help_text=gettext_lazy("How many jobs run at once. Empty: any number."),
    )
    rate = forms.CharField(
        label=gettext_lazy("Starts"),
        required=False,
        max_length=20,
        help_text=gettext_lazy("How many start in a time: 5/s, 100/m, 1000/h, 10/d, or 100/10s. Empty: any number."),
    )
    version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        help_text=gettext_lazy("Optional, kept in the history and the audit."),
    )

    def __init__(self, name: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._name = name

    @property
    def values(self) -> dict[str, Any]:
        """What the engine takes."""
        return {name: self.cleaned_data[name] for name in VALUES}

    @property
    def digest(self) -> str:
        """What stands for these values in the form that saves them."""
        return "; ".join(f"{name}: {value}" for name, value in self.values.items())

    def clean(self) -> dict[str, Any]:
        """The engine's own checks, when each field by itself is readable."""
        if not self.errors:
            try:
                check(self._name, **self.values)
            except InvalidJob as error:
                self.refuse(error)
        return self.cleaned_data

    def refuse(self, error: InvalidJob) -> None:
        """Show what the engine said, beside the field that it names."""
        self.add_error(error.field if error.field in VALUES else None, sentence(error))
