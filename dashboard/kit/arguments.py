"""One argument of a job type as a form sees it: which input it gets, and its way to text and back.

Nothing is validated here. Text that is no number stays text, for the engine to refuse as it would at an enqueue.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit.text import pretty_json
from handlers.job_types import JobType
from handlers.masking import is_sensitive

OMIT: Final = object()  # the argument is left out: its default counts, or it is missing
PLACEHOLDERS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T08:30:00Z",
    "time": "08:30:00",
    "duration": "PT1H30M",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
HINTS = {
    "integer": gettext_lazy("A whole number."),
    "number": gettext_lazy("A number."),
    "decimal": gettext_lazy("A decimal number."),
    "boolean": "",
    "json": "JSON.",
    "date": gettext_lazy("A date, YYYY-MM-DD."),
    "date-time": gettext_lazy("A time in ISO 8601; Z at the end means UTC."),
    "time": gettext_lazy("A time of day."),
    "duration": gettext_lazy("A length of time in ISO 8601: PT90S, PT1H30M, P2D."),
    "uuid": gettext_lazy("A UUID."),
}


@dataclass(frozen=True)
class Argument:
    """One field of a payload class."""

    name: str
    schema: dict[str, Any]
    kind: str  # text, integer, number, decimal, boolean, choice, json
    required: bool
    nullable: bool
    sensitive: bool
    format: str = ""  # of a text: date, duration, uuid, ...
    choices: tuple[Any, ...] = ()

    @property
    def hint(self) -> str:
        """What to write, in words."""
        words = [str(self.schema.get("description", ""))[:300], self._format_hint]
        if self.nullable and not self.is_text:
            words.append(_("Empty means none (null)."))
        elif not self.required and self.kind in ("integer", "number", "decimal", "json"):
            words.append(_("Empty means its default."))
        return " ".join(word for word in words if word)

    def hint_hidden(self, *, is_stored: bool) -> str:
        """What to write where the present value is hidden."""
        empty = _("Leave it empty to keep the stored value.") if is_stored else ""
        return " ".join(word for word in (self._format_hint, _("Sensitive."), empty) if word)

    @property
    def _format_hint(self) -> str:
        return str(HINTS.get(self.format or self.kind, ""))

    @property
    def is_text(self) -> bool:
        """Whether an empty input can mean the empty text."""
        return self.kind == "text" and not self.format

    @property
    def placeholder(self) -> str:
        """An example of what to write."""
        return PLACEHOLDERS.get(self.format, "")

    @property
    def sub_schema(self) -> str:
        """The JSON schema to show beside a JSON input."""
        return pretty_json(self.schema) if self.kind == "json" else ""

    def to_text(self, value: Any) -> str:
        """``value``, from JSON, as the input shows it."""
        if value is OMIT or (value is None and self.kind != "json"):
            return ""
        if self.kind in ("json", "choice", "boolean"):
            if value is None:
                return ""
            return json.dumps(value, indent=2 if self.kind == "json" else None, ensure_ascii=False)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def from_text(self, text: str, *, is_null: bool = False) -> Any:
        """What the input says, as JSON; OMIT for nothing. Raises ValueError where it is to be JSON and is not."""
        if self.is_text and (text or not is_null):
            return text
        if self.is_text or not text.strip():
            return None if self.nullable else OMIT
        if self.kind in ("json", "choice", "boolean"):
            try:
                return json.loads(text)
            except RecursionError:
                raise ValueError(_("nested too deeply")) from None
        text = text.strip()
        if self.kind in ("integer", "number"):
            try:
                return int(text) if self.kind == "integer" or text.lstrip("+-").isdigit() else float(text)
            except ValueError:
                return text
        return text


def arguments(job_type: JobType) -> list[Argument]:
    """The arguments of ``job_type`` in the order of its fields."""
    schema = job_type.schema()
    node = _resolved(schema, schema)
    required = set(node.get("required", ()))
    return [
        _argument(job_type, name, inner, schema, name in required) for name, inner in node.get("properties", {}).items()
    ]


def default(argument: Argument) -> Any:
    """The argument's default as JSON; OMIT where the schema tells none."""
    return argument.schema.get("default", OMIT)


def _argument(job_type: JobType, name: str, outer: dict[str, Any], root: dict[str, Any], required: bool) -> Argument:
    options = [_resolved(option, root) for option in outer.get("anyOf", [outer])]
    nullable = any(option.get("type") == "null" for option in options)
    rest = [option for option in options if option.get("type") != "null"]
    kind, form, choices = "json", "", ()
    if len(rest) == 1:
        kind, form, choices = _kind(rest[0])
    elif sorted(str(option.get("type")) for option in rest) == ["number", "string"] and not any(
        "enum" in option for option in rest
    ):
        kind = "decimal" if all("title" not in option for option in rest) else "json"
    shown = {**outer}
    for word in ("$ref",):
        if word in shown:
            shown = {**_resolved(outer, root), **{key: value for key, value in outer.items() if key != word}}
    return Argument(name, shown, kind, required, nullable, is_sensitive(job_type, name), form, choices)


def _kind(node: dict[str, Any]) -> tuple[str, str, tuple[Any, ...]]:
    if "enum" in node or "const" in node:
        return "choice", "", tuple(node.get("enum", [node.get("const")]))
    kind = node.get("type")
    if kind == "string":
        return "text", str(node.get("format", "")), ()
    if kind in ("integer", "number", "boolean"):
        return str(kind), "", ()
    return "json", "", ()


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    for _turn in range(10):
        if "$ref" not in node:
            break
        found = root.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2])
        if not isinstance(found, dict):
            break
        node = found
    return node
