"""The tests' settings for made-up jobs: none of them ages out, unless BENCH_RETENTION_DAYS says after how many days."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import JOBS

_days = os.environ.get("BENCH_RETENTION_DAYS")
JOBS = JOBS | {"RETENTION_DAYS": {"succeeded": float(_days) if _days else None, "deleted": None}}
