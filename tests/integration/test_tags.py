"""Tags of jobs and of their types: written with the job, found by an index, and kept as long as the job is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from handlers import InvalidJob, Job, Unique, handles, job_scheduler
from handlers.lifecycle import age_out
from handlers.models import JobRecord, JobTag
from handlers.models.sql import is_postgresql
from handlers.registry import registry
from handlers.selection import InvalidSelection, Selection, matching
from handlers.states import State
from tests.app.jobs import Note

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Billed(Job):
    """A job of a type with tags."""

    number: int


@pytest.fixture(autouse=True)
def _types() -> Iterator[None]:
    with registry.isolated():
        handles(Billed, name="tags.Billed", aliases=("tags.Paid",), tags=["billing", "shop"])(lambda job: None)
        yield


@pytest.fixture(params=["few", "many"])
def _many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to a tag's jobs: by their ids, and by the index of a tag that is on too many."""
    if request.param == "many":
        monkeypatch.setattr(matching, "FEW_TAGGED", 0)


def tags_of(job_id: int) -> set[str]:
    return set(JobTag.objects.filter(job_id=job_id).values_list("tag", flat=True))


def found(text: str) -> set[int]:
    """The ids that ``text`` finds, and finds page by page too."""
    selection = Selection.parse(text)
    assert Selection.parse(str(selection)) == selection == Selection.from_json(selection.to_json())
    ids = set(selection.rows().values_list("pk", flat=True))
    assert [row.pk for row in selection.page(100)] == sorted(ids, reverse=True)
    assert [row.pk for row in selection.page(100, after=0)] == sorted(ids)
    assert [row.pk for row in selection.look(100).rows] == sorted(ids, reverse=True)
    if ids:
        assert {row.pk for row in selection.page(100, before=max(ids))} == ids - {max(ids)}
    return ids


@pytest.mark.usefixtures("_many")
def test_tag_finds_the_jobs_that_have_it_and_those_of_types_that_have_it() -> None:
    one = job_scheduler.enqueue(Note("a"), tags=["billing", "customer:42"])
    two = job_scheduler.enqueue(Note("b"), tags=("customer:42",), queue="mail")
    typed = job_scheduler.enqueue(Billed(1))
    both = job_scheduler.enqueue(Billed(2), tags={"customer:42", "billing"})
    job_scheduler.enqueue(Note("c"))
    assert found("tag:customer:42") == {one, two, both}
    assert found("tag:billing") == {one, typed, both}
    assert found("tag:shop") == {typed, both}
    assert found("tag:billing tag:customer:42") == {one, both}
    assert found("tag:shop tag:billing tag:customer:42") == {both}
    assert found("tag:customer:42 queue:mail") == {two}
    assert found("tag:billing type:tags.Billed") == {typed, both}
    assert found("tag:billing type:Note") == {one}
    assert found("tag:billing state:enqueued") == {one, typed, both}
    assert found("tag:billing state:failed") == found("tag:nothing") == found("tag:Billing") == set()
    assert found(f"tag:billing id:{one}") == {one}
    assert found("tag:customer:42 args.text:a") == {one}


def test_tag_of_a_type_finds_what_has_its_former_name() -> None:
    job_id = job_scheduler.enqueue(Billed(1))
    JobRecord.objects.filter(pk=job_id).update(job_type="tags.Paid")
    assert {row.pk for row in Selection.parse("tag:shop").rows()} == {job_id}


@pytest.mark.parametrize("text", ["tag:a,b", "tag:", 'tag:"a b"', f"tag:{'x' * 51}"])
def test_what_is_no_tag_is_not_searched_for(text: str) -> None:
    with pytest.raises(InvalidSelection, match=r"^tag: "):
        Selection.parse(text)


