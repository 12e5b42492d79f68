"""Tests of apps run commit hooks early: an enqueue leaves a hook of its own, and no other hook is lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, cast
from unittest import mock

import pytest
from django.db import connections, transaction
from django.db.utils import ConnectionHandler
from django.http import HttpRequest, HttpResponse
from django.test import TestCase, TransactionTestCase, override_settings
from django.urls import path

from handlers import job_scheduler
from handlers.publishing import publish_on_commit
from handlers.signals import jobs_moved
from handlers.transport import Message, get_transport
from tests.app.jobs import Note
from tests.integration.test_publishing import undone
from tests.running import NotingTransport

pytestmark = pytest.mark.usefixtures("noting")


def note(text: str = "a") -> int:
    return job_scheduler.enqueue(Note(text))


def sent() -> list[int]:
    """The jobs that were published, in order."""
    return [job_id for call in cast("NotingTransport", get_transport()).ids for job_id in call]


def note_in_a_view(request: HttpRequest) -> HttpResponse:
    note("in a view")
    return HttpResponse(str(note("and another")))


urlpatterns = [path("note/", note_in_a_view)]


class TestHooksThatStood(TestCase):
    """An earlier enqueue, in whatever savepoint, changes nothing for a captured block."""

    early: ClassVar[int]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.early = note("of all tests")

    def test_capture_publishes_what_the_block_enqueued(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            job_id = note()
        assert callbacks
        assert sent() == [job_id]

    def test_capture_after_an_enqueue_runs_the_apps_hooks_once(self) -> None:
        note("before the block")
        ran: list[str] = []
        transaction.on_commit(lambda: ran.append("before the block"))
        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: ran.append("one"))
            first = note()
            transaction.on_commit(lambda: ran.append("two"))
            second = note()
            transaction.on_commit(lambda: ran.append("three"))
        assert ran == ["one", "two", "three"]
        assert sent() == [first, second]

    def test_capture_directly_after_an_enqueue_publishes(self) -> None:
        note("before the block")
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            job_id = note()
        assert callbacks
        assert sent() == [job_id]

    def test_capture_twice_publishes_each_block_once(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            first = note()
        note("between")
        with self.captureOnCommitCallbacks(execute=True):
            second = note()
        assert sent() == [first, second]

    def test_capture_inside_another_publishes_once(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            outer = note("outer")
            with self.captureOnCommitCallbacks(execute=True):
                inner = note("inner")
            last = note("last")
        assert sent() == [inner, outer, last]

    def test_callback_that_is_called_by_hand_publishes(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            job_id = note()
        note("after the block")
        assert sent() == []
        for callback in callbacks:
            callback()
        assert sent() == [job_id]

    def test_capture_passes_over_savepoints_that_were_rolled_back(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            with undone():
                note("undone")
            with transaction.atomic():
                first = note("released")
                with undone(), transaction.atomic():
                    note("undone with the outer one")
            second = note("after")
        assert sent() == [first, second]

    def test_hook_that_enqueues_is_published_with_its_block(self) -> None:
        found: list[int] = []

        def enqueue() -> None:
            found.append(note("of the hook"))

        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(lambda: transaction.on_commit(enqueue))
            job_id = note()
        assert sent() == [job_id, *found]
        assert len(found) == 1

    def test_broken_transport_leaves_the_apps_hooks_to_run(self) -> None:
        note("before the block")
        cast("Any", get_transport()).publish = None
        ran: list[str] = []
        with self.captureOnCommitCallbacks(execute=True):
            note()
            transaction.on_commit(lambda: ran.append("after"))
        assert ran == ["after"]

    @override_settings(ROOT_URLCONF=__name__)
    def test_view_in_a_transaction_of_its_own_publishes(self) -> None:
        with atomic_requests(), self.captureOnCommitCallbacks(execute=True):
            answer = self.client.get("/note/")
        last = int(answer.content)
        assert sent() == [last - 1, last]


class TestOrder(TestCase):
    """What one test leaves listed (Django drops hooks by their savepoints) does not reach the next."""

    def check(self) -> None:
        with transaction.atomic():
            note("in a savepoint, not run")
        # Without receivers: each move that somebody hears of, be it of a test before, has a hook of its own.
        with (
            mock.patch.object(jobs_moved, "receivers", []),
            self.captureOnCommitCallbacks(execute=True) as callbacks,
        ):
            job_id = note()
        assert sent() == [job_id]
        assert len(callbacks) == 1
        note("left behind")

    def test_order_first(self) -> None:
        self.check()

    def test_order_second(self) -> None:
        self.check()


class TestRealCommit(TransactionTestCase):
    """Where a transaction ends in a commit, what was run early is not published again."""

    def test_commit_publishes_what_no_capture_ran(self) -> None:
        with transaction.atomic():
            before = note("before")
            with TestCase.captureOnCommitCallbacks(execute=True):
                early = note("early")
            assert sent() == [early]
        assert sent() == [early, before]

    def test_commit_after_a_capture_of_the_last_publishes_the_rest(self) -> None:
        with transaction.atomic():
            before = note("before")
            with undone():
                note("undone")
            with transaction.atomic(), TestCase.captureOnCommitCallbacks(execute=True):
                early = note("early")
            also = note("also")
        assert sent() == [early, before, also]

    def test_capture_outside_a_transaction_publishes_at_once(self) -> None:
        with TestCase.captureOnCommitCallbacks(execute=True) as callbacks:
            job_id = note()
            assert sent() == [job_id]
        assert callbacks == []


@pytest.mark.django_db(transaction=True)
def test_transactions_on_two_databases_publish_each_with_its_own_commit(noting: NotingTransport) -> None:
    apart = ConnectionHandler({"default": {}, "second": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
    connections["second"] = apart["second"]
    try:
        with transaction.atomic(using="second"):
            with transaction.atomic():
                publish_on_commit([Message(1, "0" * 16, "default")], using="default")
                publish_on_commit([Message(2, "0" * 16, "default")], using="second")
                publish_on_commit([Message(3, "0" * 16, "default")], using="default")
                assert noting.ids == []
            assert noting.ids == [[1, 3]]
        assert noting.ids == [[1, 3], [2]]
    finally:
        connections["second"].close()
        del connections["second"]


@contextmanager
def atomic_requests() -> Iterator[None]:
    """Each view in a transaction."""
    config = connections["default"].settings_dict
    before = config["ATOMIC_REQUESTS"]
    config["ATOMIC_REQUESTS"] = True
    try:
        yield
    finally:
        config["ATOMIC_REQUESTS"] = before
