"""What /metrics costs: a scrape at size, and jobs that do nothing with and without one each second."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection, connections
from django.test import Client

from handlers import job_scheduler
from handlers.conf import jobs_settings
from tests.app.jobs import Nothing
from tests.bench import workforce
from tests.bench.places import Figures
from tests.bench.workforce import percentiles, running, scheduling, wait_until_recorded

TOKEN = "the-token-of-the-benchmark"
CALL = 1_000  # jobs that are enqueued at once


def scrape(*, times: int = 100) -> Figures:
    """Milliseconds of ``times`` scrapes of what is there, and the statements of one."""
    ask = _asking()
    ask()
    gc.collect()
    gc.freeze()  # as jobsite.wsgi does
    statements: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        length = ask()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - began)
    p95 = statistics.quantiles(seconds, n=20)[18] * 1_000
    found = {"scrape, p95, ms": p95, "scrape, queries": len(statements), "scrape, KB": length / 1_000}
    return percentiles("scrape", seconds) | found


def drained(*, count: int, turns: int = 4) -> Figures:
    """Jobs/s that two worker processes drain, without and with a scrape each second, in turns; and their quotient."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    with scheduling(), running(*workforce.worker()):
        _drain(2 * CALL)  # warm up
        for turn in range(2 * turns):
            scraped = turn % 2 == 1
            stop = threading.Event()
            thread = threading.Thread(target=_scrape_until, args=(stop,))
            if scraped:
                thread.start()
            rates[scraped].append(_drain(count))
            stop.set()
            if scraped:
                thread.join()
    off, on = (sorted(rates[scraped])[turns // 2] for scraped in (False, True))
    return {"no-ops, not scraped, jobs/s": off, "no-ops, scraped, jobs/s": on, "scraped / not": on / off}


def _drain(count: int) -> float:
    job_scheduler.pause_queue("default")
    ids = [job_id for _ in range(count // CALL) for job_id in job_scheduler.enqueue_many([Nothing()] * CALL)]
    job_scheduler.resume_queue("default")
    began = time.perf_counter()
    wait_until_recorded(ids[0], ids[-1])
    return count / (time.perf_counter() - began)


def _scrape_until(stop: threading.Event) -> None:
    ask = _asking()
    try:
        while not stop.wait(1.0):
            ask()
    finally:
        connections.close_all()


def _asking() -> Callable[[], int]:
    settings.JOBS = settings.JOBS | {"METRICS_TOKEN": TOKEN}
    jobs_settings.cache_clear()
    client = Client(headers={"Authorization": f"Bearer {TOKEN}", "Host": "localhost"})

    def ask() -> int:
        answer = client.get("/metrics")
        assert answer.status_code == 200, answer.content
        return len(answer.content)

    return ask
