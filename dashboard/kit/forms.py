"""A form made from a job type's schema. It works without JavaScript.

Written here because nothing kept up fits: what turns JSON schemas into forms for Django draws them with scripts, most
of them inline, and what joins Django and pydantic makes models of forms, not forms of models. The check is the
enqueue's own: the form collects JSON, and ``JobType.decode`` says what is wrong with it.
"""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.arguments import OMIT, Argument, arguments, default
from dashboard.kit.languages import in_language
from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.masking import MASK, mask, scrub

MAX_INPUTS = 60  # a type with more arguments gets the raw form
PREFIX = "arg-"
NULL = "null-"
UNREADABLE = gettext_lazy("This is not JSON: check quotes, commas and brackets.")


class PayloadForm(forms.Form):
    """Base of the forms of a type: ``data`` is the checked JSON, once ``is_valid()``."""

    job_type: JobType
    told: list[Argument]

    def __init__(self, *args: Any, stored: Any = OMIT, sees_sensitive: bool = False, **options: Any) -> None:
        """``stored``: the arguments of the job to edit. Sensitive ones are filled in for those who may see them."""
        self.stored, self.sees_sensitive = stored, sees_sensitive
        self.data_json: Any = None
        super().__init__(*args, **options)
        self.shown = stored if sees_sensitive or stored is OMIT else mask(self.job_type, stored)

    def problem_at(self, error: InvalidJob) -> None:
        """Put the engine's message at the field that it names."""
        text = scrub(in_language(error).removeprefix(f"{self.job_type.name}: "), self.job_type, self.data_json)
        name = self._field_of(error.field or "")
        if name:
            text = text.removeprefix(f"{error.field}: ")
            inner = (error.field or "").partition(".")[2]
            text = f"{inner}: {text}" if inner else text
        self.add_error(name, text)

    def _field_of(self, path: str) -> str | None:
        name = f"{PREFIX}{path.partition('.')[0]}"
        return name if name in self.fields else None

    def _check(self, data: Any) -> None:
        """Let the engine judge ``data``."""
        self.data_json = data
        try:
            encoded = self.job_type.encode(self.job_type.decode(data))
        except InvalidJob as error:
            self.problem_at(error)
        else:
            self.data_json = json.loads(encoded)


class _FieldsForm(PayloadForm):
    """One input for each argument."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for argument in self.told:
            self._add(argument)

    def _add(self, argument: Argument) -> None:
        name = f"{PREFIX}{argument.name}"
        before = self.stored.get(argument.name, OMIT) if isinstance(self.stored, dict) else OMIT
        value = default(argument) if before is OMIT else before
        hides = self._hides(argument)
        text = "" if hides else argument.to_text(value)
        hint = argument.hint_hidden(is_stored=before is not OMIT) if hides else argument.hint
        self.fields[name] = forms.CharField(
            label=argument.name,
            required=False,
            strip=False,
            initial=text,
            help_text=hint,
            widget=_widget(argument, text, hides),
        )
        if argument.nullable and argument.is_text and not hides:
            self.fields[f"{NULL}{argument.name}"] = forms.BooleanField(
                label=_("%(name)s: none (null) when empty") % {"name": argument.name},
                required=False,
                initial=value is None,
            )

    def _hides(self, argument: Argument) -> bool:
        return argument.sensitive and not self.sees_sensitive

    def clean(self) -> dict[str, Any]:
        """Collect the arguments and let the engine check them."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        data: dict[str, Any] = {}
        for argument in self.told:
            name = f"{PREFIX}{argument.name}"
            text = cleaned.get(name, "")
            if self._hides(argument) and not text:
                if isinstance(self.stored, dict) and argument.name in self.stored:
                    data[argument.name] = self.stored[argument.name]
                continue
            if isinstance(self.fields[name].widget, forms.Textarea) and argument.kind == "text":
                text = text.replace("\r\n", "\n")  # browsers send so
            try:
                value = argument.from_text(text, is_null=bool(cleaned.get(f"{NULL}{argument.name}")))
            except ValueError:
                self.add_error(name, UNREADABLE)
                continue
            if value is not OMIT:
                data[argument.name] = value
        if not self.errors:
            self._check(data)
        return cleaned

    @property
    def rows(self) -> list[tuple[forms.BoundField, Argument, forms.BoundField | None]]:
        """Each argument: its input, what it is, its box for null."""
        boxes = {name for name in self.fields if name.startswith(NULL)}
        return [
            (
                self[f"{PREFIX}{told.name}"],
                told,
                self[f"{NULL}{told.name}"] if f"{NULL}{told.name}" in boxes else None,
            )
            for told in self.told
        ]


