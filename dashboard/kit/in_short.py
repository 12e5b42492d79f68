"""A job's arguments in one line, as this person may see them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest

from dashboard.kit.sensitive import shown
from dashboard.kit.text import one_line
from handlers.models import JobPayload, JobRecord

LONGEST, LONGEST_VALUE = 120, 40  # characters


def of_jobs(request: HttpRequest, records: Sequence[JobRecord]) -> dict[int, str]:
    """``order_id=4711, carrier="ups"`` by the job's id, sensitive ones masked; the empty text where there are none."""
    rows = JobPayload.objects.filter(pk__in=[record.pk for record in records]).values_list("pk", "data")
    payloads = dict(rows)
    return {record.pk: in_short(shown(request, record, payloads.get(record.pk))) for record in records}


def in_short(data: Any) -> str:
    """Arguments, as a person may see them, in one line."""
    if not isinstance(data, dict):
        return "" if data is None else one_line(_value(data), LONGEST)
    return one_line(", ".join(f"{name}={_value(value)}" for name, value in data.items()), LONGEST)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
