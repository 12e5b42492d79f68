"""Forms in which one chooses job types and queues: a select of some, a field to type in where there are very many."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import make_dataclass
from html import unescape

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from dashboard.kit import filters
from dashboard.models import RoleLimit
from dashboard.roles import limit_of
from handlers import handles
from handlers.models import AlertRule, ApiClient, RecurringJob
from handlers.registry import registry
from tests.console.reach.sides import NEAR, NearWork, _run, declared

pytestmark = [pytest.mark.django_db, pytest.mark.once, pytest.mark.redis]

MANY = 1_000
FORMS = (
    "/admin/recurring/new/",
    f"/admin/recurring/new/?type=app.{NEAR}",
    "/admin/clients/new/",
    "/admin/alerts/new/?kind=share",
    f"/admin/job-types/app.{NEAR}/enqueue/",
    "/admin/auth/group/add/",
)


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    with declared():
        yield


def many_more() -> None:
    """A thousand types, each on a queue of its own."""
    for number in range(MANY):
        name = f"app.{'x' * 60}{number}"
        handles(
            make_dataclass(f"Work{number}", [], bases=(NearWork,), frozen=True), name=name, queue=f"{'q' * 40}{number}"
        )(_run)
    assert len(registry.all()) > MANY


def test_forms_are_as_large_with_a_thousand_types_and_queues_as_with_some(superuser: Client) -> None:
    before = {path: superuser.get(path) for path in FORMS}
    many_more()  # which takes a second, so once for all
    for path in FORMS:
        assert before[path].status_code == 200, path
        assert b"data-names" not in before[path].content, path
        after = superuser.get(path)
        assert b"data-names" in after.content, path
        few = 2 * filters.FEW * 150  # of both kinds
        assert len(after.content) < len(before[path].content) + few, path
        assert b"dashboard/names.js" in after.content, path


def test_names_that_are_typed_are_those_that_the_form_takes(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MOST", 0)
    sent = {"name": "billing", "verbs": "read", "types": f" app.{NEAR}\r\n\r\napp.Note\n", "queues": "", "reason": ""}
    answer = superuser.post("/admin/clients/new/", sent)
    assert answer.status_code == 200, unescape(answer.content.decode())
    assert sorted(ApiClient.objects.get().types) == ["app.Note", f"app.{NEAR}"]
    refused = superuser.post("/admin/clients/new/", sent | {"name": "other", "types": f"app.{NEAR}\nno.Such"})
    assert refused.status_code == 400
    html = refused.content.decode()
    assert "no.Such is not one of the available choices" in html
    assert re.search(rf"<textarea[^>]*>\s*app\.{NEAR}\nno\.Such</textarea>", html), "what was typed is there still"
    rule = {"name": "share", "job_type": "no.Such", "queue": "", "percent": "5", "least": "20", "minutes": "5",
            "hold_seconds": "0", "again_minutes": "0", "emails": "a@b.example", "webhook_url": ""}  # fmt: skip
    assert superuser.post("/admin/alerts/new/?kind=share", rule).status_code == 400
    superuser.post("/admin/alerts/new/?kind=share", rule | {"job_type": f"app.{NEAR}"})
    assert AlertRule.objects.get().job_type == f"app.{NEAR}"


def test_role_is_limited_to_names_that_are_typed(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MOST", 0)
    group = Group.objects.create(name="near")
    RoleLimit.objects.create(group=group.pk, queues=["gone"])
    url = f"/admin/auth/group/{group.pk}/change/"
    box = r"<textarea[^>]* name=\"queues\"[^>]*>\s*gone</textarea>"
    assert re.search(box, superuser.get(url).content.decode()), "a name that the code knows no more stays"
    sent = {"name": "near", "permissions": [], "queues": "gone\r\ndefault\r\n", "types": f" app.{NEAR}\r\n"}
    assert superuser.post(url, sent).status_code == 302
    assert limit_of(group) == {"queues": ["default", "gone"], "types": [f"app.{NEAR}"]}
    refused = superuser.post(url, sent | {"types": "no.Such"})
    assert "no.Such is not one of the available choices" in refused.content.decode()
    assert limit_of(group)["types"] == [f"app.{NEAR}"]


def test_type_that_is_typed_leads_to_its_form_or_is_told(superuser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "MOST", 0)
    unknown = superuser.get("/admin/recurring/new/?type=no.Such")
    assert unknown.status_code == 400
    assert "The type no.Such is not registered here" in unknown.content.decode()
    form = superuser.get(f"/admin/recurring/new/?type=app.{NEAR}").content.decode()
    assert re.search(rf'<input[^>]*name="type"[^>]*value="app\.{NEAR}"', form)
    assert not RecurringJob.objects.exists()
