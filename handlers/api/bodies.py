"""A request's body: JSON, and nothing that some readers of JSON would take in another way."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from ninja.parser import Parser

from handlers.api.problems import Problem
from handlers.conf import jobs_settings

ROOM = 64 * 1024  # beside one job's arguments
TYPES = ("application/json",)
LENGTH = "CONTENT_LENGTH"  # where Django has the header: to look up one there does not make all of them


def most_bytes() -> int:
    """Of a body."""
    return jobs_settings().max_payload_bytes + ROOM


def check(request: HttpRequest) -> None:
    """Raise Problem for a body that is too large (413) or no JSON by its own words (415), before it is read."""
    told = request.META.get(LENGTH) or ""
    length = int(told) if told.isdigit() else _length(request)
    if length == 0:
        return
    if length > most_bytes():
        raise Problem(413, f"The body has {length:,} bytes, and {most_bytes():,} is the most", limit=most_bytes())
    kind = request.content_type or ""
    if kind not in TYPES:
        what = f"The body is {kind[:60]!r}" if kind else "The body has no Content-Type"
        raise Problem(415, what, field="Content-Type")
    charset = (request.content_params or {}).get("charset", "utf-8")
    if charset.lower() != "utf-8":
        raise Problem(415, f"The body's charset is {charset[:20]!r}, and JSON is UTF-8", field="Content-Type")
    _length(request)


def _length(request: HttpRequest) -> int:
    """Of the body as it came. In chunks, without a Content-Length, Django reads it under ASGI alone."""
    try:
        length = len(request.body)
    except RequestDataTooBig:
        raise Problem(413, "The body is larger than this site takes (DATA_UPLOAD_MAX_MEMORY_SIZE)") from None
    if length == 0 and request.headers.get("Transfer-Encoding"):
        mend = "Send the header Content-Length, and the body whole."
        raise Problem(400, "The body came in chunks, which this site does not read", field="Content-Length", mend=mend)
    return length


class StrictParser(Parser):
    """JSON as RFC 8259 has it: no NaN, no name twice in one object, in UTF-8."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The body's value. Raises Problem."""
        try:
            return json.loads(request.body.decode(), parse_constant=_refuse, object_pairs_hook=_object)
        except Problem:
            raise
        except UnicodeDecodeError:
            raise Problem(400, "The body is no UTF-8") from None
        except RecursionError:
            raise Problem(400, "The body is nested too deep", mend="Nest no more than 100 levels deep.") from None
        except ValueError as error:
            raise Problem(400, f"The body is no JSON: {error}") from None


def _refuse(name: str) -> NoReturn:
    raise Problem(400, f"The body has {name}, which is no number of JSON", mend="Send null, or a number.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Problem(400, f"The name {twice[:100]!r} is twice in one object", field=twice[:100], mend="Leave one out.")
    return made
