"""Made-up arguments that fit a job type, for jobs that are written past the engine.

They are made from the type's schema, and the same code as at an enqueue judges them. Where the schema does not say
enough, as with a pattern or a class that holds itself, a field keeps its default. What is made is plainly made up and
the same each time; secrets never hold the job's number, which would then be masked wherever else it stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dashboard.kit.arguments import PLACEHOLDERS
from handlers.exceptions import InvalidJob
from handlers.job_types import JobType
from handlers.sensitive import MARK

VARIANTS = 4  # templates of one type
NUMBER = 1_234_567_890  # stands in a template for the job's number, which is never above it
NUMBERS = (1, 2, NUMBER)  # with which a template is checked
NUMBERED = ("id", "pk", "no", "number")  # last words of the names of whole numbers that are told apart by the job's
DEEPEST = 8  # levels of nesting
NULL = {"type": "null"}
FORMATS = PLACEHOLDERS | {
    "binary": "made up",
    "email": "someone@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
}


def templates(job_type: JobType) -> list[str]:
    """VARIANTS JSON texts that fit ``job_type``, also with any job's number in the place of NUMBER.

    Raises InvalidJob, without a value, when nothing made up fits.
    """
    found: list[str] = []
    refusal: InvalidJob | None = None
    for variant in range(VARIANTS):
        for maker in _makers(job_type, variant):
            try:
                found.append(_checked(job_type, maker))
                break
            except InvalidJob as error:
                refusal = error
    if refusal and not found:
        raise refusal
    return [found[variant % len(found)] for variant in range(VARIANTS)]


def _makers(job_type: JobType, variant: int) -> Iterator[_Maker]:
    """The ways to make one variant, the richest first."""
    root = job_type.schema()
    if variant % 2:
        yield _Maker(root, variant, fills_optional=True, numbers=True)
    yield _Maker(root, variant, fills_optional=False, numbers=True)
    yield _Maker(root, variant, fills_optional=False, numbers=False)


def _checked(job_type: JobType, maker: _Maker) -> str:
    """What ``maker`` makes, as the engine would store it. Raises InvalidJob when it does not fit."""
    try:
        made = maker.value(maker.root, "value", 0)
    except _Unknown as error:
        raise InvalidJob(f"{job_type.name}: {error}") from None
    text = job_type.encode(job_type.decode(made)).decode()
    for number in NUMBERS:
        job_type.encode(job_type.decode(json.loads(text.replace(str(NUMBER), str(number)))))
    return text


class _Unknown(Exception):
    """The schema does not tell what would fit; says where."""


def _type(node: Any) -> Any:
    return node.get("type") if isinstance(node, dict) else None


@dataclass(frozen=True)
class _Maker:
    """Makes JSON values that fit the nodes of a schema."""

    root: dict[str, Any]
    variant: int
    fills_optional: bool  # else they keep their defaults
    numbers: bool  # whether the job's number may stand in what is made
    is_secret: bool = False

    def value(self, node: Any, name: str, depth: int) -> Any:  # noqa: C901 - a list
        """A value for ``node``, which is called ``name``. Raises _Unknown."""
        if depth > DEEPEST:
            raise _Unknown(f"{name}: nested too deeply to make one up")
        if not isinstance(node, dict):  # True: anything
            node = {}
        maker = replace(self, is_secret=True, numbers=False) if node.get(MARK) else self
        if "$ref" in node:
            inner = self.root.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2])
            return maker.value(inner, name, depth + 1)
        if "const" in node:
            return node["const"]
        for word in ("enum", "examples"):
            if node.get(word):
                return node[word][self.variant % len(node[word])]
        for word in ("anyOf", "oneOf", "allOf"):
            if node.get(word):
                return maker._one_of(node[word], name, depth + 1)
        match node.get("type", "string"):
            case "object":
                return maker._object(node, name, depth)
            case "array":
                return maker._array(node, name, depth)
            case "string":
                return maker._text(node, name)
            case "integer" | "number" as kind:
                return maker._number(node, name, whole=kind == "integer")
            case "boolean":
                return self.variant % 2 == 1
            case "null":
                return None
        raise _Unknown(f"{name}: its schema says too little to make one up")

    def _one_of(self, options: list[Any], name: str, depth: int) -> Any:
        """The option whose turn it is with this variant, or the next that can be made; null comes last."""
        # A decimal says that it may be a number or any text, but means text with a number in it.
        rest = [option for option in options if _type(option) == "number"] or [o for o in options if o != NULL]
        turn = self.variant % max(len(rest), 1)
        problem: _Unknown | None = None
        for option in [*rest[turn:], *rest[:turn], NULL] if NULL in options else [*rest[turn:], *rest[:turn]]:
            try:
                return self.value(option, name, depth)
            except _Unknown as error:
                problem = error
        raise problem or _Unknown(name)

    def _object(self, node: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
        made, required = {}, set(node.get("required", ()))
        for key, inner in node.get("properties", {}).items():
            # A constant with a default tells a union's variants apart, so it must stand there.
            needed = key in required or (isinstance(inner, dict) and "const" in inner)
            if needed or self.fills_optional:
                try:
                    made[key] = self.value(inner, key, depth + 1)
                except _Unknown:
                    if needed:
                        raise
        for place in range(node.get("minProperties", 0) - len(made)):
            made[str(place + 1)] = self.value(node.get("additionalProperties"), name, depth + 1)
        return made

    def _array(self, node: dict[str, Any], name: str, depth: int) -> list[Any]:
        made = [self.value(inner, name, depth + 1) for inner in node.get("prefixItems", ())]
        least = node.get("minItems", 0)
        try:
            for place in range(len(made), min(max(least, 1), node.get("maxItems", math.inf))):
                each = replace(self, variant=self.variant + place)  # those of a set must differ
                made.append(each.value(node.get("items"), f"{name}-{place + 1}" if place else name, depth + 1))
        except _Unknown:
            if len(made) < least:
                raise
        return made

    def _text(self, node: dict[str, Any], name: str) -> str:
        if "pattern" in node:
            raise _Unknown(f"{name}: its pattern is more than can be made up")
        if form := node.get("format"):
            if form not in FORMATS:
                raise _Unknown(f"{name}: its format {str(form)[:50]!r} is more than can be made up")
            return FORMATS[form]
        least, most = node.get("minLength", 0), node.get("maxLength", math.inf)
        plain = "made-up" if self.is_secret else name.replace("_", "-")
        text = f"{plain}-{NUMBER}" if self.numbers else plain
        if "email" in name:
            text = text.replace(plain, "someone") + "@example.com"
        if "url" in name:
            text = "https://example.com/" + text
        if len(plain) < least:
            text = text.ljust(least + len(str(NUMBER)), "x")  # long enough with the shortest number too
        return text if len(text) <= most else plain[: int(most)].ljust(least, "x")

    def _number(self, node: dict[str, Any], name: str, *, whole: bool) -> float:
        step = node.get("multipleOf") or (1 if whole else 0)
        nudge = step or 0.5
        low = node.get("minimum", node.get("exclusiveMinimum", -math.inf) + nudge)
        high = node.get("maximum", node.get("exclusiveMaximum", math.inf) - nudge)
        if low > high:  # between two limits that are close together
            low = high = (low + high) / 2
        is_key = name.replace("-", "_").rpartition("_")[2].lower() in NUMBERED
        if whole and step == 1 and is_key and self.numbers and low <= 1 and high >= NUMBER:
            return NUMBER
        wish = self.variant + (1 if whole or self.variant % 2 else 0.5)
        wish = min(max(wish, low), high)
        if step:
            wish = math.ceil(wish / step) * step
        return int(wish) if whole else wish
