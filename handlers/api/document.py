"""The OpenAPI document: what django-ninja makes of the views, with the problems, headers and limits they share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from handlers.api.problems import CONTENT_TYPE, KINDS

if TYPE_CHECKING:
    from ninja import NinjaAPI

URLS = "jobs_api_v1"  # the namespace of the addresses
DESCRIPTION = """\
Enqueue, look up and govern durable background jobs.

Each request carries the token of a client: `Authorization: Bearer jobs_...`. Whatever goes wrong is told by a problem
document (RFC 9457) that names the `field` and the `mend`.
"""

_IDEMPOTENCY = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "description": "Sent again with the same key within a day, the same request has no second effect, and the same"
    " answer. Another request with it is refused (422), and one while the first is under way (409).",
}
_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "required": False,
    "schema": {"type": "string"},
    "description": "The ETag under which it was seen: if it has moved on since, nothing is done (412).",
}
# What views that change something take beside their own, as ``openapi_extra``.
EFFECT: dict[str, Any] = {"parameters": [_IDEMPOTENCY]}
EFFECT_ON_ONE: dict[str, Any] = {"parameters": [_IDEMPOTENCY, _IF_MATCH]}

_ANYWHERE = (401, 403, 422, 429, 500, 503)
_OF_EFFECTS = (400, 409, 413, 415)
_PROBLEM = {
    "type": "object",
    "description": "What is wrong, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail", "mend"],
    "properties": {
        "type": {"type": "string", "description": "A URN for each kind"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "A dotted path into the body, or a parameter's or header's name"},
        "mend": {"type": "string", "description": "What to do about it"},
    },
}
_RATE = {
    name: {"schema": {"type": "integer"}, "description": words}
    for name, words in (
        ("RateLimit-Limit", "Requests that the client may make in a minute; absent: any number"),
        ("RateLimit-Remaining", "How many are left"),
        ("RateLimit-Reset", "Seconds until they are all there again"),
    )
}


def document(api: NinjaAPI, server: str = "/api/v1") -> dict[str, Any]:
    """The document, for the API at the path ``server``."""
    from ninja.openapi.schema import get_schema

    made: dict[str, Any] = json.loads(json.dumps(get_schema(api, path_prefix="")))
    made["servers"] = [{"url": server}]
    for path, methods in made["paths"].items():
        for operation in methods.values():
            _complete(operation, of_one="{" in path)
    components = made["components"]
    components["schemas"] = dict(sorted({**components["schemas"], "Problem": _PROBLEM}.items()))
    components["headers"] = _RATE
    components["responses"] = {kind: _response(title) for kind, title, _ in KINDS.values()}
    return made


def as_text(made: dict[str, Any]) -> str:
    """The document as the repository keeps it."""
    return f"{json.dumps(made, indent=2, ensure_ascii=False)}\n"


def _complete(operation: dict[str, Any], *, of_one: bool) -> None:
    """Add what all views have in common."""
    is_effect = any(each["name"] == _IDEMPOTENCY["name"] for each in operation["parameters"])
    statuses = {*_ANYWHERE, *(_OF_EFFECTS if is_effect else ())}
    statuses |= {404} if of_one else set()
    statuses |= {412} if any(each["name"] == _IF_MATCH["name"] for each in operation["parameters"]) else set()
    for answer in operation["responses"].values():
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in _RATE}
    for status in sorted(statuses):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{KINDS[status][0]}"}


def _response(title: str) -> dict[str, Any]:
    return {
        "description": title,
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
