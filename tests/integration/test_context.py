"""Context travels from the code that enqueues to the handler, and on to what that enqueues."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject

from handlers import (
    Event,
    InvalidJob,
    Job,
    RetryPolicy,
    Unique,
    carried,
    context,
    current_run,
    event_bus,
    execution,
    handles,
    job_scheduler,
    on_event,
    recurring,
)
from handlers.cancellation import CancellationToken
from handlers.middleware import ContextMiddleware
from handlers.models import AttemptError, AuditEntry, JobPayload, Occurrence, RecurringJob
from handlers.recurrence import declared, firing
from handlers.registry import registry
from handlers.testing import run_due_jobs
from tests.running import WORKER, claim, drain, make_due, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting")]

region: ContextVar[str] = ContextVar("region")


class Tenancy(threading.local):
    """A thread's, as libraries for tenants have it."""

    name: str | None = None

    def get(self) -> str | None:
        return self.name

    def set(self, value: str | None) -> None:
        self.name = value


tenancy = Tenancy()
CONTEXT = {"region": f"{__name__}.region", "tenant": f"{__name__}.tenancy"}


@dataclass(frozen=True)
class Work(Job):
    """Its handler is the test's."""

    number: int = 0


@pytest.fixture(autouse=True)
def apart() -> Iterator[None]:
    with registry.isolated(), translation.override("en"):  # whatever other tests have left active
        yield
    tenancy.set(None)


@pytest.fixture
def seen() -> list[dict[str, Any]]:
    """What each run of Work has found of its context, in order; a run whose number is above 0 enqueues the next."""
    found: list[dict[str, Any]] = []

    def look(job: Work) -> None:
        found.append({**current_run().context, "active": translation.get_language()})
        if job.number:
            job_scheduler.enqueue(Work(job.number - 1))

    handles(Work, retry=RetryPolicy(max_attempts=3))(look)
    return found


def kept(job_id: int) -> Any:
    return JobPayload.objects.values_list("context", flat=True).get(pk=job_id)


def test_what_is_set_comes_to_the_handler_and_on_to_what_it_enqueues(seen: list[Any]) -> None:
    with context(tenant="acme", user="ann"), context(user="bob", request={"id": 7, "tags": ["a"]}):
        job_scheduler.enqueue(Work(1))
    drain()
    assert seen == [{"tenant": "acme", "user": "bob", "request": {"id": 7, "tags": ["a"]}, "active": "en"}] * 2


def test_nothing_is_kept_where_there_is_none_and_none_takes_a_name_away(seen: list[Any]) -> None:
    assert kept(job_scheduler.enqueue(Work())) is None
    with context(tenant="acme"), context(tenant=None):
        assert kept(job_scheduler.enqueue(Work())) is None
    drain()
    assert seen == [{"active": "en"}] * 2


def test_it_ends_with_its_block_and_decorates_functions() -> None:
    handles(Work)(lambda job: None)

    @context(tenant="acme")
    def enqueue() -> int:
        return job_scheduler.enqueue(Work())

    @context(tenant="async")
    async def later() -> int:
        await asyncio.sleep(0)
        return await job_scheduler.aenqueue(Work())

    found = [enqueue(), job_scheduler.enqueue(Work()), async_to_sync(later)()]
    assert [kept(job_id) for job_id in found] == [{"tenant": "acme"}, None, {"tenant": "async"}]


def test_one_block_may_be_entered_by_several_at_once() -> None:
    handles(Work)(lambda job: None)
    shared, in_both, is_left = context(tenant="acme"), asyncio.Event(), asyncio.Event()

    async def first() -> list[int]:
        with shared, shared:
            await in_both.wait()
            inside = await job_scheduler.aenqueue(Work())
        is_left.set()
        return [inside, await job_scheduler.aenqueue(Work())]

    async def second() -> list[int]:
        with shared:
            in_both.set()
            await is_left.wait()
            inside = await job_scheduler.aenqueue(Work())
        return [inside, await job_scheduler.aenqueue(Work())]

    async def both() -> tuple[list[int], list[int]]:
        return await asyncio.wait_for(asyncio.gather(first(), second()), 10)

    found = async_to_sync(both)()
    assert [[kept(job_id) for job_id in ids] for ids in found] == [[{"tenant": "acme"}, None]] * 2