@pytest.mark.parametrize(
    "tags",
    [
        "nightly",
        7,
        [7],
        [""],
        ["a b"],
        ["a,b"],
        ["x" * 51],
        ["x" * 1024],
        ["\u202ea"],
        ["a\0"],
        ['"'],
        map(str, range(11)),
    ],
    ids=str,
)
def test_what_are_no_tags_is_refused_and_nothing_written(tags: Any) -> None:
    given = list(tags) if isinstance(tags, map) else tags
    ways: list[Callable[[], object]] = [
        lambda: job_scheduler.enqueue(Note("a"), tags=given),
        lambda: job_scheduler.schedule(Note("a"), timezone.now(), tags=given),
        lambda: job_scheduler.enqueue_many([Note("a")], tags=given),
        lambda: handles(Billed, name="tags.Other", tags=given)(lambda job: None),
    ]
    for refused in ways:
        with pytest.raises(InvalidJob, match=r"^tags: ") as error:
            refused()
        assert error.value.field == "tags"
        assert len(str(error.value)) < 400
    assert not JobRecord.objects.exists()
    assert not JobTag.objects.exists()


def _acts(seen: CaptureQueriesContext) -> int:
    """The statements that are not the transaction's own."""
    own = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return sum(not str(query["sql"]).lstrip().startswith(own) for query in seen)


def test_job_without_tags_costs_no_statement_more() -> None:
    for tags in ([], ["nightly"]):  # what is prepared once
        job_scheduler.enqueue(Note("a"), tags=tags)
    with CaptureQueriesContext(connection) as plain:
        job_scheduler.enqueue(Note("a"))
    with CaptureQueriesContext(connection) as tagged:
        job_scheduler.enqueue(Note("a"), tags=["nightly", "customer:42"])
    assert _acts(tagged) == _acts(plain) + 1


def test_tags_stay_with_the_job_through_every_verb_and_go_with_it() -> None:
    job_id = job_scheduler.schedule(Note("a"), timezone.now() + timedelta(days=1), tags=["nightly"])
    for act in (job_scheduler.retry, job_scheduler.delete, job_scheduler.restore, job_scheduler.delete):
        assert act(job_id)
        assert tags_of(job_id) == {"nightly"}
    age_out(State.DELETED, before=timezone.now() + timedelta(days=1))
    assert not JobRecord.objects.filter(pk=job_id).exists()
    assert not JobTag.objects.exists()


def test_job_that_is_postponed_gets_the_new_ones_tags() -> None:
    at, rule = timezone.now() + timedelta(days=1), Unique(on_conflict="debounce")
    first = job_scheduler.schedule(Note("a"), at, unique=rule, tags=["one", "both"])
    again = job_scheduler.schedule(Note("a"), at, unique=rule, tags=["two", "both"])
    assert (again, tags_of(first)) == (first, {"two", "both"})


def test_jobs_of_a_workflow_and_what_continues_one_have_tags() -> None:
    with job_scheduler.workflow() as flow:
        parent = flow.enqueue(Note("a"), tags=["flow"])
        child = flow.enqueue(Note("b"), after=parent, tags=["flow", "last"])
    later = job_scheduler.continue_with(child.job_id, Note("c"), tags=["later"])
    assert tags_of(parent.job_id) == {"flow"}
    assert tags_of(child.job_id) == {"flow", "last"}
    assert tags_of(later) == {"later"}


def test_page_of_a_common_tag_goes_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs have it, and however many have not."""
    ids = job_scheduler.enqueue_many([Note("a")] * 2_000)
    JobTag.objects.bulk_create(JobTag(job_id=job_id, tag="common") for job_id in ids[::2])
    monkeypatch.setattr(matching, "FEW_TAGGED", 100)
    if is_postgresql(connection):
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE jobs_jobtag, jobs_jobrecord")
    with CaptureQueriesContext(connection) as queries:
        page = Selection.parse("tag:common").page(50)
    assert [row.pk for row in page] == ids[::2][::-1][:50]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {'' if is_postgresql(connection) else 'QUERY PLAN'} {queries[-1]['sql']}")
        plan = "\n".join(str(row) for row in cursor.fetchall())
    # Of a table as small as this one PostgreSQL rather reads the primary key's index, which has the same in it.
    assert re.search("jobs_by_tag|Index Only Scan Backward using jobs_jobtag_pkey", plan)
    assert not re.search("Sort|TEMP B-TREE|Seq Scan", plan)
