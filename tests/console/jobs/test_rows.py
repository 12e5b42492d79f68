"""A row of the job list: what the job is about, its arguments in short, its tags, and the columns of one's choice."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from typing import Annotated, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from dashboard.kit import in_short, subjects
from handlers import Job, Sensitive, handles
from handlers.models import JobPayload, JobRecord
from handlers.registry import registry
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job

pytestmark = pytest.mark.django_db

LIST, COLUMNS = "/admin/jobs/jobrecord/", "/admin/jobs/columns/"


@dataclass(frozen=True)
class Owner:
    """Whose card it is."""

    name: str
    card: Annotated[str, Sensitive()]


@dataclass(frozen=True)
class Bill(Job):
    """A job with a title."""

    order_id: int
    total: float = 0.0
    card: Annotated[str, Sensitive()] = "4111222233334444"
    owner: Owner | None = None
    pins: list[Annotated[int, Sensitive()]] = field(default_factory=list)


Declare = Callable[..., object]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Declare]:
    """Registers the type ``shop.Bill`` with options; of its functions nothing was told yet."""
    monkeypatch.setattr(subjects, "_told", set())
    with registry.isolated():
        yield lambda **options: handles(Bill, name="shop.Bill", **options)(lambda job: None)


@pytest.fixture
def trusted(make_user: MakeUser) -> Client:
    """May see jobs with their secrets."""
    return logged_in(make_user("sam", "view_jobrecord", "view_sensitive"))


def bill(state: str = State.FAILED, tags: tuple[str, ...] = (), **arguments: Any) -> JobRecord:
    payload = {"order_id": 4711, "total": 12.5, "card": "4111222233334444", **arguments}
    return make_job(state, job_type="shop.Bill", payload=payload, tags=tags)


def rows(client: Client, query: str = "") -> list[str]:
    """The text of each row's cell about the job."""
    html = client.get(f"{LIST}{query}").content.decode()
    return [_words(cell) for cell in re.findall(r'<td class="field-job">(.*?)</td>', html, re.DOTALL)]


def heading(client: Client, job: JobRecord) -> str:
    """The job page's."""
    html = client.get(f"{LIST}{job.pk}/change/").content.decode()
    (found,) = re.findall(r"<h1 [^>]*>(.*?)</h1>", html, re.DOTALL)
    return _words(found)


def about(client: Client, job: JobRecord) -> tuple[str, list[str]]:
    """What the job page says below its heading of what the job is about, and where that leads."""
    html = client.get(f"{LIST}{job.pk}/change/").content.decode()
    found = "".join(re.findall(r'<p class="job-about">(.*?)</p>', html, re.DOTALL))
    return _words(found), [unescape(url) for url in re.findall(r'<a [^>]*?href="([^"]*)"', found)]


def _words(html: str) -> str:
    return " ".join(unescape(strip_tags(html.replace("<", " <"))).split())


def test_row_tells_what_the_job_is_about(viewer: Client, declare: Declare) -> None:
    declare(title=lambda job: f"Bill for order {job.order_id}", tags=["money"])
    job = bill(tags=("customer:42", "a"))
    plain = make_job(payload={"text": "x" * 200})
    first, second = rows(viewer)
    assert first == f'app.Note #{plain.pk} text="{"x" * 38}…'
    told = 'order_id=4711, total=12.5, card="••••••"'
    assert second == f"Bill for order 4711 #{job.pk} shop.Bill {told} money a customer:42"
    assert heading(viewer, job) == f"Failed Bill for order 4711 shop.Bill #{job.pk}"
    html = viewer.get(LIST).content.decode()
    assert 'href="?q=tag%3Acustomer%3A42"' in html
    assert about(viewer, job)[1] == [f"{LIST}?q=tag%3A{tag}" for tag in ("money", "a", "customer%3A42")]


def test_secrets_are_masked_for_who_may_not_see_them(viewer: Client, trusted: Client, declare: Declare) -> None:
    declare(
        title=lambda job: f"{job.order_id} by {job.card[-4:]}, {job.card}, {job.owner and job.owner.card}, {job.pins}",
        links=lambda job: {f"Card {job.card}": f"/cards/{job.card}/"},
    )
    job = bill(owner={"name": "Olga", "card": "5555"}, pins=[9876])
    secrets = ("4111222233334444", "4444", "5555", "9876")
    for html in (viewer.get(LIST).content.decode(), viewer.get(f"{LIST}{job.pk}/change/").content.decode()):
        assert not [secret for secret in secrets if secret in html]
    assert "4711 by ••••, ••••••, ••••••, ••••••" in rows(viewer)[0]
    assert re.search(r"owner=\{.*Olga.*\}", rows(viewer)[0])
    assert "4711 by 4444, 4111222233334444, 5555, [9876]" in rows(trusted)[0]
    assert about(trusted, job) == ("Card 4111222233334444", ["/cards/4111222233334444/"])


