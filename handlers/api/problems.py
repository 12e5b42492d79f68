"""What goes wrong, told as RFC 9457 has it: a problem document that names the field and the mend."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse

from handlers.exceptions import JobsError

CONTENT_TYPE = "application/problem+json"
TYPE = "urn:jobs:problem:"

# status -> (the end of ``type``, what is wrong in general, what usually mends it)
KINDS = {
    400: ("unreadable", "The request cannot be read", "Send one JSON value, encoded as UTF-8."),
    401: ("no-token", "No valid token", "Send the header: Authorization: Bearer jobs_..., with a token that is valid."),
    403: ("not-permitted", "This token may not do that", "Use a token whose scope has it: the console makes one."),
    404: ("not-found", "There is no such thing", "Look at openapi.json for the addresses, and list what there is."),
    405: ("method", "This address has no such method", "Use one of those that the header Allow names."),
    409: ("conflict", "It is not where this applies", "Look it up again, and decide anew."),
    412: ("moved-on", "It has moved on since", "Look it up again, and send its new ETag as If-Match."),
    413: ("too-large", "The request is too large", "Send less: store the data elsewhere, and pass its id."),
    415: ("media-type", "This is no JSON", "Send the body as Content-Type: application/json."),
    422: ("invalid", "A value is wrong", "Mend the field that is named, and send the request again."),
    429: ("too-many", "Too many requests", "Wait as long as Retry-After says."),
    500: ("internal", "This failed, and it is not your fault", "Try again later; the server's log says more."),
    503: ("not-now", "This cannot be done now", "Try again in a moment."),
}


class Problem(JobsError):
    """An answer that says what is wrong. ``field``: a dotted path into the body, or a parameter's or header's name."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str = "",
        mend: str = "",
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.field, self.mend = status, detail, field, mend
        self.headers, self.members = headers or {}, members

    def document(self) -> dict[str, Any]:
        """The problem document."""
        kind, title, mend = KINDS[self.status]
        told = {"type": TYPE + kind, "title": title, "status": self.status, "detail": self.detail}
        told |= {"field": self.field} if self.field else {}
        return {**told, "mend": self.mend or mend, **self.members}

    def response(self) -> HttpResponse:
        """The answer."""
        content = json.dumps(self.document(), ensure_ascii=False)
        return HttpResponse(content.encode("utf-8", "replace"), CONTENT_TYPE, self.status, headers=self.headers)


def plain(status: int, detail: str = "", **options: Any) -> Problem:
    """A problem of which the status says all."""
    return Problem(status, detail or HTTPStatus(status).phrase, **options)