def test_a_debounced_job_has_the_newest_one() -> None:
    handles(Work)(lambda job: None)
    rule, hour = Unique(on_conflict="debounce"), timedelta(hours=1)
    for tenant in ("first", "second"):
        with context(tenant=tenant):
            job_id = job_scheduler.enqueue(Work(), delay=hour, unique=rule)
    assert kept(job_id) == {"tenant": "second"}


def test_it_goes_through_retries_continuations_and_workflows(seen: list[Any]) -> None:
    fails = [True]

    @dataclass(frozen=True)
    class Shaky(Job):
        pass

    @handles(Shaky, retry=RetryPolicy(max_attempts=2))
    def shake(job: Shaky) -> None:
        seen.append(dict(current_run().context))
        if fails.pop():
            fails.append(False)
            raise ValueError

    with context(user="ann"):
        shaky = job_scheduler.enqueue(Shaky())
        job_scheduler.continue_with(shaky, Work())
        with job_scheduler.workflow("two") as flow:
            flow.enqueue(Work(), after=flow.enqueue(Work()))
    run(shaky)
    make_due(shaky)
    drain()
    assert len(seen) == 5
    assert {each["user"] for each in seen} == {"ann"}


def test_it_goes_with_an_event_to_each_subscriber_and_on_to_what_that_enqueues(seen: list[Any]) -> None:
    @dataclass(frozen=True)
    class Happened(Event):
        number: int

    def look(event: Happened) -> None:
        seen.append({**current_run().context, "active": translation.get_language(), "event": event.number})
        job_scheduler.enqueue(Work())

    on_event(Happened, name="tests.look")(look)
    with context(user="ann", tenant="acme"), translation.override("de"):
        event_bus.publish(Happened(1), correlation="a")
    event_bus.publish(Happened(2), correlation="a")
    drain()
    ann = {"user": "ann", "tenant": "acme", "language": "de", "active": "de"}
    assert [each for each in seen if "event" in each] == [ann | {"event": 1}, {"active": "en", "event": 2}]
    assert [each for each in seen if "event" not in each] == [ann, {"active": "en"}]


def test_the_language_is_that_of_the_enqueuing_code(seen: list[Any]) -> None:
    with translation.override("de"):
        job_scheduler.enqueue(Work(1))
    with translation.override("de"), context(language="fr"):
        job_scheduler.enqueue(Work())
    with context(language="pt-br"):
        assert translation.get_language() == "en"  # it is the handlers'
        job_scheduler.enqueue(Work())
    drain()
    assert [each["active"] for each in seen] == ["de", "fr", "pt-br", "de"]
    assert translation.get_language() == "en"


def test_what_the_site_names_is_read_at_the_enqueue_and_set_around_the_handler(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"CONTEXT": CONTEXT}
    seen: list[Any] = []

    @handles(Work)
    def look(job: Work) -> None:
        seen.append((region.get("none"), tenancy.get(), dict(current_run().context)))
        if job.number:
            tenancy.set("other")  # which is then what it enqueues for
            job_scheduler.enqueue(Work())

    mark = region.set("eu")
    tenancy.set("acme")
    job_scheduler.enqueue(Work(1))
    region.reset(mark)
    tenancy.set("mine")
    drain()
    assert seen == [
        ("eu", "acme", {"region": "eu", "tenant": "acme"}),
        ("eu", "other", {"region": "eu", "tenant": "other"}),
    ]
    assert (region.get("none"), tenancy.get()) == ("none", "mine")


