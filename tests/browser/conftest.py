"""A real Chromium. Any error that it logs, a violated Content-Security-Policy among them, fails the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests import chromium
from tests.faults.conftest import notes, private_valkey, start, start_scheduler, start_worker

__all__ = ["notes", "private_valkey", "start", "start_scheduler", "start_worker"]  # fixtures: real processes

NewPage = Callable[..., Page]
WAIT_MS = 60_000  # for what must happen, on a busy machine too
expect.set_options(timeout=WAIT_MS)
REFUSED = "Failed to load resource: the server responded with a status of 4"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window. Without one the tests are skipped, but in CI they fail.

    One per module, not per session: while it runs, this thread has an event loop, which handlers under test in other
    modules must not meet.
    """
    path = chromium.find()
    if path is None:
        message = "the browser tests need Chromium: install it (Debian: apt install chromium), or set CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # That event loop makes Django refuse the test's own queries, which are as blocking as ever.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        # Chromium refuses its sandbox to root, which is who runs tests in a container.
        arguments = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        with playwright.chromium.launch(executable_path=path, args=arguments) as launched:
            yield launched


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Opens a page in a fresh context; takes Playwright's context options, such as ``viewport``.

    ``refusals``: the test means to be refused, so answers of the kind 4xx are no problem.
    """
    problems: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            problems.append(f"{message.text} ({message.location.get('url', '')})")

    def note_but_refusals(message: ConsoleMessage) -> None:
        if not message.text.startswith(REFUSED):
            note(message)

    def make(*, refusals: bool = False, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.on("console", note_but_refusals if refusals else note)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not problems, "the browser logged: " + "; ".join(problems)


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page of desktop size."""
    return new_page(viewport={"width": 1280, "height": 900})


def sign_in(page: Page, base_url: str, username: str, *, heading: str = "Overview") -> None:
    """The console's Overview, for somebody of the test's own database who has logged in."""
    client = Client()
    client.force_login(User.objects.get(username=username))
    name = settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": base_url, "httpOnly": True}])
    page.goto(f"{base_url}/admin/")
    _arrive(page, heading)


def fill_in_login(page: Page, base_url: str, username: str, password: str) -> None:
    """Log in to the console by its form."""
    page.goto(f"{base_url}/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    _arrive(page)


def _arrive(page: Page, heading: str = "Overview") -> None:
    page.get_by_role("heading", name=heading).wait_for()
    page.wait_for_load_state()  # until then the scripts may not listen to keys
