"""ETags and ``If-Match``: a verb finds what it acts on as the client saw it, or does nothing."""

from __future__ import annotations

import hashlib

from django.http import HttpRequest

from handlers.api.problems import Problem
from handlers.models import JobRecord

HEADER = "If-Match"


def tag_of(record: JobRecord) -> str:
    """Another one after each move of the job. Made from its token, which it does not tell."""
    seen = f"{record.pk} {record.token} {record.state} {record.attempt} {record.queue}"
    return _tag(seen)


def tag_of_version(version: str) -> str:
    """The same of what has a version."""
    return _tag(version)


def expect(request: HttpRequest, tag: str, what: str) -> None:
    """Raise Problem (412) where the request names other tags than this one."""
    wanted = request.headers.get(HEADER)
    if wanted is None:
        return
    tags = [part.strip() for part in wanted.split(",")]
    if tag in tags or tags == ["*"]:
        return
    raise Problem(412, f"{what} is not as it was seen: its ETag is {tag} now", field=HEADER, headers={"ETag": tag})


def _tag(seen: str) -> str:
    return f'"{hashlib.sha256(seen.encode()).hexdigest()[:20]}"'
