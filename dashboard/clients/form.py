"""The form of a new client. The engine says what fits; the form puts its words beside the field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy

from dashboard.kit.fields import UtcField
from dashboard.kit.named import SomeNames
from dashboard.kit.text import sentence
from dashboard.kit.verbs import MAX_REASON
from handlers import queues
from handlers.api.clients import RATE_PER_MINUTE
from handlers.conf import ENGINE_TYPES
from handlers.exceptions import InvalidJob
from handlers.registry import registry

VALID = timedelta(days=90)  # unless the person says something else
FIELDS = ("name", "verbs", "queues", "types", "rate_per_minute", "expires_at")


class ClientForm(forms.Form):
    """What a client is called, what it may do, and for how long."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=60,
        help_text=gettext_lazy("The program, as the audit will name it: a-z, 0-9, dot, hyphen and underscore."),
    )
    verbs = forms.MultipleChoiceField(
        label=gettext_lazy("It may"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one.")},
    )
    types = forms.MultipleChoiceField(
        label=gettext_lazy("Job types"),
        required=False,
        widget=SomeNames("type"),
        help_text=gettext_lazy("None chosen: all, those to come too."),
    )
    queues = forms.MultipleChoiceField(
        label=gettext_lazy("Queues"),
        required=False,
        widget=SomeNames("queue"),
        help_text=gettext_lazy("None chosen: all, those to come too."),
    )
    rate_per_minute = forms.IntegerField(
        label=gettext_lazy("Requests a minute"),
        required=False,
        initial=RATE_PER_MINUTE,
        help_text=gettext_lazy("Empty: any number."),
    )
    expires_at = UtcField(label=gettext_lazy("Expires, UTC"), required=False, help_text=gettext_lazy("Empty: never."))
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=MAX_REASON,
        help_text=gettext_lazy("Optional, kept in the audit."),
    )

    def __init__(self, verbs: Mapping[str, str], data: Any = None) -> None:
        """``verbs``: that this person may give, with their words; ``data``: what was sent, if anything was."""
        initial = {"expires_at": timezone.now().replace(microsecond=0) + VALID}
        super().__init__(data, initial=initial, use_required_attribute=False)
        names = [known.name for known in registry.all() if not known.name.startswith(ENGINE_TYPES)]
        for field, choices in (
            ("verbs", [(verb, f"{verb}: {words}") for verb, words in verbs.items()]),
            ("types", [(name, name) for name in names]),
            ("queues", [(name, name) for name in queues.targets()]),
        ):
            self.fields[field].choices = choices  # type: ignore[attr-defined]

    @property
    def values(self) -> dict[str, Any]:
        """What the engine takes."""
        return {name: self.cleaned_data[name] for name in (*FIELDS, "reason")}

    def refuse(self, error: InvalidJob) -> None:
        """Show what the engine said, beside the field that it names."""
        self.add_error(error.field if error.field in FIELDS else None, sentence(error))
