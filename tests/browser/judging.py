"""Whether everybody can use a page: judged by axe once, and by looks of our own at each width, in both themes.

axe takes about a second a page, so it judges each page and state once, without colours. What depends on the width or
on the theme, ``wrongs.js`` looks for: contrast, focus, what one presses, headings, names, whether the page fits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import NewPage

SERIOUS = ("serious", "critical")
# What axe finds by these is never serious, and a third of its time.
LIGHTER = (
    "aria-allowed-role", "aria-deprecated-role", "empty-heading", "empty-table-header", "form-field-multiple-labels",
    "heading-order", "image-redundant-alt", "landmark-banner-is-top-level", "landmark-contentinfo-is-top-level",
    "landmark-main-is-top-level", "landmark-no-duplicate-banner", "landmark-no-duplicate-contentinfo",
    "landmark-no-duplicate-main", "landmark-one-main", "landmark-unique", "page-has-heading-one",
    "presentation-role-conflict", "region", "scope-attr-valid", "skip-link", "table-duplicate-name",
)  # fmt: skip
# Not the stylesheets once more: axe would put them into the page inline, which its policy forbids.
OPTIONS = {
    "resultTypes": ["violations"],
    "preload": False,
    "selectors": False,
    "rules": {
        **{rule: {"enabled": False} for rule in ("color-contrast", *LIGHTER)},
        "target-size": {"enabled": True},
    },
}
WRONGS = Path(__file__).with_name("wrongs.js").read_text()

# (width, in the dark, what is looked for): each width for what moves with it, each theme for colours, and focus at a
# desk in the light and on a phone in the dark. 320 is a desk at 400 %, or at 200 % beside another window. Each change
# of width or theme costs as much as a look, so they come in an order that has few, and ends near where it began.
LOOKS = (
    (1440, False, ("page", "text", "targets", "focus", "fits")),
    (820, False, ("targets", "fits")),
    (320, False, ("fits",)),
    (390, False, ("page", "text", "targets", "fits")),
    (390, True, ("text", "focus")),
    (1440, True, ("text",)),
)
WIDE: ViewportSize = {"width": LOOKS[0][0], "height": 844}


def judged_page(new_page: NewPage) -> Page:
    """A page for ``judge``, on which one may be refused: wide, light, and nothing fades from one theme to the other.

    It has axe from the first address on: to send half a megabyte to each page takes as long as to judge it.
    """
    page = new_page(refusals=True, viewport=WIDE, color_scheme="light", reduced_motion="reduce")
    page.add_init_script(f"window.axeNow = () => {{ {AXE_SCRIPT}; return window.axe; }}")
    return page


def judge(page: Page, name: str, *, with_axe: bool = True) -> list[str]:
    """What is wrong with the ``judged_page`` as it is now, called ``name``; it is left wide and light."""
    found = complaints(page) if with_axe else []
    wide, dark = WIDE["width"], False
    for width, is_dark, looks in LOOKS:
        if width != wide:
            page.set_viewport_size({**WIDE, "width": width})
        if is_dark is not dark:
            page.emulate_media(color_scheme="dark" if is_dark else "light")
        wide, dark = width, is_dark
        shade = "dark" if is_dark else "light"
        found += [f"{width} px, {shade}: {wrong}" for wrong in page.evaluate(WRONGS, list(looks))]
    page.emulate_media(color_scheme="light")
    return [f"{name}, {each}" for each in found]


def complaints(page: Page) -> list[str]:
    """What axe finds that is serious or worse: the rule, and where."""
    run = "async (options) => (await axeNow().run(options)).violations"
    violations: list[dict[str, Any]] = page.evaluate(run, OPTIONS)
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for violation in violations
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    ]
