"""The job list: what its address asks for, what of it cannot be read, ways on for all that match, what is new."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from dashboard.jobs import counts, joblist
from dashboard.jobs.neighbours import neighbours
from handlers.models import JobRecord
from handlers.selection import WINDOW, looking, secrets
from handlers.states import State
from tests.console.conftest import OPERATES, MakeUser, logged_in
from tests.console.factories import make_job, one_of_each

LIST = "/admin/jobs/jobrecord/"


def shown(client: Client, query: str | dict[str, str], status: int = 200) -> list[int]:
    """The ids of the jobs that the list shows."""
    response = client.get(LIST, query) if isinstance(query, dict) else client.get(f"{LIST}?{query}")
    assert response.status_code == status, response.content.decode()
    return [int(pk) for pk in re.findall(r"/admin/jobs/jobrecord/(\d+)/change/", response.content.decode())]


def tab_counts_of(client: Client, query: dict[str, str]) -> dict[str, str]:
    """What the list's tabs count, by state."""
    html = client.get(LIST, query).content.decode()
    return dict(re.findall(r'class="tab tab-([a-z]+)"[^>]*>[^<]*<span class="count">([\d,+]+)', html))


@pytest.mark.parametrize(
    "q",
    [
        "args.order_id:7",
        "queue:mail",
        "correlation:c-1",
        "state:failed queue:mail",
        'error:"card declined"',
        "declined",
    ],
)
def test_search_box_takes_qualifiers(viewer: Client, q: str) -> None:
    wanted = make_job(payload={"order_id": 7}, queue="mail", correlation="c-1", message="card declined")
    make_job()
    assert shown(viewer, {"q": q}) == [wanted.pk]


def test_selects_say_what_they_filter_by_after_a_form_that_sent_them_all(viewer: Client) -> None:
    make_job(queue="mail")
    response = viewer.get(LIST, {"q": " ", "type": "", "queue": "mail", "worker": "", "since": ""}, follow=True)
    assert response.redirect_chain == [(f"{LIST}?queue=mail", 302)]
    html = response.content.decode()
    selects = dict(re.findall(r'<select name="(\w+)".*?>(.*?)</select>', html, re.DOTALL))
    assert set(selects) == {"type", "queue", "worker", "since"}
    for name, options in selects.items():
        chosen = re.findall(r"<option[^>]* selected>([^<]*)<", options)
        assert chosen == (["mail"] if name == "queue" else []), "the first is shown: any"
        assert all(words.strip() for words in re.findall(r"<option[^>]*>([^<]*)<", options)), name


def test_number_alone_is_an_id_and_leads_to_the_same_as_a_word(viewer: Client) -> None:
    wanted = make_job(message="order 4711 not found")
    assert shown(viewer, {"q": "order 4711", "state": "failed"}) == [wanted.pk]
    html = viewer.get(LIST, {"q": "4711", "state": "failed"}).content.decode()
    link = unescape(re.findall(r'<a href="([^"]+)">Look for it in errors and arguments', html)[0])
    assert shown(viewer, link.removeprefix("?")) == [wanted.pk]
    assert "Look for it" not in viewer.get(LIST, {"q": "order 4711"}).content.decode()


def test_filters_and_search_narrow_together(viewer: Client) -> None:
    wanted = make_job(queue="mail", message="declined")
    make_job(queue="mail")
    make_job(State.SUCCEEDED, queue="mail")
    query = {
        "q": "declined",
        "queue": "mail",
        "state": "failed",
        "type": "app.Note",
        "worker": wanted.worker,
        "since": "1h",
    }
    assert shown(viewer, query) == [wanted.pk]


def test_list_filters_by_time(viewer: Client) -> None:
    old, new = make_job(age=timedelta(hours=30)), make_job()
    assert shown(viewer, "since=24h") == [new.pk]
    assert shown(viewer, "until=1h") == [old.pk]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("q=state:gone", "there is no state"),
        ("q=%00", "U+0000"),
        ("q=a%00b", "U+0000"),
        ("q=error:%22open", "closing quotation mark"),
        ("q=id:99999999999999999999", "no id is as large"),
        ("state=gone", "there is no state"),
        ("since=soon", "is no time"),
        ("before=x", "is no place in the list"),
        ("after=-1", "is no place in the list"),
        ("before=99999999999999999999999", "is no place in the list"),
        ("error__icontains=x", "there is no filter &#x27;error__icontains&#x27;"),
        ("job_type=app.Note", "there is no filter"),
        ("q=" + "x" * 2001, "at most 2,000 characters"),
        ("q=%F0%9F%92", "Nothing fits"),
        ("state=failed&q=state:deleted", "no job is both"),
    ],
)
def test_list_says_what_of_its_address_cannot_be_read(viewer: Client, query: str, words: str) -> None:
    make_job(State.ENQUEUED)
    response = viewer.get(f"{LIST}?{query}")
    html = response.content.decode()
    assert words in html
    assert response.status_code == (200 if "Nothing fits" in words else 400)
    assert "/change/" not in html


