"""What can wait has few of a process's threads, of one person and of all: a page that somebody waits for gets one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client

from dashboard.kit import crowd
from dashboard.kit.crowd import Crowd, Crowded
from handlers.states import State
from tests.console.factories import make_job


def test_one_person_has_so_many_places_and_all_together_so_many() -> None:
    places = Crowd(2, 3)
    with places.place("anna"), places.place("anna"):
        with pytest.raises(Crowded), places.place("anna"):
            pass
        with places.place("ben"), pytest.raises(Crowded), places.place("cleo"):
            pass
        with places.place("cleo"):
            pass
    with places.place("anna"):
        pass


def test_whoever_is_patient_gets_the_place_that_is_given_back() -> None:
    places, inside, leave = Crowd(1, 1, patience=30), threading.Event(), threading.Event()

    def hold() -> None:
        with places.place("anna"):
            inside.set()
            assert leave.wait(30)

    def come() -> bool:
        with places.place("anna"):
            return leave.is_set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(hold)
        assert inside.wait(30)
        second = pool.submit(come)
        leave.set()
        assert second.result(30)
        first.result(30)


def test_an_error_gives_the_place_back() -> None:
    places = Crowd(1, 1)
    with pytest.raises(ValueError, match="no"), places.place("anna"):
        raise ValueError("no")
    with places.place("anna"):
        pass


@pytest.mark.django_db
def test_a_live_page_is_asked_to_come_again_and_a_page_is_not(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "live", Crowd(0, 0))
    answer = superuser.get("/admin/", headers={"X-Live": "tiles"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    assert superuser.get("/admin/").status_code == 200


@pytest.mark.django_db
def test_a_search_that_looks_at_jobs_one_by_one_waits_for_its_turn_and_others_do_not(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job(State.FAILED)
    monkeypatch.setattr(crowd, "searches", Crowd(0, 0))
    answer = superuser.get("/admin/jobs/jobrecord/?q=refused")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    html = answer.content.decode()
    assert "Searches that look at jobs one by one are under way" in html
    assert "What an index finds takes no place" in html
    for query in ("?state=failed", "?q=type:app.Note", ""):
        assert superuser.get(f"/admin/jobs/jobrecord/{query}").status_code == 200
