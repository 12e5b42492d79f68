"""The OpenAPI document is what the repository has and what the API does: driven from it, and by a client made of it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from django.conf import settings
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how
from pytest_django.live_server_helper import LiveServer
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from handlers.models import ApiClient, JobRecord, RecurringJob
from handlers.states import State
from jobsite.wsgi import application
from tests.api.conftest import ROOT, Caller
from tests.console.factories import make_job

EXAMPLES = 5  # of each operation and kind: fitting, and not
# What the document cannot say: a job's arguments fit its type, an id is one that there is.
UNSAID = {"positive_data_acceptance", "ensure_resource_availability", "use_after_free", "object_level_authorization"}
# Those ask by themselves, apart from what is generated; test_access.py asks the same.
APART = {"ignored_auth", "max_response_time", "unsupported_method"}


def test_document_in_the_repository_is_up_to_date() -> None:
    out = io.StringIO()
    call_command("jobs_openapi", stdout=out)
    kept = (settings.BASE_DIR / "docs" / "openapi.json").read_text()
    assert out.getvalue() == kept, "make format writes docs/openapi.json"


def test_document_is_served_to_all_and_is_openapi_3_1() -> None:
    answer = Caller(None).get("/openapi.json")
    assert answer.status_code == 200
    made = answer.json()
    assert made["openapi"].startswith("3.1")
    assert made["servers"] == [{"url": ROOT}]
    for name, schema in made["components"]["schemas"].items():
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": made["components"]})
        assert schema.get("type") == "object", name


def test_document_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Caller(None).get("/openapi.json")
    monkeypatch.delattr("ninja.openapi.schema.get_schema")
    assert Caller(None).get("/openapi.json").content == first.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
def test_api_does_what_its_document_says(caller: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch) -> None:
    load_all_checks()
    token = caller().token
    schema = schemathesis.openapi.from_wsgi(f"{ROOT}/openapi.json", application)
    checks = CHECKS.get_by_names([name for name in CHECKS.get_all_names() if name not in UNSAID | APART])
    for state in State:
        make_job(state)
    asked = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in GenerationMode:

            @how(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=checks)

            ask()
    assert asked > 200
    assert ApiClient.objects.get().revoked_at is None
    assert RecurringJob.objects.count() < asked


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
def test_client_that_is_made_from_the_document_enqueues(
    caller: Callable[..., Caller], live_server: LiveServer, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    program = Path(sys.executable).with_name("openapi-python-client")
    document = settings.BASE_DIR / "docs" / "openapi.json"
    generate = [str(program), "generate", "--path", str(document), "--output-path", str(made), "--meta", "none"]
    told = subprocess.run(generate, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    script = f"""
from made.client import AuthenticatedClient
from made.api.jobs import enqueue, show_job
from made.models import NewJob, NewJobPayload
with AuthenticatedClient(base_url={live_server.url + ROOT!r}, token={caller().token!r}) as client:
    job = enqueue.sync(client=client, body=NewJob(type_="app.Note", payload=NewJobPayload.from_dict({{"text": "hi"}})))
    print(job.id, job.is_new, show_job.sync(client=client, job_id=job.id).payload)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[1] == "True"
    assert JobRecord.objects.get().payload == {"text": "hi"}