class _RawForm(PayloadForm):
    """All arguments as one JSON text. A mask left in its place keeps the stored value."""

    raw = forms.CharField(
        label=gettext_lazy("Arguments as JSON"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 16, "spellcheck": "false", "class": "code-input"}),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        start: Any = self.shown
        if start is OMIT:
            start = {told.name: None if (value := default(told)) is OMIT else value for told in self.told}
        self.fields["raw"].initial = json.dumps(start, indent=2, ensure_ascii=False)
        if not self.sees_sensitive and self.job_type.sensitive_fields and self.stored is not OMIT:
            self.fields["raw"].help_text = _("Sensitive values are shown as %(mask)s. Leave one so to keep it.") % {
                "mask": MASK
            }

    def clean(self) -> dict[str, Any]:
        """Read the JSON and let the engine check it."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        try:
            data = json.loads(cleaned.get("raw", ""))
        except (ValueError, RecursionError):
            self.add_error("raw", UNREADABLE)
            return cleaned
        if not self.errors:
            self._check(_unmasked(data, self.shown, self.stored))
        return cleaned

    def _field_of(self, path: str) -> str | None:
        return None  # the message names the argument


def payload_form(job_type: JobType, *, raw: bool = False) -> type[PayloadForm]:
    """The form of ``job_type``; ``raw``, or where it has very many arguments, one JSON text."""
    told = arguments(job_type)
    base = _RawForm if raw or len(told) > MAX_INPUTS else _FieldsForm
    return type("PayloadForm", (base,), {"job_type": job_type, "told": told})


def _widget(argument: Argument, text: str, hides: bool) -> forms.Widget:
    attrs: dict[str, Any] = {"autocomplete": "off", "spellcheck": "false"}
    if argument.kind == "json":
        return forms.Textarea(attrs=attrs | {"rows": min(max(text.count("\n") + 2, 3), 14), "class": "code-input"})
    if hides:
        return forms.PasswordInput(attrs=attrs | {"autocomplete": "new-password"}, render_value=False)
    if argument.kind in ("choice", "boolean"):
        values = argument.choices if argument.kind == "choice" else (True, False)
        options = [(argument.to_text(value), str(value)) for value in values]
        known = {value for value, _ in options}
        empty = [("", _("none (null)") if argument.nullable else _("(choose)"))]
        if text and text not in known:  # stored before the type changed
            options.append((text, _("%(text)s (no longer allowed)") % {"text": text[:100]}))
        return forms.Select(choices=(empty if argument.nullable or not text else []) + options)
    if argument.is_text and ("\n" in text or len(text) > 80):
        return forms.Textarea(attrs=attrs | {"rows": min(text.count("\n") + 3, 14)})
    if argument.kind in ("integer", "number", "decimal"):
        attrs["inputmode"] = "numeric" if argument.kind == "integer" else "decimal"
    if argument.placeholder:
        attrs["placeholder"] = argument.placeholder
    return forms.TextInput(attrs=attrs)


def _unmasked(new: Any, shown: Any, stored: Any) -> Any:
    """``new`` with the stored value wherever its mask was left in place."""
    if new == MASK and shown == MASK:
        return stored
    if isinstance(new, dict) and isinstance(shown, dict) and isinstance(stored, dict):
        return {key: _unmasked(value, shown.get(key), stored.get(key)) for key, value in new.items()}
    if isinstance(new, list) and isinstance(shown, list) and isinstance(stored, list) and len(new) == len(shown):
        return [_unmasked(*three) for three in zip(new, shown, stored, strict=True)]
    return new
