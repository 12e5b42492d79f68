"""What is found out once for all who look at the same moment."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from dashboard.kit.shared import Shared
from handlers.states import State
from tests.console.conftest import MakeUser, logged_in
from tests.console.factories import make_job
from tests.console.reach.test_matrix import limited

LIVE = {"X-Live": "tiles,trouble"}


def test_who_comes_while_one_looks_waits_for_what_that_one_finds() -> None:
    kept, looks, come, go = Shared[int](60.0), list[int](), threading.Event(), threading.Event()

    def look() -> int:
        looks.append(1)
        come.set()
        go.wait(10)
        return len(looks)

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(kept.get("a", look))) for _ in range(3)]
    threads[0].start()
    assert come.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1]
    assert kept.get("b", lambda: 7) == 7
    assert kept.get("a", lambda: 9, seconds=0) == 9


def test_a_look_that_fails_leaves_the_next_one_to_look() -> None:
    kept = Shared[int](60.0)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 5) == 5


@pytest.mark.django_db
def test_live_overviews_of_several_people_are_found_out_once_and_a_person_is_told_what_is_so_now(
    make_user: MakeUser,
) -> None:
    one, other = (logged_in(make_user(name, "view_jobrecord", "view_auditentry")) for name in ("ann", "bob"))
    make_job(State.FAILED)
    assert 'class="tile-count">1</span>' in live(one)
    make_job(State.FAILED)
    with CaptureQueriesContext(connection) as found:
        assert 'class="tile-count">1</span>' in live(other)
    assert len(found) <= 10, "\n".join(query["sql"][:120] for query in found)
    assert 'class="tile-count">2</span>' in one.get("/admin/").content.decode()


@pytest.mark.django_db
def test_live_overviews_are_shared_by_nobody_who_would_be_told_something_else(make_user: MakeUser) -> None:
    viewer, other = (logged_in(make_user(name, "view_jobrecord")) for name in ("ann", "bob"))
    make_job(State.FAILED, message="far from here")
    assert "There is no span “forged”" in live(other, "?span=forged")
    html = live(viewer)
    assert "last hour" in html
    assert "far from here" in html
    assert "forged" not in html
    assert "last 7 days" in live(viewer, "?span=7d")
    assert "last hour" in live(viewer)
    assert "letzte Stunde" in live(other, language="de")
    assert "letzte Stunde" not in live(other)


@pytest.mark.django_db
def test_live_overview_of_a_limited_role_holds_nothing_of_what_was_drawn_for_others(make_user: MakeUser) -> None:
    make_job(State.FAILED, message="far from here")
    make_job(State.FAILED, queue="mail", message="near by")
    assert "far from here" in live(logged_in(make_user("ann", "view_jobrecord")))
    html = live(logged_in(limited({"queues": ["mail"]})))
    assert "near by" in html
    assert "far from here" not in html
    assert "near by" in live(logged_in(limited({"queues": ["mail"]}, name="leo")))
    assert "far from here" in live(logged_in(make_user("bob", "view_jobrecord")))


def live(client: Client, query: str = "", *, language: str = "en") -> str:
    """The Overview as its page asks for it by itself."""
    answer = client.get(f"/admin/{query}", headers=LIVE | {"Accept-Language": language})
    assert answer.status_code == 200
    return answer.content.decode()