def test_list_keeps_a_search_that_cannot_be_read_in_the_box(viewer: Client) -> None:
    html = viewer.get(LIST, {"q": 'state:gone "<b>'}).content.decode()
    assert 'value="state:gone &quot;&lt;b&gt;"' in html


def test_list_says_how_far_it_searched_and_searches_further(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST", 2), ("SECONDS", 0)):
        monkeypatch.setattr(looking, name, value)
    oldest = make_job(message="refused")
    for _ in range(3):
        make_job(message="lost")
    html = viewer.get(LIST, {"q": "refused"}).content.decode()
    assert "Nothing fits so far." in html
    assert "Searched 2 jobs, one after the other, back to those of" in strip_tags(html)
    further = unescape(html.split('" id="search-further">Search further')[0].rpartition('href="')[2])
    assert f"after={JobRecord.objects.latest('pk').pk}" in html  # what is new is newer than all there are
    html = viewer.get(LIST + further).content.decode()
    assert f"#{oldest.pk}" in html
    assert f"Export of the newest {WINDOW:,}:" in html
    assert "Search further" not in html  # there is none beyond it
    assert "Searched" not in viewer.get(LIST, {"state": "failed"}).content.decode()


def test_tabs_count_what_the_other_filters_leave(viewer: Client) -> None:
    for state in (State.FAILED, State.FAILED, State.ENQUEUED):
        make_job(state, queue="mail")
    one_of_each()
    counts = tab_counts_of(viewer, {"queue": "mail", "state": "failed"})
    assert counts["failed"] == "2"
    assert counts["enqueued"] == "1"
    assert counts["deleted"] == "0"


def test_tabs_count_what_the_page_shows_where_it_shows_all(viewer: Client) -> None:
    one_of_each()
    make_job(State.FAILED)
    assert tab_counts_of(viewer, {"q": "refused"}) == {
        "failed": "2", "retrying": "1", "scheduled": "1", "enqueued": "0", "processing": "0", "waiting": "0",
        "succeeded": "0", "deleted": "0",
    }  # fmt: skip
    assert not tab_counts_of(viewer, {"q": "refused", "state": "failed"})  # not to be had at once
    for _ in range(50):
        make_job(State.FAILED)
    assert not tab_counts_of(viewer, {"q": "refused"})


def test_tabs_count_the_first_of_a_state_where_no_index_tells_queues_apart(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "LOOK", 3)
    for _ in range(51):  # more than the page holds
        make_job(State.ENQUEUED, queue="mail")
    for state, queue in ((State.FAILED, "mail"), (State.DELETED, "mail")):
        make_job(state, queue=queue)
    for _ in range(4):
        make_job(State.DELETED)
        make_job(State.SCHEDULED)
    assert tab_counts_of(viewer, {"queue": "mail"}) == {
        "failed": "1", "retrying": "0", "enqueued": "4+", "processing": "0", "waiting": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "failed"),
    [
        ({"type": "app.Note"}, "2"),
        ({"type": "app.Note", "queue": "mail"}, "1"),
        ({"type": "app.Note", "since": "1h"}, "1"),
        ({"type": "app.Note", "q": "until:1h"}, "1"),
    ],
)
def test_tabs_count_types_with_what_else_narrows_them(viewer: Client, query: dict[str, str], failed: str) -> None:
    make_job(State.FAILED, queue="mail")
    make_job(State.FAILED, age=timedelta(hours=2))
    make_job(State.FAILED, job_type="app.Patient")
    assert tab_counts_of(viewer, query | {"state": "failed"})["failed"] == failed


@pytest.mark.parametrize(
    "query", ["", "state=failed", "q=refused", "type=app.Note&since=1h", "q=state:failed,retrying,enqueued"]
)
def test_list_needs_few_queries(operator: Client, query: str) -> None:
    one_of_each()
    operator.get(f"{LIST}?{query}")
    with CaptureQueriesContext(connection) as queries:
        operator.get(f"{LIST}?{query}")
    told = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(told) <= 20, "\n".join(told)


def test_new_jobs_are_counted_and_nothing_moves(viewer: Client) -> None:
    first = make_job(queue="mail")
    html = viewer.get(f"{LIST}?queue=mail").content.decode()
    url = re.search(r'data-new="([^"]+)"', html)
    assert url
    asked = url[1].replace("&amp;", "&")
    assert asked == f"/admin/jobs/new/?queue=mail&after={first.pk}"
    assert viewer.get(asked).json() == {"count": 0, "more": False, "text": ""}
    make_job(queue="mail")
    make_job(queue="other")
    assert viewer.get(asked).json() == {"count": 1, "more": False, "text": "1 new"}


def test_new_jobs_are_counted_up_to_a_cap(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblist, "MAX_NEW", 2)
    for _ in range(3):
        make_job()
    assert viewer.get("/admin/jobs/new/?after=0").json() == {"count": 2, "more": True, "text": "2+ new"}


