"""The examples of docs/api.md, run as they stand; and a client that is made from the document."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from pytest_django.live_server_helper import LiveServer

from handlers.models import BulkOperation, JobRecord, RecurringJob
from tests.api.conftest import ROOT, Caller

pytestmark = [pytest.mark.django_db(transaction=True, reset_sequences=True), pytest.mark.once]

PAGE = settings.BASE_DIR / "docs" / "api.md"
CAREFUL = 'set -euo pipefail\ncurl() { command curl -sS --fail-with-body "$@"; echo; }\n'


def test_examples_of_the_page_work(caller: Callable[..., Caller], live_server: LiveServer) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl: install it")
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    env = {**os.environ, "API": f"{live_server.url}{ROOT}", "TOKEN": caller().token or ""}
    done = subprocess.run(
        ["bash", "-c", CAREFUL + "".join(blocks)], env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr
    assert JobRecord.objects.filter(arguments__data__text="once").count() == 1
    assert JobRecord.objects.get(pk=1).state == "enqueued"  # deleted and restored
    assert RecurringJob.objects.get().paused_at is not None
    assert BulkOperation.objects.get().state == "stopped"


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
