"""The site's tasks. Each writes a line to a file, to show that it ran."""

import os
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import django_rq
from rq import Callback, Repeat, Retry, get_current_job


def note(*words: Any) -> None:
    with Path(os.environ["NOTES"]).open("a") as notes:
        print(*words, file=notes)


@django_rq.job
def welcome(user_id: int, *, language: str = "en") -> str:
    note("welcome", user_id, language)
    return f"welcomed {user_id}"


@django_rq.job("high", timeout=30, result_ttl=3600, retry=Retry(max=2, interval=[1, 2]))
def charge(order_id: int) -> None:
    note("charge", order_id)
    raise ValueError("the card was refused")


def report(day: str) -> None:
    note("report", day)


def price(amount: Decimal, at: datetime) -> None:
    note("price", amount, at.year)


def told(job: Any, connection: Any, result: Any, *args: Any) -> None:
    note("told", job.func_name.rpartition(".")[2], result)


def sorry(job: Any, connection: Any, kind: Any, error: Any, traceback: Any) -> None:
    note("sorry", kind.__name__, error)


def whoami() -> None:
    job = get_current_job()
    note("whoami", job is not None and job.meta.get("tenant"))


class Shop:
    name = "books"

    def close(self) -> None:
        note("closed", self.name)


def start() -> None:
    """What the site's views do in the course of a day."""
    welcome.delay(1, language="de")
    charge.delay(7)
    queue = django_rq.get_queue("low")
    first = queue.enqueue(report, "monday")
    queue.enqueue(report, "tuesday", depends_on=first)
    queue.enqueue_in(timedelta(hours=1), report, "later")
    django_rq.enqueue(report, "often", on_success=Callback(told), repeat=Repeat(times=2, interval=1))
    scheduler = django_rq.get_scheduler("default")
    scheduler.enqueue_in(timedelta(seconds=-1), report, "now")
    scheduler.enqueue_in(timedelta(days=1), report, "tomorrow")
    scheduler.cron("0 6 * * *", report, args=["nightly"], id="nightly")
