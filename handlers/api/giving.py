"""Jobs as answers have them: what is sensitive is masked, unless the token's scope has that."""

from __future__ import annotations

from typing import Any

from handlers import told
from handlers.api import shapes
from handlers.api.asking import Asker
from handlers.api.tags import tag_of
from handlers.masking import MASK
from handlers.models import JobRecord


def job(record: JobRecord) -> dict[str, Any]:
    """A job, as lists have it."""
    return {**told.facts(record), "etag": tag_of(record)}


def detail(record: JobRecord, asker: Asker) -> shapes.JobDetail:
    """A job with all that hangs on it."""
    found = told.details(record, sees_sensitive=asker.sees_sensitive)
    found["history"] = [shapes.Step.model_construct(**step) for step in found["history"]]
    found["failed_attempts"] = [shapes.Failure.model_construct(**each) for each in found["failed_attempts"]]
    return shapes.JobDetail.model_construct(**job(record), **found)


def unmasked(sent: Any, stored: Any, shown: Any) -> Any:
    """``sent`` with what is stored where it has the mask that the client was ``shown``, which it only sent back."""
    if sent == MASK and shown == MASK:
        return stored
    if isinstance(sent, dict) and isinstance(stored, dict) and isinstance(shown, dict):
        return {key: unmasked(value, stored.get(key), shown.get(key)) for key, value in sent.items()}
    if isinstance(sent, list) and isinstance(stored, list) and isinstance(shown, list) and len(sent) == len(stored):
        return [unmasked(*each) for each in zip(sent, stored, shown, strict=True)]
    return sent