def test_an_async_handler_has_it_too() -> None:
    seen: list[Any] = []

    @handles(Work)
    async def look(job: Work) -> None:
        await asyncio.sleep(0)
        seen.append((dict(current_run().context), translation.get_language()))
        await job_scheduler.aenqueue(Work(1))

    with context(tenant="acme", language="de"):
        job_id = job_scheduler.enqueue(Work())
    [claimed] = claim(job_id)

    async def both() -> Any:
        token = CancellationToken(job_id=job_id, attempt=1)
        outcome = await execution.arun(claimed, token, worker=WORKER)
        return outcome, translation.get_language()

    outcome, after = copy_context().run(async_to_sync(both))  # what it sets stays with it
    assert execution.settle([outcome()], worker=WORKER) == {job_id}
    assert seen == [({"tenant": "acme", "language": "de"}, "de")]
    assert after == "en"
    assert kept(JobPayload.objects.get(parent_id=job_id).pk) == {"tenant": "acme", "language": "de"}


def test_all_is_as_it_was_after_a_handler_that_failed(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"CONTEXT": CONTEXT}

    @handles(Work)
    def fail(job: Work) -> None:
        translation.activate("fr")
        raise ValueError

    with context(user="ann", language="de", tenant="acme"):
        job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert record(job_id).failures == 1
    assert (translation.get_language(), tenancy.get(), carried.capture()) == ("en", None, None)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"tenant": object()}, "tenant must be plain JSON"),
        ({"tenant": {1: "x"}}, "tenant must be plain JSON"),
        ({"tenant": (1, 2)}, "tenant must be plain JSON"),
        ({"tenant": float("nan")}, "tenant must be plain JSON"),
        ({"tenant": "a\0b"}, "tenant must be plain JSON"),
        ({"tenant": "\ud800"}, "tenant must be plain JSON"),
        ({"tenant": "x" * 5_000, "user": "ann"}, "bytes as JSON are more than the limit of 4096, most of them of 'te"),
        ({"language": "no language!"}, "language must be a language's code"),
        ({"language": 7}, "language must be a language's code"),
        ({"two words": 1}, "'two words' is no name"),
    ],
)
def test_what_cannot_travel_is_refused_in_words_and_nothing_is_written(names: dict[str, Any], words: str) -> None:
    handles(Work)(lambda job: None)
    with context(**names), pytest.raises(InvalidJob, match=words) as caught:
        job_scheduler.enqueue(Work())
    assert caught.value.field == "context"
    assert str(caught.value).startswith("context: ")
    assert not JobPayload.objects.exists()


