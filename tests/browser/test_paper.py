"""Pages on paper, and on a tablet in the dark: nothing is cut, and nothing dark or to be pressed is printed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import ViewportSize, expect

from handlers.models import BulkOperation, JobRecord, Workflow
from tests.browser.conftest import NewPage, sign_in
from tests.browser.pages import JOBS, furnish

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

A4: ViewportSize = {"width": 690, "height": 1000}  # without its margins
TABLET: ViewportSize = {"width": 820, "height": 1180}

CUT = """() => [...document.querySelectorAll("#content table, #content pre, #content svg")].filter((element) => {
    const box = element.getBoundingClientRect();
    const around = element.closest(".module, #content").getBoundingClientRect();
    return box.width && (box.right > around.right + 1 || box.right > innerWidth + 1);
}).map((element) => `cut: ${element.outerHTML.slice(0, 120)}`)"""

PRINTED = """() => {
    const light = (colour) => {
        const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
        return alpha < 0.5 ? undefined : (red + green + blue) / 765;
    };
    return [...document.querySelectorAll("body, body *")].filter((element) => element.checkVisibility()
        && element.getBoundingClientRect().width > 1).flatMap((element) => {
        const style = getComputedStyle(element);
        const found = [];
        const presses = "button, input, select, textarea, .button, #header, .console-nav, .skip-to-content-link";
        if (element.matches(presses)) found.push("to press");
        if (element.closest("svg, .swatch, .dot, progress, meter")) return found;
        const text = element.innerText?.trim();
        if (text && light(style.backgroundColor) < 0.9) found.push("on dark");
        if (text && light(style.color) > 0.45) found.push("pale");
        return found.map((what) => `${what}: ${element.outerHTML.slice(0, 120)}`);
    });
}"""


def test_nothing_is_cut_on_a_tablet_and_on_paper_is_what_one_reads_in_black_on_white(
    new_page: NewPage, live_server: Any
) -> None:
    User.objects.create_superuser("admin", password="secret")
    furnish()
    failed = JobRecord.objects.filter(state="failed", fingerprint="00000000000000aa").latest("pk")
    page = new_page(viewport=TABLET, color_scheme="dark", reduced_motion="reduce")
    sign_in(page, live_server.url, "admin")
    paths = [
        "/admin/", JOBS, f"{JOBS}{failed.pk}/change/", "/admin/failures/", "/admin/failures/00000000000000aa/",
        "/admin/workflows/", f"/admin/workflows/{Workflow.objects.order_by('pk')[0].pk}/", "/admin/sagas/",
        "/admin/queues/", "/admin/workers/", "/admin/job-types/", "/admin/recurring/", "/admin/alerts/",
        "/admin/bulk/", f"/admin/bulk/{BulkOperation.objects.get().pk}/", "/admin/bulk/new/?verb=retry&state=failed",
        "/admin/jobs/auditentry/",
    ]  # fmt: skip
    wrong = []
    for path in paths:
        page.emulate_media(media="screen")
        page.set_viewport_size(TABLET)
        page.goto(live_server.url + path)
        wrong += [f"{path}, 820: {each}" for each in page.evaluate(CUT)]
        page.emulate_media(media="print")
        page.set_viewport_size(A4)
        wrong += [f"{path}, printed: {each}" for each in [*page.evaluate(CUT), *page.evaluate(PRINTED)]]
        expect(page.locator("h1")).to_be_visible()
        if "/workflows/" in path or path == JOBS:  # whose rows stand in a form
            expect(page.locator("#content-main tbody tr").first).to_be_visible()
    assert not wrong, "\n".join(wrong)