def _asks(job: Bill) -> str:
    return f"{User.objects.count()} users"


def _sleeps(job: Bill) -> str:
    time.sleep(2 * subjects.PAGE_SECONDS)
    return "slow"


@pytest.mark.once
@pytest.mark.parametrize(
    ("title", "told"),
    [
        (lambda job: str(1 / 0), "raised ZeroDivisionError"),
        (lambda job: job.nothing, "raised AttributeError"),
        (lambda job: {"": ""}[f"secret {job.card}"], "raised KeyError"),
        (_asks, "raised UsesDatabase"),
        (lambda job: 7, "gave a int"),
        (lambda job: None, ""),
        (lambda job: "", ""),
    ],
)
def test_title_that_cannot_be_made_leaves_the_types_name_and_is_told_once(
    trusted: Client, declare: Declare, caplog: pytest.LogCaptureFixture, title: Any, told: str
) -> None:
    declare(title=title)
    jobs = [bill(), bill()]
    with caplog.at_level(logging.WARNING, "dashboard.kit.subjects"):
        for _ in range(2):
            assert [row.split(" order_id")[0] for row in rows(trusted)] == [
                f"shop.Bill #{job.pk}" for job in jobs[::-1]
            ]
        assert heading(trusted, jobs[0]) == f"Failed shop.Bill #{jobs[0].pk}"
    said = [record.getMessage() for record in caplog.records if record.name == "dashboard.kit.subjects"]
    assert len(said) == bool(told)
    assert all(told in each and "shop.Bill" in each and "4111" not in each for each in said)


@pytest.mark.once
def test_titles_that_take_long_do_not_hold_the_page(
    viewer: Client, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "PAGE_SECONDS", 0.05)
    declare(title=_sleeps)
    for _ in range(5):
        bill()
    assert [row.startswith("slow") for row in rows(viewer)] == [True, False, False, False, False]


@pytest.mark.once
def test_title_is_bounded_and_inert(viewer: Client, declare: Declare) -> None:
    declare(title=lambda job: "<b>\u202e" + "x" * 1024 + "\nmore")
    bill()
    (row,) = rows(viewer)
    shown = row.partition(" #")[0]
    assert len(shown) == subjects.LONGEST_TITLE
    assert shown.startswith("<b>\\u202exx")
    assert shown.endswith("…")


@pytest.mark.once
def test_title_of_arguments_that_do_not_fit_any_more_is_the_types_name(viewer: Client, declare: Declare) -> None:
    declare(title=lambda job: "never")
    job = make_job(job_type="shop.Bill", payload={"order": "4711"})
    assert rows(viewer)[0].startswith(f"shop.Bill #{job.pk}")


def test_arguments_of_a_megabyte_are_not_read_whole(viewer: Client, declare: Declare) -> None:
    declare(title=lambda job: f"Bill for order {job.order_id}")
    small = make_job(payload={"text": "a", "blob": "b" * 6_000})
    for _ in range(3):
        bill(note="n" * 1_000_000)
    read = in_short.read(list(JobRecord.objects.all()))
    assert all(beside.text is None or len(beside.text) <= in_short.READ + 1 for beside in read.values())
    found = rows(viewer)
    assert len(found) == 4
    assert f"app.Note #{small.pk}" in found[3]
    assert "…" in found[3]
    assert max(map(len, found)) < 300


def test_row_costs_one_statement_however_many_rows(viewer: Client, declare: Declare) -> None:
    declare(title=lambda job: f"Bill for order {job.order_id}", tags=["money"])

    def asked() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            viewer.get(LIST)
        return [str(query["sql"]) for query in captured if " FROM " in str(query["sql"])]

    bill(tags=("one",))
    few = asked()
    for number in range(30):
        bill(tags=("one", f"n:{number}"))
    many = asked()
    assert len(many) <= len(few) + 1, "but for the tabs' counts, which a page that holds all jobs has at hand"
    assert len([sql for sql in many if 'FROM "jobs_jobpayload"' in sql]) == 1


def test_tags_of_the_page_are_counted(viewer: Client, declare: Declare) -> None:
    declare(tags=["money"])
    for _ in range(3):
        bill(tags=("customer:42",))
    make_job(tags=("money", "customer:42"))
    make_job(tags=("alone",))
    html = viewer.get(LIST).content.decode()
    (line,) = re.findall(r'<p class="list-tags">(.*?)</p>', html, re.DOTALL)
    assert re.findall(r">([\w:]+) <span class=\"count\">(\S+)</span>", line) == [("customer:42", "4"), ("money", "4")]
    assert len(rows(viewer, "?q=tag:money")) == 4


