"""Callers on an event loop: each verb's twin to await does what the verb does, and does not hold the loop up."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, connections, transaction
from django.utils import timezone

from handlers import InvalidJob, command_bus, job_scheduler
from handlers.models import AuditEntry, JobPayload, JobRecord
from tests.app.jobs import Fan, Greet, Note, Nothing
from tests.running import NotingTransport, record, run

pytestmark = pytest.mark.django_db(transaction=True)


def verbs(of: type) -> dict[str, Callable[..., Any]]:
    return {
        name: verb
        for name, verb in vars(of).items()
        if inspect.isfunction(verb) and not name.startswith("_") and not inspect.iscoroutinefunction(verb)
    }


def test_each_verb_has_a_twin_with_the_same_arguments() -> None:
    scheduler = type(job_scheduler)
    assert len(verbs(scheduler)) > 20
    for name, verb in verbs(scheduler).items():
        twin = getattr(scheduler, f"a{name}")
        assert inspect.iscoroutinefunction(twin)
        assert twin.__name__ == f"a{name}"
        assert inspect.signature(twin) == inspect.signature(verb)
    assert inspect.signature(command_bus.asend) == inspect.signature(command_bus.send)


@pytest.mark.once
def test_twins_answer_what_their_verbs_do(noting: NotingTransport) -> None:
    async def act() -> None:
        first = await job_scheduler.aenqueue(Note("a"))
        assert noting.ids == [[first]]
        assert await job_scheduler.aenqueue_many([Note("b"), Note("c")]) == [first + 1, first + 2]
        assert await job_scheduler.aschedule(Note("d"), timezone.now() + timedelta(hours=1)) == first + 3
        assert await job_scheduler.adelete(first, by="olga", reason="by mistake") is True
        assert await job_scheduler.adelete(first) is False
        assert await job_scheduler.arestore_many([first]) == 1
        sent = await command_bus.asend(Greet("x"))
        assert sent == first + 4
        await job_scheduler.apause_queue("mail")
        assert list(await job_scheduler.apaused_queues()) == ["mail"]
        await job_scheduler.aresume_queue("mail")
        with pytest.raises(InvalidJob, match="queue"):
            await job_scheduler.aenqueue(Note("e"), queue="nowhere")

    async_to_sync(act)()
    assert JobRecord.objects.count() == 5
    assert AuditEntry.objects.filter(verb="delete", username="olga", reason="by mistake").count() == 1


@pytest.mark.once
def test_a_twin_acts_in_the_callers_transaction(noting: NotingTransport) -> None:
    async def act(text: str) -> int:
        return await job_scheduler.aenqueue(Note(text))

    with transaction.atomic():
        job_id = async_to_sync(act)("kept")
        assert noting.published == []
    assert noting.ids == [[job_id]]
    with transaction.atomic():
        async_to_sync(act)("dropped")
        transaction.set_rollback(True)
    assert list(JobRecord.objects.values_list("pk", flat=True)) == [job_id]
    assert noting.ids == [[job_id]]


@pytest.mark.usefixtures("noting")
def test_many_callers_at_once_get_a_job_each() -> None:
    async def act() -> list[int]:
        return list(await asyncio.gather(*(job_scheduler.aenqueue(Nothing()) for _ in range(300))))

    ids = async_to_sync(act)()
    assert len(set(ids)) == 300
    assert set(JobRecord.objects.values_list("pk", flat=True)) == set(ids)


@pytest.mark.postgresql
@pytest.mark.usefixtures("noting")
def test_the_loop_goes_on_while_a_twin_waits_for_the_database() -> None:
    job_id = job_scheduler.enqueue(Note("locked"))
    locked, release = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic():
                JobRecord.objects.select_for_update().get(pk=job_id)
                locked.set()
                assert release.wait(20)
        finally:
            connections.close_all()

    async def act() -> bool:
        deletion = asyncio.ensure_future(job_scheduler.adelete(job_id))
        for _ in range(50):  # turns of the loop, which would never come
            await asyncio.sleep(0.001)
        assert not deletion.done()
        release.set()
        return await deletion

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(lock)
        assert locked.wait(60)
        assert async_to_sync(act)() is True
        holder.result()
    assert record(job_id).state == "deleted"
    assert connection.in_atomic_block is False


@pytest.mark.once
@pytest.mark.usefixtures("noting")
def test_what_an_async_handler_starts_by_a_twin_is_its_child() -> None:
    parent = job_scheduler.enqueue(Fan(3), correlation="order-1")
    assert run(parent) == {parent}
    children = JobPayload.objects.exclude(pk=parent)
    assert list(children.values_list("parent_id", "correlation")) == [(parent, "order-1")] * 3
