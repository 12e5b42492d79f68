"""The examples of docs/api.md, run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable

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
