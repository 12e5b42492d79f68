"""Sign-in under attack: limits, what is told, logged and audited, and who can lift a lock-out."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from axes.models import AccessFailureLog
from django.contrib.auth import aauthenticate
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from handlers.models import AuditEntry
from tests.console.conftest import MakeUser, logged_in
from tests.console.reading import as_read

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"
RIGHT, WRONG = "secret", "no, not that"
HOME, CAFE = "10.1.1.1", "10.2.2.2"


@pytest.fixture(autouse=True)
def admin(db: None) -> User:
    """Whom it is about."""
    return User.objects.create_superuser("admin", password=RIGHT)


def attempt(password: str, name: str = "admin", address: str = CAFE, client: Client | None = None) -> Any:
    """What the login page answers."""
    form = {"username": name, "password": password}
    return (client or Client()).post(LOGIN, form, REMOTE_ADDR=address)


def fail(times: int, name: str = "admin", address: str = CAFE, client: Client | None = None) -> list[int]:
    """The statuses of so many answers to a wrong password."""
    return [attempt(WRONG, name, address, client).status_code for _ in range(times)]


def later(minutes: float) -> None:
    """So much time passes."""
    for failure in AccessFailureLog.objects.all():
        AccessFailureLog.objects.filter(pk=failure.pk).update(
            attempt_time=failure.attempt_time - timedelta(minutes=minutes)
        )


def lock_outs() -> list[tuple[str, str, str]]:
    rows = AuditEntry.objects.filter(verb="lock_out").order_by("pk")
    return [(entry.target, entry.source, entry.data["of"]) for entry in rows if entry.data]


def test_right_password_after_too_many_wrong_ones_is_refused_the_same_way() -> None:
    assert fail(4) == [200] * 4
    refused = [attempt(WRONG), attempt(WRONG), attempt(RIGHT)]
    for answer in refused:
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60
        (told,) = re.findall(r'class="errornote">\s*(.*?)\s*</p>', answer.content.decode(), re.DOTALL)
        assert re.match(
            r"Too many attempts failed\. Try again in 1[45] minutes, at [\d-]{10} \d\d:\d\d:\d\d UTC", as_read(told)
        )
        assert "_auth_user_id" not in answer.client.session
    assert lock_outs() == [("user admin", CAFE, "this name at this address")]
    later(15)
    assert attempt(RIGHT).status_code == 302


def test_trying_on_makes_no_lock_out_longer() -> None:
    fail(5)
    later(14)
    assert fail(10) == [429] * 10
    assert AccessFailureLog.objects.count() == 5
    later(1)
    assert attempt(RIGHT).status_code == 302


def test_failures_at_one_address_do_not_lock_a_person_out_elsewhere() -> None:
    fail(7)
    assert attempt(RIGHT, address=HOME).status_code == 302


def test_failures_from_everywhere_lock_a_name_out_but_for_browsers_that_its_person_has_signed_in_with() -> None:
    known = Client()
    assert attempt(RIGHT, address=HOME, client=known).status_code == 302
    known.post("/admin/logout/")
    assert sorted(fail(1, address=f"10.3.0.{at}")[0] for at in range(22)) == [200] * 19 + [429] * 3
    assert lock_outs() == [("user admin", "10.3.0.19", "this name")]
    assert attempt(RIGHT, address=HOME).status_code == 429
    assert attempt(RIGHT, address="10.9.9.9", client=known).status_code == 302
    known.post("/admin/logout/")
    assert fail(6, client=known) == [200] * 4 + [429] * 2, "and it is no way to try without end"


def test_cookie_of_a_known_browser_helps_nobody_else(make_user: MakeUser) -> None:
    make_user("vera")
    hers = Client()
    assert attempt(RIGHT, "vera", client=hers).status_code == 302
    hers.post("/admin/logout/")
    fail(5)
    assert attempt(RIGHT, client=hers).status_code == 429
    for name, cookie in hers.cookies.items():
        hers.cookies[name] = f"{cookie.value}x"
    fail(5, "vera", client=hers)
    assert lock_outs()[-1] == ("user vera", CAFE, "this name at this address")


def test_one_address_has_so_many_failures_whatever_the_names() -> None:
    assert [fail(1, f"name-{at}")[0] for at in range(51)] == [200] * 49 + [429] * 2
    assert attempt(RIGHT).status_code == 429
    assert attempt(RIGHT, address=HOME).status_code == 302
    assert lock_outs() == [("sign-in", CAFE, "this address")]


def test_address_is_the_person_s_behind_a_trusted_proxy_and_a_network_of_ipv6(settings: Any) -> None:
    settings.CONSOLE_TRUSTED_PROXIES = ["10.0.0.0/8"]
    for _ in range(5):
        Client().post(LOGIN, {"username": "admin", "password": WRONG}, headers={"X-Forwarded-For": "203.0.113.7"})
    for at in range(5):
        attempt(WRONG, address=f"2001:db8:1:2::{at}")
    found = {str(address) for address in AccessFailureLog.objects.values_list("ip_address", flat=True)}
    assert found == {"127.0.0.1", "2001:db8:1:2::"}, "127.0.0.1 is no trusted proxy, so nobody's word counts"
    settings.CONSOLE_TRUSTED_PROXIES = ["127.0.0.0/8"]
    proxied = {"X-Forwarded-For": "203.0.113.8"}
    Client().post(LOGIN, {"username": "admin", "password": WRONG}, headers=proxied)
    assert AccessFailureLog.objects.filter(ip_address="203.0.113.8").count() == 1


def test_slips_are_forgotten_once_somebody_is_in() -> None:
    fail(4)
    assert attempt(RIGHT).status_code == 302
    assert fail(4) == [200] * 4
    assert not AuditEntry.objects.filter(verb="lock_out").exists()


def test_what_was_typed_is_kept_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    typed = "my password, in the field of the name"
    with caplog.at_level(logging.DEBUG):
        Client().post(f"{LOGIN}?q=in-the-address", {"username": typed, "password": WRONG, "_asked": "in a form"})
        attempt(WRONG)
    rows = list(AccessFailureLog.objects.order_by("pk").values())
    assert [bool(re.fullmatch(r"unknown [0-9a-f]{16}", row["username"])) for row in rows] == [True, False]
    kept = f"{rows}{list(AuditEntry.objects.values())}{caplog.text}{[vars(record) for record in caplog.records]}"
    assert not [word for word in (typed, WRONG, "in-the-address", "in a form") if word in str(rows)]
    assert typed not in f"{rows}{caplog.text}"
    assert WRONG not in f"{rows}{caplog.text}"
    assert "admin" in kept


def test_each_attempt_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dashboard.logins")
    attempt(RIGHT, address=HOME)
    fail(6)
    attempt(WRONG, "nobody's name")
    records = [record for record in caplog.records if record.name == "dashboard.logins"]
    assert [record.levelname for record in records] == ["INFO"] + ["WARNING"] * 7
    told = [(vars(record)["person"], vars(record)["address"], vars(record)["outcome"][:7]) for record in records[:-1]]
    assert told == [("admin", HOME, "signed ")] + [("admin", CAFE, "failed:")] * 4 + [("admin", CAFE, "refused")] * 2
    assert re.fullmatch(r"sign-in of unknown [0-9a-f]{8} from 10\.2\.2\.2 failed: .*", records[-1].getMessage())


def test_sign_in_is_on_the_audit() -> None:
    attempt(RIGHT, address=HOME)
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.verb, entry.target, entry.source) == ("admin", "sign_in", "user admin", HOME)


def test_old_password_is_an_attempt_too(admin: User) -> None:
    found = logged_in(admin)
    form = {"new_password1": "a1b2c3d4e5f6", "new_password2": "a1b2c3d4e5f6"}

    def change(old: str) -> Any:
        return found.post("/admin/password_change/", {**form, "old_password": old}, REMOTE_ADDR=CAFE)

    assert [change(WRONG).status_code for _ in range(6)] == [200] * 4 + [429] * 2
    answer = change(RIGHT)
    assert (answer.status_code, "Too many attempts failed" in answer.content.decode()) == (429, True)
    assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60
    admin.refresh_from_db()
    assert admin.check_password(RIGHT)
    later(15)
    assert change(RIGHT).status_code == 302


def test_async_code_is_limited_too(rf: RequestFactory) -> None:
    def ask(password: str) -> Any:
        return async_to_sync(aauthenticate)(rf.post("/", REMOTE_ADDR=CAFE), username="admin", password=password)

    assert ask(RIGHT) is not None
    assert [ask(WRONG) for _ in range(5)] == [None] * 5
    assert ask(RIGHT) is None
    assert lock_outs() == [("user admin", CAFE, "this name at this address")]


PEOPLE = "/admin/auth/user/"


def lift(client: Client, *users: User) -> Any:
    form = {"action": "lift_lock_out", "_selected_action": [str(user.pk) for user in users]}
    return client.post(PEOPLE, form, REMOTE_ADDR=HOME, follow=True)


def test_administrator_sees_and_lifts_a_lock_out(make_user: MakeUser) -> None:
    vera = make_user("vera")
    boss = make_user("boss")
    boss.user_permissions.add(*Permission.objects.filter(codename__in=["view_user", "change_user"]))
    fail(5, "vera")
    until = r'until <span data-at="[^"]+" data-as="time" title="[^"]+ UTC">\d\d:\d\d<'
    assert len(re.findall(until, logged_in(boss).get(PEOPLE).content.decode())) == 1
    answer = lift(logged_in(boss), vera)
    assert "1 user can sign in again." in answer.content.decode()
    assert "until " not in answer.content.decode()
    assert attempt(RIGHT, "vera").status_code == 302
    entry = AuditEntry.objects.get(verb="lift_lock_out")
    assert (entry.username, entry.target, entry.source, entry.data) == ("boss", "user vera", HOME, {"failures": 5})
    page = logged_in(make_user("auditor", "view_auditentry")).get("/admin/jobs/auditentry/").content.decode()
    assert all(words in page for words in ("Lock out", "Lift lock out", "Sign in", "this name at this address"))


def test_who_may_not_change_an_account_lifts_nothing(make_user: MakeUser, admin: User) -> None:
    looker, boss = make_user("looker"), make_user("boss")
    looker.user_permissions.add(*Permission.objects.filter(codename="view_user"))
    boss.user_permissions.add(*Permission.objects.filter(codename__in=["view_user", "change_user"]))
    fail(5)
    lift(logged_in(looker), admin)
    assert "0 users can sign in again. 1 had" in lift(logged_in(boss), admin).content.decode()
    assert attempt(RIGHT).status_code == 429
    assert not AuditEntry.objects.filter(verb="lift_lock_out").exists()


@pytest.mark.parametrize(
    "command", [("axes_reset_username", "admin"), ("axes_reset_ip", CAFE), ("axes_reset",)], ids=lambda found: found[0]
)
def test_command_lifts_a_lock_out(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    fail(5)
    call_command(*command)
    assert "5 attempts removed" in capsys.readouterr().out
    assert attempt(RIGHT).status_code == 302


@pytest.fixture
def at_once(transactional_db: None) -> Callable[[int], list[int]]:
    """Asks so many times for a wrong password at one moment, each over a connection of its own."""

    def ask(times: int) -> list[int]:
        gate, statuses = threading.Barrier(times), list[int]()

        def one() -> None:
            gate.wait(30)
            try:
                statuses.extend(fail(1))
            finally:
                connection.close()

        threads = [threading.Thread(target=one) for _ in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return statuses

    return ask


@pytest.mark.django_db(transaction=True)
def test_no_attempt_slips_past_beside_others(
    at_once: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, meeting = list[str](), threading.Barrier(5)
    check = User.check_password

    def slowly(user: User, password: str) -> bool:
        looked.append(password)
        try:
            meeting.wait(3)  # until as many are at it as may be, or there are no more
        except threading.BrokenBarrierError:
            pass
        return check(user, password)

    monkeypatch.setattr(User, "check_password", slowly)
    assert len(at_once(12)) == 12
    assert len(looked) <= 5
    assert attempt(RIGHT).status_code == 429
    assert len(lock_outs()) == 1


def test_time_of_the_next_attempt_is_told_for_the_longest_limit() -> None:
    fail(1, address=HOME)
    later(10)
    fail(5)
    before = timezone.now()
    assert int(attempt(RIGHT).headers["Retry-After"]) > 14 * 60
    assert timezone.now() - before < timedelta(minutes=1)
