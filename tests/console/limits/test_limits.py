"""The limits' pages: how they stand, changing one once its change was looked at, and who may."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from handlers import admission, job_scheduler
from handlers.admission.edits import set_limit
from handlers.models import AuditEntry, JobRecord, LimitOverride
from tests.app.jobs import Charge
from tests.console.conftest import MakeUser, logged_in
from tests.running import LEASE, message

pytestmark = pytest.mark.django_db

LIST, PAGE, RESET = "/admin/limits/", "/admin/limits/tills/", "/admin/limits/tills/reset/"


@pytest.fixture
def reader(make_user: MakeUser) -> Client:
    return logged_in(make_user("reader", "view_jobrecord", "view_limitoverride"))


@pytest.fixture
def lined_up() -> list[JobRecord]:
    """Three jobs of tenant 17, of which one has a slot, and one of tenant 5."""
    ids = job_scheduler.enqueue_many([Charge(1, tenant=tenant) for tenant in (17, 17, 17, 5)])
    admission.claim([message(job_id) for job_id in ids], worker="w", lease=LEASE)
    return list(JobRecord.objects.filter(pk__in=ids).order_by("pk"))


def look(client: Client, **values: Any) -> str:
    return client.post(PAGE, {"concurrency": "1", "rate": "", "version": "0", "do": "look"} | values).content.decode()


def save(client: Client, concurrency: str, rate: str = "", version: str = "0", **more: str) -> str:
    seen = f"concurrency: {concurrency or None}; rate: {rate}"
    form = {"concurrency": concurrency, "rate": rate, "version": version, "do": "save", "seen": seen} | more
    return client.post(PAGE, form, follow=True).content.decode()


def test_list_tells_what_holds_who_has_slots_and_who_waits(reader: Client, lined_up: list[JobRecord]) -> None:
    html = reader.get(LIST).content.decode()
    for words in (
        "at most 1 at once, for each key", "at most 4 start in any 2 s", "17: 2 wait, 1 in use", "5: 0 wait, 1 in use",
        'href="/admin/job-types/app.Charge/"', '<td class="number" data-label="Waiting">2</td>',
        '<td class="number" data-label="In use">2</td>',
    ):  # fmt: skip
        assert words in html
    set_limit("tills", concurrency=None, rate="100/m")
    assert "the code: at most 1 at once" in reader.get(LIST).content.decode()


def test_a_change_is_looked_at_and_then_made(superuser: Client, lined_up: list[JobRecord]) -> None:
    html = look(superuser, concurrency="2", rate="100/m")
    assert '<th scope="row">At once</th><td>1</td><td><strong>2</strong></td>' in html
    assert '<th scope="row">Starts</th><td>any number</td><td><strong>100/m</strong></td>' in html
    assert "2 wait now" in html
    assert not LimitOverride.objects.exists()
    assert "What changes" in save(superuser, "3", seen="concurrency: 2; rate: ")
    assert not LimitOverride.objects.exists(), "another change than the one that was shown"
    html = save(superuser, "2", "100/m", reason="a second till")
    assert "Changed tills." in html
    assert "a second till" in html
    assert "Back to the code's values" in html
    row = LimitOverride.objects.get()
    assert (row.concurrency, row.rate, row.version) == (2, "100/m", 1)
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.target, entry.reason) == (
        "admin", "change_limit", "limit tills", "a second till",
    )  # fmt: skip
    assert "No change: these values hold already." in look(superuser, concurrency="2", rate="100/m", version="1")


def test_back_to_the_code(superuser: Client) -> None:
    set_limit("tills", concurrency=2)
    assert superuser.get(RESET).status_code == 405
    for version in ("0", "", "x", "9" * 40):
        html = superuser.post(RESET, {"version": version}, follow=True).content.decode()
        assert "Someone changed the limit" in html
    html = superuser.post(RESET, {"version": "1", "reason": "it is gone"}, follow=True).content.decode()
    assert "The limit tills has the code&#x27;s values again." in html
    assert not LimitOverride.objects.exists()
    assert AuditEntry.objects.get().reason == "it is gone"
    assert "already" in superuser.post(RESET, {"version": "0"}, follow=True).content.decode()


@pytest.mark.parametrize("version", ["0", "", "x", "9" * 40])
def test_a_stale_form_is_told_and_changes_nothing(superuser: Client, version: str) -> None:
    set_limit("tills", concurrency=7, by="bob")
    html = save(superuser, "2", version=version)
    assert "Nothing was changed" in html
    assert "start again from them" in html
    assert LimitOverride.objects.get().concurrency == 7


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"concurrency": "0"}, "Must be a whole number, 1 to 1,000,000"),
        ({"concurrency": "9" * 400}, "Must be a whole number, 1 to 1,000,000"),
        ({"concurrency": "x"}, "Enter a whole number"),
        ({"rate": "<script>"}, "Cannot read &#x27;&lt;script&gt;&#x27;"),
        ({"rate": "0/m"}, "must allow 1 to 1,000,000 starts"),
        ({"rate": "1/m" * 10}, "at most 20 characters"),
    ],
)
@pytest.mark.parametrize("do", ["look", "save"])
def test_what_does_not_fit_is_named_beside_its_field(
    superuser: Client, do: str, values: dict[str, str], words: str
) -> None:
    html = look(superuser, do=do, **values)
    assert words in html
    assert "<script>" not in html
    assert not LimitOverride.objects.exists()


def test_a_limit_that_is_none_leads_back_with_words(superuser: Client) -> None:
    assert "has a limit nonsense" in superuser.get(f"{LIST}nonsense/", follow=True).content.decode()
    assert superuser.post(f"{LIST}nonsense/reset/", {"version": "0"}).status_code == 302


def test_each_needs_its_permission(viewer: Client, reader: Client, operator: Client) -> None:
    for client in (viewer, operator):
        assert client.get(LIST).status_code == client.get(PAGE).status_code == 403
        assert LIST not in client.get("/admin/").content.decode()
    assert reader.get(PAGE).status_code == 200
    assert 'name="do"' not in reader.get(PAGE).content.decode()
    assert reader.post(PAGE, {"concurrency": "3"}).status_code == 403
    assert reader.post(RESET, {"version": "0"}).status_code == 403
    assert LIST in reader.get("/admin/").content.decode()


def test_a_job_tells_where_it_waits(reader: Client, viewer: Client, lined_up: list[JobRecord]) -> None:
    def told(client: Client, job: JobRecord) -> str:
        html = client.get(f"/admin/jobs/jobrecord/{job.pk}/change/").content.decode()
        plan = html.partition('id="job-plan"')[2].partition("</section>")[0]
        return " ".join(plan.split())

    assert 'Waits: limit <a href="/admin/limits/tills/">tills</a>, place 2. Key: 17.' in told(reader, lined_up[2])
    assert "Waits: limit tills, place 1. Key: 17." in told(viewer, lined_up[1])
    assert "Waits: limit" not in told(reader, lined_up[0])


def test_a_type_tells_its_limits(reader: Client) -> None:
    set_limit("tills", concurrency=3)
    html = reader.get("/admin/job-types/app.Charge/").content.decode()
    assert '<a href="/admin/limits/tills/">tills</a>: at most 3 at once, for each tenant' in html
    assert "<dt>Limits</dt>" not in reader.get("/admin/job-types/app.Note/").content.decode()


def test_pages_keep_within_the_query_budget(
    superuser: Client, lined_up: list[JobRecord], django_assert_max_num_queries: Any
) -> None:
    set_limit("tills", concurrency=3, by="ann")
    for url in (LIST, PAGE):
        with django_assert_max_num_queries(20):
            assert superuser.get(url).status_code == 200