@pytest.mark.once
def test_type_name_of_185_characters_and_tags_at_their_longest_are_whole(viewer: Client) -> None:
    name, tags = "app." + "T" * 181, tuple(f"{number}" * 50 for number in range(10))
    job = make_job(job_type=name, tags=tags)
    (row,) = rows(viewer)
    assert f"{name} #{job.pk}" in row
    assert all(tag in row for tag in tags)


# --- links


@pytest.mark.once
@pytest.mark.parametrize(
    ("links", "words", "urls"),
    [
        ({"Order": "/shop/orders/7/"}, "Order", ["/shop/orders/7/"]),
        (
            [("Order", "https://shop.example/7?a=1&b=2"), ("B", "/b")],
            "Order B",
            ["https://shop.example/7?a=1&b=2", "/b"],
        ),
        ({"": "/bare/"}, "/bare/", ["/bare/"]),
        ({"Run": "javascript:alert(1)"}, "Run: javascript:alert(1)", []),
        ({"Run": " javascript:alert(1)"}, "Run: javascript:alert(1)", []),
        ({"Run": "JAVASCRIPT:alert(1)"}, "Run: JAVASCRIPT:alert(1)", []),
        ({"D": "data:text/html,<b>"}, "D: data:text/html,<b>", []),
        ({"E": "//evil.example/"}, "E: //evil.example/", []),
        ({"E": "/\\evil.example/"}, "E: /\\evil.example/", []),
        ({"E": "https:evil.example"}, "E: https:evil.example", []),
        ({"E": "relative/"}, "E: relative/", []),
        (None, "", []),
        ({}, "", []),
    ],
    ids=str,
)
def test_links_lead_to_the_web_and_to_this_site_alone(
    viewer: Client, declare: Declare, links: Mapping[str, str] | None, words: str, urls: list[str]
) -> None:
    declare(links=lambda job: links)
    assert about(viewer, bill()) == (words, urls)


@pytest.mark.once
@pytest.mark.parametrize("made", [lambda job: 1 / 0, lambda job: 7, lambda job: ["Order"], _asks])
def test_links_that_cannot_be_made_are_a_quiet_note(
    viewer: Client, declare: Declare, caplog: pytest.LogCaptureFixture, made: Any
) -> None:
    declare(links=made)
    job = bill()
    with caplog.at_level(logging.WARNING, "dashboard.kit.subjects"):
        for _ in range(2):
            assert about(viewer, job) == ("This type\u2019s links could not be made: the log says why.", [])
    assert len([record for record in caplog.records if record.name == "dashboard.kit.subjects"]) == 1


@pytest.mark.once
def test_links_are_bounded(viewer: Client, declare: Declare) -> None:
    declare(links=lambda job: {f"{number} {'x' * 1024}": f"/{number}/" for number in range(1_000)})
    words, urls = about(viewer, bill())
    assert len(urls) == subjects.MOST_LINKS
    assert len(words) < subjects.MOST_LINKS * (subjects.LONGEST_WORDS + 2)


# --- columns


def columns(client: Client) -> list[str]:
    html = client.get(LIST).content.decode()
    return re.findall(r'<th[^>]* class="[^"]*column-(\w+)', html)


def test_columns_are_each_persons_own_and_come_back_with_them(make_user: MakeUser) -> None:
    job = make_job(State.SUCCEEDED, tags=("nightly",))
    JobPayload.objects.filter(pk=job.pk).update(data={"order_id": 7})
    vera, other = make_user("vera", "view_jobrecord"), make_user("otto", "view_jobrecord")
    client = logged_in(vera)
    usual = columns(client)
    assert usual == ["state_badge", "job", "queue", "attempts", "last_error", "when", "ran_on"]
    sent = {"column": ["took", "priority", "created", "nonsense"], "back": "state=succeeded&q=tag%3Anightly"}
    response = client.post(COLUMNS, sent)
    assert response.headers["Location"] == f"{LIST}?state=succeeded&q=tag%3Anightly"
    again = logged_in(vera)
    assert columns(again) == ["state_badge", "job", "priority", "created", "took"]
    html = again.get(LIST).content.decode()
    assert "</span>2.0 s</td>" in html or "</span>2 s</td>" in html
    assert "order_id=7" not in html
    assert rows(again) == [f"app.Note #{job.pk}"]
    assert columns(logged_in(other)) == usual
    again.post(COLUMNS, {"usual": "1"})
    assert columns(again) == usual


def test_no_columns_at_all_leave_state_and_job(viewer: Client) -> None:
    make_job(age=timedelta(hours=1))
    viewer.post(COLUMNS, {})
    assert columns(viewer) == ["state_badge", "job"]
    assert viewer.get(COLUMNS).status_code == 405
