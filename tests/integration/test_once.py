"""What is asked for twice under one key is done once, also at the same moment on two connections."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from threading import Event

import pytest
from django.db import connections
from django.utils import timezone

from handlers import job_scheduler
from handlers.models import Act, JobRecord
from handlers.once import forget, once
from handlers.recovery import age_out
from tests.app.jobs import Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]


def enqueue() -> str:
    return str(job_scheduler.enqueue(Note("x"), by="olga"))


def meanwhile(first: Callable[[], str]) -> tuple[Future[tuple[str, bool]], Future[tuple[str, bool]]]:
    """What two connections get that ask under one key, the second while ``first`` is being done."""
    acting, go_on = Event(), Event()

    def held() -> str:
        acting.set()
        assert go_on.wait(60)
        return first()

    def ask(act: Callable[[], str]) -> tuple[str, bool]:
        try:
            return once("key", act)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(ask, held)
        assert acting.wait(60)
        other = pool.submit(ask, enqueue)
        wait([other], timeout=0.2)
        assert not other.done(), "it waits for the answer"
        go_on.set()
    return one, other


def test_second_of_two_at_once_gets_the_answer_of_the_first() -> None:
    one, other = meanwhile(enqueue)
    job = JobRecord.objects.get()
    assert one.result() == (str(job.pk), True)
    assert other.result() == (str(job.pk), False)


def test_second_acts_where_the_first_failed() -> None:
    one, other = meanwhile(lambda: str(1 // 0))
    with pytest.raises(ZeroDivisionError):
        one.result()
    assert other.result() == (str(JobRecord.objects.get().pk), True)


def test_acts_are_forgotten_after_a_day() -> None:
    once("old", enqueue)
    once("new", enqueue)
    Act.objects.filter(pk="old").update(at=timezone.now() - timedelta(days=1, minutes=1))
    assert forget(limit=1)
    age_out()
    assert list(Act.objects.values_list("pk", flat=True)) == ["new"]
    assert not once("new", enqueue)[1]