def test_new_jobs_are_not_asked_for_on_an_older_page(viewer: Client) -> None:
    make_job()
    assert "data-new" not in viewer.get(f"{LIST}?before=99").content.decode()
    assert "data-new" in viewer.get(LIST).content.decode()


@pytest.mark.parametrize("query", ["after=x", "q=state:gone", "q=%00"])
def test_new_jobs_answers_garbage_in_words(viewer: Client, query: str) -> None:
    response = viewer.get(f"/admin/jobs/new/?{query}")
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize("url", ["/admin/jobs/new/?after=0", "/admin/jobs/export/"])
def test_pages_around_the_list_need_the_permission_to_see_jobs(nobody: Client, url: str) -> None:
    assert nobody.get(url).status_code == 403


def bulk_links(html: str) -> list[str]:
    """The addresses of the bulk operations that the page offers."""
    return [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)" class="bulk-', html)]


def test_all_that_match_leads_to_a_bulk_operation(make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = joblist._url
    monkeypatch.setattr(
        joblist, "_url", lambda request, name: "/bulk/new/" if name == "bulk_new" else stock(request, name)
    )
    make_job(queue="mail")
    client = logged_in(make_user("bo", *OPERATES, "run_bulkoperation"))
    html = client.get(f"{LIST}?state=failed&queue=mail&before=99999999").content.decode()
    assert bulk_links(html) == [
        "/bulk/new/?verb=retry&state=failed&queue=mail",
        "/bulk/new/?verb=move&state=failed&queue=mail",
        "/bulk/new/?verb=delete&state=failed&queue=mail",
    ]
    assert not bulk_links(client.get(f"{LIST}?state=awaiting&queue=mail").content.decode())
    without = logged_in(make_user("olga", *OPERATES))
    assert not bulk_links(without.get(LIST).content.decode())


def test_sensitive_argument_is_not_searched_without_permission(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_sensitive_paths", lambda: {("card",), ("customer", "email")})
    job = make_job(payload={"card": "4111", "customer": {"email": "a@b.c"}, "order": 7})
    plain = logged_in(make_user("vera", "view_jobrecord"))
    trusted = logged_in(make_user("tina", "view_jobrecord", "view_sensitive"))
    for q in ('args.card:"4111"', "args.customer.email:a@b.c", "args.card.number:1"):
        response = plain.get(LIST, {"q": q})
        assert response.status_code == 400
        assert "you may not see those" in response.content.decode()
        assert plain.get("/admin/jobs/export/", {"q": q}).status_code == 400
        assert plain.get("/admin/jobs/new/", {"q": q}).status_code == 400
    assert shown(plain, {"q": "args.order:7"}) == [job.pk]
    assert shown(trusted, {"q": 'args.card:"4111"'}) == [job.pk]


def test_neighbours_are_those_of_the_list_one_came_from(
    viewer: Client, rf: RequestFactory, make_user: MakeUser
) -> None:
    jobs = [make_job(), make_job(queue="mail"), make_job(), make_job()]
    user = make_user("ned", "view_jobrecord")

    def around(job: JobRecord, filters: str) -> tuple[Any, Any]:
        query = QueryDict(mutable=True)
        query["_changelist_filters"] = filters
        request = rf.get(f"/?{query.urlencode()}")
        request.user = user
        return neighbours(request, job)

    newer, older = around(jobs[2], "queue=default&before=500")
    assert newer == f"{LIST}{jobs[3].pk}/change/?_changelist_filters=queue%3Ddefault%26before%3D500"
    assert older == f"{LIST}{jobs[0].pk}/change/?_changelist_filters=queue%3Ddefault%26before%3D500"
    assert around(jobs[3], "")[0] is None
    assert around(jobs[0], "")[1] is None
    assert around(jobs[2], "q=state:gone") == (None, None)
    assert around(jobs[2], "q=%00") == (None, None)


def test_audit_list_says_that_its_place_cannot_be_read(superuser: Client) -> None:
    response = superuser.get("/admin/jobs/auditentry/?before=x")
    assert response.status_code == 400
    assert "is no place in the list" in response.content.decode()


def test_labels_of_cells_that_stand_below_each_other_are_in_the_persons_language(superuser: Client) -> None:
    make_job(State.SUCCEEDED, queue="default")
    html = superuser.get(LIST, headers={"accept-language": "de"}).content.decode()
    assert '<td class="field-queue"><span class="cell-label">Queue </span>default</td>' in html
    assert '<span class="cell-label">Versuche </span>1' in html
    make_job(State.ENQUEUED, queue="default")  # never begun: no label of nothing
    assert superuser.get(LIST).content.decode().count('<span class="cell-label">attempts </span>') == 1


def test_state_without_a_tab_of_its_own_is_named_in_words(superuser: Client) -> None:
    make_job(State.AWAITING)
    html = superuser.get(LIST, {"state": "awaiting"}, headers={"accept-language": "de"}).content.decode()
    tab = re.search(r'class="tab tab-awaiting"[^>]*>([^<]*)<', html)
    assert tab
    assert tab[1].strip() == "Ausstehend"  # "Wartet" is what waits for a signal
