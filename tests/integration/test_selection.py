"""Each part of a selection finds exactly its jobs, on both databases; pages go through every job once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from handlers.models import BulkItem, BulkOperation, JobRecord, WorkflowNode
from handlers.selection import InvalidSelection, Selection, conditions, created, looking, matching
from handlers.selection.created import first_id_created_since, last_id_created_before
from handlers.states import State
from tests.console.factories import make_job, one_of_each

pytestmark = pytest.mark.django_db


def found(text: str, **params: str) -> set[int]:
    """The ids that ``text`` finds, and finds page by page too."""
    selection = Selection.parse(text, **params)
    ids = set(selection.rows().values_list("pk", flat=True))
    assert [row.pk for row in selection.page(1000)] == sorted(ids, reverse=True)
    assert [row.pk for row in selection.page(1000, after=0)] == sorted(ids)
    return ids


@pytest.mark.parametrize("state", ["failed", "scheduled", "enqueued", "processing", "succeeded", "deleted", "awaiting"])
def test_state_finds_its_jobs(state: str) -> None:
    wanted = {job.pk for job in one_of_each() if job.state == state}
    assert found(f"state:{state}") == wanted


def test_several_states_find_the_jobs_of_each() -> None:
    jobs = one_of_each()
    retrying = {job.pk for job in jobs if job.is_retrying}
    assert len(retrying) == 1
    assert found("state:retrying") == retrying
    failed = {job.pk for job in jobs if job.state == State.FAILED}
    assert found("state:failed,retrying") == failed | retrying
    assert found("state:scheduled,retrying") == {job.pk for job in jobs if job.state == State.SCHEDULED}


def test_type_finds_its_jobs_in_any_state_and_in_one() -> None:
    wanted = [make_job(state, job_type="app.Greet") for state in (State.FAILED, State.SUCCEEDED, State.ENQUEUED)]
    one_of_each()
    assert found("type:app.Greet") == {job.pk for job in wanted}
    assert found("type:app.Greet state:failed") == {wanted[0].pk}
    assert found("type:app.Greet state:succeeded") == {wanted[1].pk}
    assert found("type:app.Greet state:succeeded,enqueued") == {wanted[1].pk, wanted[2].pk}
    assert found("type:nothing.Such") == set()


def test_type_finds_the_jobs_of_its_former_names(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = make_job(job_type="old.Name"), make_job(job_type="new.Name")
    make_job()
    monkeypatch.setattr(matching, "stored_names", lambda name: ["new.Name", "old.Name"])
    assert found("type:new.Name") == {old.pk, new.pk}
    assert [row.pk for row in Selection.parse("type:new.Name").page(1)] == [new.pk]


def test_queue_finds_its_jobs() -> None:
    mail = [make_job(State.ENQUEUED, queue="mail"), make_job(State.SUCCEEDED, queue="mail")]
    other = make_job(queue="slow")
    make_job()
    assert found("queue:mail") == {job.pk for job in mail}
    assert found("queue:mail,slow") == {*(job.pk for job in mail), other.pk}
    assert found("queue:mail state:enqueued") == {mail[0].pk}


def test_queue_leaves_out_the_engines_own_jobs_where_they_are_not_wanted() -> None:
    own, other = make_job(job_type="jobs.RunBulk", queue="system"), make_job(queue="system")
    selection = Selection.parse("queue:system")
    assert [row.pk for row in selection.page(9)] == [other.pk, own.pk]
    assert [row.pk for row in replace(selection, engine=False).page(9)] == [other.pk]


def test_error_finds_a_part_of_the_last_error() -> None:
    refused, other = make_job(message="connection refused"), make_job(message="100% full")
    make_job(State.SUCCEEDED)
    assert found('error:"CONNECTION refused"') == {refused.pk}
    assert found('error:"100%"') == {other.pk}
    assert found('error:"con_ection"') == set()


@pytest.mark.parametrize(
    ("payload", "text", "fits"),
    [
        ({"order_id": 7}, "args.order_id:7", True),
        ({"order_id": "7"}, "args.order_id:7", True),
        ({"order_id": 7}, 'args.order_id:"7"', False),
        ({"order_id": "7"}, 'args.order_id:"7"', True),
        ({"order_id": 77}, "args.order_id:7", False),
        ({"order_id": 7, "x": 1}, "args.order_id:7 args.x:1", True),
        ({"order_id": 7, "x": 1}, "args.order_id:7 args.x:2", False),
        ({"a": {"b": "c"}}, "args.a.b:c", True),
        ({"a": {"b": "c"}}, "args.a:c", False),
        ({"ok": True}, "args.ok:true", True),
        ({"ok": False}, "args.ok:true", False),
        ({"ok": None}, "args.ok:null", True),
        ({"ok": 1.5}, "args.ok:1.5", True),
        ({"n": 7.0}, "args.n:7", True),
        ({"n": 7}, "args.n:7.0", True),
        ({"n": 1e20}, "args.n:100000000000000000000", True),
        ({"n": 1e18}, "args.n:1000000000000000000", True),
        ({"n": 10**18}, "args.n:1e18", True),
        ({"n": 8, "other": 7}, "args.n:7", False),
        ({"contains": "x"}, "args.contains:x", True),  # the name of a lookup
        ({"isnull": "x", "pk": 1}, "args.isnull:x args.pk:1", True),
        ({"name": "Zoë"}, "args.name:Zoë", True),
        ({"name": 'a "b"'}, r'args.name:"a \"b\""', True),
        ([1, 2], "args.a:1", False),
        ("text", "args.a:1", False),
    ],
)
def test_argument_finds_by_its_value(payload: Any, text: str, fits: bool) -> None:
    job = make_job(payload=payload)
    make_job(payload={"unrelated": 0})
    assert found(text) == ({job.pk} if fits else set())


def test_id_finds_by_number_in_each_way_of_writing() -> None:
    first, second = make_job(), make_job()
    make_job()
    for text in (f"{first.pk} {second.pk}", f"#{first.pk} #{second.pk}", f"id:{first.pk},{second.pk}"):
        assert found(text) == {first.pk, second.pk}
    assert found(str(2**63 - 1)) == set()


def test_correlation_and_parent_find_what_belongs_together() -> None:
    parent = make_job(correlation="order-7")
    child = make_job(State.SUCCEEDED, correlation="order-7", parent_id=parent.pk)
    make_job()
    assert found("correlation:order-7") == {parent.pk, child.pk}
    assert found(f"parent:{parent.pk}") == {child.pk}


def test_worker_finds_what_it_has_and_what_it_had() -> None:
    running, done = make_job(State.PROCESSING), make_job(State.SUCCEEDED)
    make_job(State.ENQUEUED)
    assert found(f"worker:{running.worker}") == {running.pk, done.pk}
    assert found(f"worker:{running.worker} state:processing") == {running.pk}
    assert found("worker:another") == set()


def test_priority_finds_what_has_it() -> None:
    low, usual = make_job(State.SUCCEEDED), make_job()
    JobRecord.objects.filter(pk=low.pk).update(priority=-5)
    assert found("priority:-5") == {low.pk}
    assert found("priority:0") == {usual.pk}
    assert found("priority:+5 state:failed") == set()


def test_group_finds_its_failures() -> None:
    failed, retrying = make_job(fingerprint="3f2a"), make_job(State.SCHEDULED, retrying=True, fingerprint="3f2a")
    make_job(fingerprint="other")
    assert found("group:3f2a") == {failed.pk, retrying.pk}
    assert found("group:3f2a state:failed") == {failed.pk}


def test_group_is_found_however_many_jobs_are_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "WINDOW", 2)
    waits = make_job(State.SCHEDULED, retrying=True, fingerprint="3f2a")
    for _ in range(3):
        make_job(fingerprint="other")
    assert found("group:3f2a") == {waits.pk}
    assert not Selection.parse("group:3f2a").looks_at_newest


def test_page_of_a_group_has_its_jobs_of_every_state_in_the_order_of_their_ids() -> None:
    jobs = [make_job(state, fingerprint="3f2a").pk for state in [*State, *State]]
    of_group = Selection.parse("group:3f2a")
    assert [row.pk for row in of_group.page(5)] == jobs[:-6:-1]
    assert [row.pk for row in of_group.page(5, before=jobs[6])] == jobs[5:0:-1]
    assert [row.pk for row in of_group.page(5, after=jobs[6])] == jobs[7:12]


def test_text_is_looked_for_in_the_newest_jobs_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "WINDOW", 3)
    of_group = [
        make_job(state, fingerprint="3f2a")
        for state in (State.SUCCEEDED, State.FAILED, State.SUCCEEDED, State.SCHEDULED)
    ]
    make_job(fingerprint="other")
    assert found("group:3f2a hello") == {job.pk for job in of_group[1:]}
    assert Selection.parse("group:3f2a hello").pinned().lowest == of_group[1].pk
    seen = Selection.parse("group:3f2a hello").look(9)
    assert [row.pk for row in seen.rows] == [job.pk for job in reversed(of_group)]


def test_bulk_finds_what_the_operation_moved() -> None:
    moved, moved_on = make_job(), make_job()
    now = timezone.now()
    operation = BulkOperation.objects.create(
        verb="retry", selection={}, upper_id=moved_on.pk, count=2, state="done", created_at=now, progressed_at=now
    )
    BulkItem.objects.create(operation=operation, job_id=moved.pk, moved=True)
    BulkItem.objects.create(operation=operation, job_id=moved_on.pk, moved=False)
    assert found(f"bulk:{operation.pk}") == {moved.pk}
    assert found("bulk:4711") == set()


def test_workflow_finds_its_jobs_and_none_between_them() -> None:
    jobs = [make_job(state) for state in (State.FAILED, State.SUCCEEDED, State.AWAITING)]
    between, other = make_job(), make_job()
    jobs.append(make_job())
    for job in jobs:
        WorkflowNode.objects.create(pk=job.pk, workflow_id=7)
    WorkflowNode.objects.create(pk=other.pk, workflow_id=8)
    assert found("workflow:7") == {job.pk for job in jobs}
    assert found("workflow:#7 state:failed") == {jobs[0].pk, jobs[3].pk}
    assert found("workflow:7 state:succeeded type:app.Note hello") == {jobs[1].pk}
    assert found("workflow:8") == {other.pk}
    assert found("workflow:4711") == set()
    assert between.pk not in found("workflow:7")


def test_times_find_what_was_created_between_them() -> None:
    old, middle, new = (make_job(age=timedelta(hours=hours)) for hours in (50, 5, 0))
    assert found("since:6h") == {middle.pk, new.pk}
    assert found("until:1h") == {old.pk, middle.pk}
    assert found("since:6h until:1h") == {middle.pk}
    assert found("", since="6h", until="1h") == {middle.pk}


def test_times_are_found_by_their_ids_in_a_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(created, "SLACK", timedelta(0))
    jobs = [make_job(State.ENQUEUED, age=timedelta(hours=100 - place)) for place in range(12)]
    small = created._SEARCH
    monkeypatch.setattr(created, "_SEARCH", small.replace(str(created.SMALL), "1"))
    for job in jobs:
        assert first_id_created_since(job.created_at, "default") == job.pk
        assert last_id_created_before(job.created_at + timedelta(seconds=1), "default") == job.pk + 1
    assert first_id_created_since(timezone.now(), "default") == jobs[-1].pk + 1
    jobs[5].delete()
    assert found("since:94.5h".replace(".5", "")) >= {job.pk for job in jobs[7:]}


@pytest.mark.parametrize(
    ("word", "fits"),
    [
        ("refus", True),
        ("app.Note", True),
        ("Zoë", True),
        ('"quo\\"te"', True),
        ("hello refused", True),
        ("nothing", False),
    ],
)
def test_text_finds_in_type_error_and_arguments(word: str, fits: bool) -> None:
    job = make_job(payload={"text": 'hello Zoë quo"te'}, message="refused")
    make_job(job_type="x.Y", payload={}, message="other")
    assert found(word) == ({job.pk} if fits else set())


def test_text_keeps_out_of_sensitive_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = make_job(job_type="app.Secret", payload={"card": "4111"})
    gone = make_job(job_type="gone.Type", payload={"card": "4111"})
    plain = make_job(job_type="app.Greet", payload={"order": "4111"})
    monkeypatch.setattr(conditions, "types_without_secrets", lambda: ["app.Greet"])
    assert Selection.parse("4111").ids == (4111,)  # a bare number is an id
    selection = Selection.parse('"4111"')
    assert set(selection.rows().values_list("pk", flat=True)) == {secret.pk, gone.pk, plain.pk}
    narrowed = replace(selection, sensitive=False)
    assert set(narrowed.rows().values_list("pk", flat=True)) == {plain.pk}
    by_error = replace(Selection.parse("refused"), sensitive=False)
    assert by_error.rows().count() == 3


def test_text_looks_at_the_newest_jobs_that_fit_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "WINDOW", 2)
    old, *new = [make_job(message="refused") for _ in range(3)]
    make_job(State.SUCCEEDED, message="refused")
    assert found("refused state:failed") == {job.pk for job in new}
    assert found("refused state:failed type:app.Note") == {job.pk for job in new}
    assert found("error:refused") == {new[-1].pk}
    assert Selection.parse("refused").looks_at_newest
    assert not Selection.parse("state:failed").looks_at_newest
    assert old.pk not in found("refused")


def test_pinned_selection_means_the_same_jobs_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "WINDOW", 2)
    make_job()
    wanted = {make_job().pk, make_job().pk}
    pinned = Selection.from_json(Selection.parse("refused").pinned().to_json())
    make_job()
    newer = JobRecord.objects.latest("pk").pk
    assert set(pinned.rows().values_list("pk", flat=True)) == wanted | {newer}
    plain = Selection.parse("state:failed")
    assert plain.pinned() == plain


def test_pages_go_through_every_job_once_in_both_directions() -> None:
    states = (State.FAILED, State.ENQUEUED, State.SUCCEEDED)
    jobs = [make_job(states[place % 3], queue=("a", "b")[place % 2]).pk for place in range(23)]
    for text in ("", "state:failed,enqueued,succeeded", "queue:a,b", "type:app.Note", "type:app.Note queue:a,b"):
        selection, forth, back = Selection.parse(text), [], []
        before: int | None = None
        while page := selection.page(4, before=before):
            forth += [row.pk for row in page]
            before = forth[-1]
        after = 0
        while page := selection.page(4, after=after, before=jobs[-1]):
            back += [row.pk for row in page]
            after = back[-1]
        assert forth == jobs[::-1], text
        assert back == jobs[:-1], text


@pytest.mark.parametrize("seconds", [0, 60])
@pytest.mark.parametrize(
    "text", ["refused", "error:refused", "refused state:failed,deleted", "refused args.n:1", "pay"]
)
def test_looking_further_and_further_meets_every_job_once(
    text: str, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = (State.FAILED, State.DELETED, State.SUCCEEDED)
    for place in range(20):
        message = "refused" if place % 4 else "lost"
        make_job(states[place % 3], message=message, payload={"n": 1}, job_type="app.Pay" if place % 2 else "app.Busy")
    selection = Selection.parse(text)
    ids = sorted(found(text))
    assert ids
    monkeypatch.setattr(looking, "FIRST", 3)
    monkeypatch.setattr(matching, "WINDOW", 4)  # which is for others

    def walk(**place: int) -> list[int]:
        met: list[int] = []
        (name,) = place
        while True:
            seen = selection.look(2, seconds=seconds, **place)
            met += [row.pk for row in seen.rows]
            further = met[-1] if len(seen.rows) == 2 else seen.reached
            if further is None:
                return met
            place = {name: further}

    assert walk(before=10**9) == ids[::-1]
    assert walk(after=0) == ids


def test_looking_ends_when_its_time_is_up_and_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "FIRST", 2)
    monkeypatch.setattr(matching, "WINDOW", 1)
    old, middle, newest = (make_job(message=message) for message in ("refused", "lost", "lost"))
    selection = Selection.parse("error:refused")
    assert selection.look(5, seconds=0) == ([], 2, middle.pk, newest.pk)
    for seen in (selection.look(5, before=middle.pk, seconds=0), selection.look(5, seconds=60)):
        assert ([row.pk for row in seen.rows], seen.reached) == ([old.pk], None)
    assert Selection.parse("state:failed").look(1).reached is None  # an index finds them: none was looked at


def test_everything_together_finds_what_fits_all_of_it() -> None:
    job = make_job(queue="mail", job_type="app.Greet", payload={"n": 1}, fingerprint="f", correlation="c", parent_id=3)
    make_job(queue="mail", job_type="app.Greet", payload={"n": 2}, fingerprint="f", correlation="c", parent_id=3)
    text = (
        f"{job.pk} state:failed type:app.Greet queue:mail args.n:1 group:f correlation:c parent:3 error:refused hello"
    )
    assert found(text.replace(" hello", "")) == {job.pk}
    assert found(text) == set()


ODD = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=12).map(
    lambda text: '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
)
NAMES = st.text(st.sampled_from("ab01-_[].é١"), min_size=1, max_size=12).map(lambda text: f"a{text}")
SEARCHES = st.lists(
    st.one_of(
        ODD,
        st.tuples(st.sampled_from(["type", "queue", "error", "worker", "group", "correlation"]), ODD).map(":".join),
        st.tuples(NAMES, ODD | st.sampled_from(["7", "-1.5e300", "true", "null", str(2**63)])).map(
            "args.%s:%s".__mod__
        ),
        st.sampled_from(
            ["state:failed", "state:retrying,succeeded", "9223372036854775807", "since:1970-01-02", "bulk:1"]
        ),
    ),
    min_size=1,
    max_size=4,
).map(" ".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(SEARCHES)
@example("args.a.-1:x")
@example("args.a.99999999999999999999:x")
@example("args.a[0].1_0:x")
@example('error:"%_\\\\"')
def test_whatever_can_be_read_can_be_looked_for(text: str) -> None:
    try:
        selection = Selection.parse(text)
    except InvalidSelection:
        return
    if not JobRecord.objects.exists():
        make_job(payload={"a": {"b": [{"c": 1}]}})
        make_job(payload=["a"])
    assert len(selection.page(1)) <= 1
    assert selection.pinned().rows().count() <= 2


@pytest.mark.once  # PostgreSQL's plan depends on the table's size
@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("state:failed", "jobs_not_succeeded"),
        ("state:retrying", "jobs_retrying"),
        ("state:deleted", "jobs_not_succeeded"),
        ("type:app.Note", "jobs_by_type"),
        ("queue:mail", "jobs_by_queue"),
        ("type:app.Note state:failed", "jobs_failed_type"),
        ("group:f", "jobs_of_group"),
        ("group:f state:failed", "jobs_of_group"),
        ("worker:w state:processing", "jobs_processing"),
        ("parent:3", "jobs_by_parent"),
        ("correlation:c", "jobs_by_correlation"),
    ],
)
def test_page_is_read_through_its_index(text: str, index: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        Selection.parse(text).page(51)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[-1]['sql']}")
        plan = str(cursor.fetchall())
    assert index in plan
    if not text.startswith(("parent", "correlation")):
        assert "TEMP B-TREE" not in plan
