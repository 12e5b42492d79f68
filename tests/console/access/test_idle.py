"""Who has done nothing for a time is signed out; what pages fetch by themselves is nobody's doing."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client

from handlers.states import State
from tests.console.factories import make_job

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let minutes pass for those who are idle."""
    gone = [0.0]
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + gone[0])

    def go_on(minutes: float) -> None:
        gone[0] += minutes * 60

    return go_on


def test_who_is_idle_is_signed_out_and_told_why(superuser: Client, settings: Any, pass_time: Any) -> None:
    settings.CONSOLE_IDLE_MINUTES = 30
    for _ in range(3):
        assert superuser.get("/admin/").status_code == 200
        pass_time(29)
    assert superuser.get("/admin/", headers={"X-Live": "tiles"}).status_code == 200
    pass_time(2)
    html = superuser.get("/admin/queues/", follow=True).content.decode()
    assert "You did nothing for 30 minutes, so you were signed out." in html
    assert 'name="next" value="/admin/queues/"' in html


def test_a_form_that_comes_too_late_does_nothing_and_is_given_back(
    superuser: Client, settings: Any, pass_time: Any
) -> None:
    settings.CONSOLE_IDLE_MINUTES = 30
    job = make_job(State.FAILED)
    superuser.get("/admin/")
    pass_time(31)
    answer = superuser.post(f"/admin/jobs/jobrecord/{job.pk}/retry/", {"token": job.token})
    assert answer.status_code == 403
    assert "You had been signed out when you sent this, so nothing was done." in answer.content.decode()
    job.refresh_from_db()
    assert job.state == "failed"


def test_nobody_is_signed_out_where_no_setting_says_so(superuser: Client, pass_time: Any) -> None:
    superuser.get("/admin/")
    pass_time(10_000)
    assert superuser.get("/admin/").status_code == 200


@pytest.mark.parametrize("wrong", [0, -5, "30", True, float("nan")])
def test_a_time_that_is_none_is_an_error_at_the_start(settings: Any, wrong: Any) -> None:
    settings.CONSOLE_IDLE_MINUTES = wrong
    with pytest.raises(SystemCheckError, match=r"dashboard\.E005"):
        call_command("check", "--tag", "security")