def test_users_are_kept_by_their_logins() -> None:
    handles(Work)(lambda job: None)
    ann = User.objects.create_user("ann")
    found = []
    for user in (ann, AnonymousUser(), None):
        with context(user=user):
            found.append(kept(job_scheduler.enqueue(Work())))
    assert found == [{"user": "ann"}, None, None]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_middleware_says_whose_request_it_is_and_looks_only_where_a_job_is_enqueued(is_async: bool) -> None:
    handles(Work)(lambda job: None)
    asked: list[int] = []

    def ask() -> User:
        asked.append(1)
        return User(username="ann")

    def view(request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            job_scheduler.enqueue(Work())
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            await job_scheduler.aenqueue(Work())
        return HttpResponse()

    middleware: Callable[[HttpRequest], Any] = ContextMiddleware(aview if is_async else view)
    for method in ("GET", "POST"):
        request = HttpRequest()
        request.method, request.user = method, SimpleLazyObject(ask)  # type: ignore[assignment]
        answer = middleware(request)
        if is_async:
            async_to_sync(_awaited)(answer)
    assert len(asked) == 1
    assert kept(JobPayload.objects.get().pk) == {"user": "ann"}
    assert carried.capture() is None


async def _awaited(answer: Any) -> Any:
    return await answer


def test_what_is_sensitive_is_left_out_of_what_is_recorded(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"SENSITIVE_CONTEXT": ["badge"]}

    @handles(Work, retry=RetryPolicy(max_attempts=1))
    def fail(job: Work) -> None:
        raise ValueError(f"no entry for {current_run().context['badge']}")

    with context(badge="b4dg3-secret"):
        job_id = job_scheduler.enqueue(Work())
    run(job_id)
    assert "b4dg3" not in AttemptError.objects.get(job=job_id).message
    assert "no entry for ••••••" in record(job_id).error


def test_in_tests_a_job_finds_its_own_context_and_not_that_of_whoever_runs_it(seen: list[Any]) -> None:
    job_scheduler.enqueue(Work(1))
    with context(user="ann"):
        run_due_jobs()
    assert seen == [{"active": "en"}] * 2


# --- recurring jobs


def recur(**options: Any) -> bool:
    return job_scheduler.add_or_update_recurring("it", Work(), "0 9 * * *", **options)


def recurring_job() -> RecurringJob:
    return RecurringJob.objects.get(name="it")


def test_each_occurrence_of_a_recurring_job_carries_what_was_in_force_where_it_was_made(seen: list[Any]) -> None:
    with context(user=User(username="ann"), tenant="acme"), translation.override("de"):
        recur(overlap="queue")
    at = timezone.now() - timedelta(seconds=1)
    RecurringJob.objects.update(due_at=at, next_at=at)
    with context(user="whoever", other=1):  # of who has it fired, or runs it by hand, nothing is carried
        firing.fire_due()
        RecurringJob.objects.update(held_at=at - timedelta(hours=1))
        drain()
        firing.fire_held()
        job_scheduler.trigger_recurring("it")
        job_scheduler.backfill_recurring("it", at - timedelta(days=3), at - timedelta(days=1))
    assert sorted(Occurrence.objects.values_list("how", flat=True)) == [
        "backfilled", "backfilled", "due", "held", "triggered",
    ]  # fmt: skip
    drain()
    assert seen == [{"user": "ann", "tenant": "acme", "language": "de", "active": "de"}] * 5


def test_recurring_jobs_that_are_due_together_carry_each_its_own() -> None:
    handles(Work)(lambda job: None)
    for name in ("acme", "", "bell"):
        with context(tenant=name or None):
            job_scheduler.add_or_update_recurring(f"of {name}.", Work(), "0 9 * * *")
    at = timezone.now() - timedelta(seconds=1)
    RecurringJob.objects.update(due_at=at, next_at=at)
    assert firing.fire_due().jobs == 3
    found = dict(Occurrence.objects.values_list("recurring__name", "job_id"))
    assert {name: kept(job_id or 0) for name, job_id in found.items()} == {
        "of acme.": {"tenant": "acme"}, "of .": None, "of bell.": {"tenant": "bell"},
    }  # fmt: skip


def test_another_context_is_a_change_of_a_recurring_job_which_leaves_its_times(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"SENSITIVE_CONTEXT": ["badge"]}
    handles(Work)(lambda job: None)
    with context(tenant="acme", badge="b4dg3-1"):
        assert recur()
        before = recurring_job()
        assert not recur(by="tests")
        RecurringJob.objects.update(due_at=before.due_at + timedelta(days=1))  # type: ignore[operator]
        with context(tenant="bell", badge="b4dg3-2", size=1.5):
            assert recur(by="tests")
            assert not recur(by="tests")
    after = recurring_job()
    assert after.context == {"tenant": "bell", "badge": "b4dg3-2", "size": 1.5}
    assert after.due_at == before.due_at + timedelta(days=1)  # type: ignore[operator]
    assert AuditEntry.objects.get().data == {
        "changed": ["context"],
        "before": {"context.tenant": "acme", "context.badge": "••••••", "context.size": None},
        "after": {"context.tenant": "bell", "context.badge": "••••••", "context.size": "1.5"},
    }
    assert recur(keep_context=True, misfire="skip")
    assert recurring_job().context == after.context
    assert recur(misfire="skip")  # from where there is none
    assert recurring_job().context is None


def test_a_recurring_job_with_a_context_that_does_not_fit_is_refused(seen: list[Any]) -> None:
    for names in ({"tenant": "x" * 5_000}, {"tenant": object()}, {"no name": 1}):
        with context(**names), pytest.raises(InvalidJob) as error:
            recur()
        assert error.value.field == "context"
    assert not RecurringJob.objects.exists()


def test_a_recurring_job_of_the_code_has_no_context(seen: list[Any]) -> None:
    with context(tenant="acme"):
        recur()
        recurring("it", Work(), "0 9 * * *")
        assert declared.sync() >= 1
        assert declared.sync() == 0
        job_scheduler.trigger_recurring("it")
    drain()
    assert seen == [{"active": "en"}]
