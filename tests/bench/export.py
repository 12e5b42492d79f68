"""Streaming an export."""

from __future__ import annotations

import resource
import time

from tests.bench.pages import signed_in
from tests.bench.places import Figures


def export(count: int) -> Figures:
    """Stream ``count`` jobs as CSV: seconds, and by how many MiB the process grew."""
    answer = signed_in().get("/admin/jobs/export/?format=csv")
    assert answer.status_code == 200
    rows = iter(answer)
    for _ in range(20):  # what the first chunks load stays
        next(rows, None)
    began, before = time.perf_counter(), memory()
    lines = 0
    for part in rows:
        lines += part.count(b"\n")
        if lines >= count:
            break
    took = time.perf_counter() - began
    answer.close()
    return {"export, rows/s": lines / took, "export, MiB that the process grew": memory() - before}


def memory() -> float:
    """The most MiB that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
