"""Bulk operations: one verb over all jobs that match, as a durable run in the background.

A run is a chain of short chunk jobs on the engine's own queue. Each does its chunk, writes down what it did and
enqueues the next, in one transaction: a chunk is done wholly or not at all, and never twice.
"""

from handlers.bulk.chunks import CHUNK, run_chunk
from handlers.bulk.control import COUNTED, count_of, narrowed, pause, resume, start, stop, try_more
from handlers.bulk.outcomes import Outcomes
from handlers.bulk.receipts import GLANCE, LOOK, Receipt, glances, receipt
from handlers.bulk.runs import CANARY, LIVE, STALLED_AFTER, VERBS, RunBulk, chunk_job
from handlers.bulk.watch import pause_stalled

__all__ = [
    "CANARY",
    "CHUNK",
    "COUNTED",
    "GLANCE",
    "LIVE",
    "LOOK",
    "STALLED_AFTER",
    "VERBS",
    "Outcomes",
    "Receipt",
    "RunBulk",
    "chunk_job",
    "count_of",
    "glances",
    "narrowed",
    "pause",
    "pause_stalled",
    "receipt",
    "resume",
    "run_chunk",
    "start",
    "stop",
    "try_more",
]
