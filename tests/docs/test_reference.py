"""What the documentation lists is what the code has: public names, settings, system checks."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import fields

import pytest

import handlers.testing
from dashboard.site import PAGES
from handlers.conf import JobsSettings
from tests.docs.pages import ROOT

pytestmark = pytest.mark.once

INSTALL = ROOT / "docs" / "install.md"
# What the table says of a default in words, because the value itself stands for something else.
IN_WORDS = {
    "HANDLER_FACTORY": "none",
    "REDIS_URL": "that of `RQ_QUEUES`",
    "EMAIL_BACKEND": "Django's SMTP backend",
    "EMAIL_QUEUE": "`default`",
    "MAX_PAYLOAD_BYTES": "1 MiB",
}
CHECK = re.compile(r"\"((?:jobs|dashboard|jobsite)\.[EW]\d+)\"")
# What stands in the console's banners whatever the case, as ``dashboard.kit.health`` makes them.
BANNERS = (
    "No worker is connected: nothing runs, enqueued jobs wait.",
    "No scheduler is running: scheduled jobs and retries do not become due, and lost jobs stay lost.",
    "No live worker serves queue ",
    "No live worker can run ",
    "Nothing is lost: what is enqueued is kept in the database",
    "A scheduler has trouble with ",
    "that has a handler for its type",
    "whose code reads arguments of another release",
    "paused: nothing new starts there.",
)
# Instances are on the page as what they are instances of.
INSTANCES = {
    "job_scheduler": "handlers.gateway.JobScheduler",
    "command_bus": "handlers.commands.CommandBus",
    "event_bus": "handlers.events.bus.EventBus",
}


def test_reference_has_every_public_name() -> None:
    page = (ROOT / "docs" / "reference.md").read_text()
    shown = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", page, re.MULTILINE))
    assert {INSTANCES.get(name, name) for name in (*handlers.__all__, *handlers.testing.__all__)} <= shown


def test_settings_table_has_every_key_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", INSTALL.read_text(), re.MULTILINE))
    known = JobsSettings()
    assert set(rows) == {each.name.upper() for each in fields(JobsSettings)}
    for key, said in rows.items():
        value = getattr(known, key.lower())
        if key in IN_WORDS:
            assert said == IN_WORDS[key]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert float(said.replace(",", "")) == value, key
        else:
            expected = list(value) if isinstance(value, tuple) else "none" if value == "" else value
            assert said.strip("`").replace('"', "'").replace(".0", "") == str(expected).replace(".0", ""), key


def test_settings_page_is_made_from_the_code() -> None:
    spec = importlib.util.spec_from_file_location("settings_page", ROOT / "docs" / "settings_page.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    page = maker.page()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| [^|]+ \| ([^|]*) \|", page, re.MULTILINE))
    assert {each.name.upper() for each in fields(JobsSettings)} <= {key for key, words in rows.items() if words}
    console = [path.read_text() for path in (ROOT / "dashboard").rglob("*.py")]
    asked = {name for text in console for name in re.findall(r"[\"`](CONSOLE_[A-Z]+(?:_[A-Z]+)*)[\"`]", text)}
    assert asked <= set(rows)
    assert {"jobs.E001", "jobs.E021", "dashboard.E004", "jobs.W002"} <= set(
        re.findall(r"^\| `([a-z.EW\d]+)`", page, re.MULTILINE)
    )


def test_checks_are_listed_and_exist() -> None:
    sources = [path for app in ("handlers", "dashboard", "jobsite") for path in (ROOT / app).rglob("*.py")]
    raised = {name for path in sources for name in CHECK.findall(path.read_text())}
    listed = set(re.findall(r"`((?:jobs|dashboard|jobsite)\.[EW]\d+)`", INSTALL.read_text()))
    assert raised
    assert raised == listed


def test_runbook_has_the_banners_words() -> None:
    runbook = " ".join((ROOT / "docs" / "runbook.md").read_text().split())
    for words in BANNERS:
        assert words in (ROOT / "dashboard" / "kit" / "health.py").read_text(), f"no banner says so any more: {words}"
        assert words in runbook


def test_each_page_of_the_console_has_a_page() -> None:
    index = (ROOT / "docs" / "console.md").read_text()
    for name in ("Overview", "Jobs", "One job", "Audit", "Users and groups", *(words for _, words, _ in PAGES)):
        found = re.search(rf"^\| \[{name}\]\(console/(\w+\.md)\)", index, re.MULTILINE)
        assert found, name
        heads = re.findall(r"^##? (.+)$", (ROOT / "docs" / "console" / found[1]).read_text(), re.MULTILINE)
        assert heads[:2] == [name, "What stands on it"], name
        assert "At 3 a.m." in heads, name
