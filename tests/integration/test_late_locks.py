"""Where a site's SQLite has no IMMEDIATE transactions, what reads before it writes takes the lock first, so it waits.

Django's own settings are such. There SQLite refuses at once, "database is locked", whoever has read and then wants to
write while somebody else writes, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from handlers import InvalidJob, job_scheduler, stacks
from handlers.admission.edits import reset_limit
from handlers.alerts.edits import delete_rule
from handlers.api.clients import revoke_client
from handlers.bulk.control import start
from handlers.deploys import mark
from handlers.models import StoredPolicy
from handlers.policy_edits import assign, assign_types, delete_policy, save_policy
from handlers.selection import Selection
from handlers.switches import stop_worker
from tests.app.jobs import Note

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once, pytest.mark.usefixtures("noting")]


@pytest.fixture(autouse=True)
def late(late_locks: None) -> None:
    """In each test."""


def delete_by_command() -> None:
    call_command("jobs", "delete", str(job_scheduler.enqueue(Note("x"))))


@pytest.mark.parametrize(
    "act",
    [
        lambda: job_scheduler.pause_queue("default"),
        lambda: job_scheduler.pause_type("app.Note"),
        lambda: stop_worker("none", None, ""),
        lambda: reset_limit("none"),
        lambda: save_policy(None, {"name": "slow"}),
        lambda: delete_policy(1),
        lambda: assign("app.Note", None),
        lambda: assign_types(StoredPolicy(pk=1), []),
        lambda: start("retry", Selection(states=("failed",))),
        lambda: mark("2026.11.3"),
        lambda: revoke_client(1),
        lambda: delete_rule(1),
        lambda: stacks.ask(1, None, ""),
        delete_by_command,
    ],
)
def test_who_reads_before_writing_takes_the_lock_first(act: Callable[[], object]) -> None:
    with CaptureQueriesContext(connection) as asked, suppress(InvalidJob):
        act()
    said = [query["sql"] for query in asked if not query["sql"].startswith("SAVEPOINT")]
    begun = [after for before, after in pairwise(said) if before.startswith("BEGIN")]
    assert begun
    assert not [statement for statement in begun if statement.startswith("SELECT")]
