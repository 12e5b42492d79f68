"""Every page, judged by axe: nothing serious, in light and in dark; and it fits the screen. And by keyboard alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from handlers.states import State
from tests.browser.conftest import NewPage, sign_in
from tests.browser.pages import every_page, furnish, refused_pages
from tests.console.factories import make_job

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

SERIOUS = ("serious", "critical")
# Not the stylesheets once more: axe would put them into the page inline, which its policy forbids.
OPTIONS = {"resultTypes": ["violations"], "preload": False}
# Text too pale by WCAG 2 against the first opaque background behind it. In the dark nothing but colours is other than
# in the light, and to ask axe about them all once more would take as long as all its other rules.
PALE = """() => {
  const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.body.querySelectorAll(":not(svg *, option, :disabled)")]
    .filter((element) => hasText(element) && element.checkVisibility({visibilityProperty: true}))
    .map((element) => {
      const style = getComputedStyle(element);
      const size = parseFloat(style.fontSize) * (style.fontWeight >= 700 ? 24 / 18.66 : 1);
      const pair = [light(rgb(style.color)), light(behind(element))].sort((a, b) => b - a);
      return [element, (pair[0] + 0.05) / (pair[1] + 0.05), size >= 24 ? 3 : 4.5];
    })
    .filter(([, contrast, least]) => contrast < least)
    .map(([element, contrast]) => `contrast ${contrast.toFixed(2)}: ${element.outerHTML.slice(0, 200)}`);
}"""


@pytest.fixture(autouse=True)
def _admin() -> None:
    User.objects.create_superuser("admin", password="secret")


def complaints(page: Page) -> list[str]:
    """What axe finds that is serious or worse: the rule, and where."""
    violations = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for violation in violations
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    ]


def test_every_page_can_be_read_by_everybody_and_fits_the_screen(new_page: NewPage, live_server: Any) -> None:
    furnish()
    page = new_page(refusals=True)
    sign_in(page, live_server.url, "admin")
    asked = [*((url, 200) for url in every_page()), *((url, 400) for url in refused_pages())]
    found = []
    for width, is_dark in ((1280, False), (390, True)):
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme="dark" if is_dark else "light")
        for url, status in asked:
            response = page.goto(live_server.url + url)
            assert response
            assert response.status == status, url
            problems = page.evaluate(PALE) if is_dark else complaints(page)
            # The stock user list is a wide table in a box of its own; nothing else may push the page sideways.
            if (wider := page.evaluate("document.documentElement.scrollWidth - window.innerWidth")) > 0:
                problems.append(f"{wider} px too wide")
            found += [f"{url}, {width} px: {problem}" for problem in problems]
    assert not found, "\n".join(found)


def test_axe_finds_nothing_serious_where_one_signs_in(page: Page, live_server: Any) -> None:
    page.goto(f"{live_server.url}/admin/")
    assert not complaints(page)


def test_failed_job_is_found_and_retried_by_keyboard_alone(page: Page, live_server: Any) -> None:
    job = make_job()
    sign_in(page, live_server.url, "admin")
    page.keyboard.press("/")
    expect(page.locator("#searchbar")).to_be_focused()
    page.keyboard.type(f"id:{job.pk}")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=id*")
    page.wait_for_load_state()
    page.keyboard.press("j")  # moves, and types nothing into the box
    expect(page.locator("#result_list tbody tr").first).to_have_class(re.compile("current"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/change/**")  # loaded, the scripts that bind the keys too
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    page.keyboard.press("r")
    expect(page.get_by_role("button", name="Retry", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("h1 .state-enqueued").wait_for()
    job.refresh_from_db()
    assert job.state == State.ENQUEUED
