"""Whether everybody can use a page: judged by axe once, and by looks of our own at each width, in both themes.

axe takes about a second a page, so it judges each page and state once, without colours. What depends on the width or
on the theme, ``wrongs.js`` looks for: contrast, focus, what one presses, headings, names, whether the page fits.
"""

from __future__ import annotations

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

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
# desk in the light and on a phone in the dark. 320 is a desk at 400 %, or at 200 % beside another window.
LOOKS = (
    (1440, False, ("page", "text", "targets", "focus", "fits")),
    (820, False, ("targets", "fits")),
    (390, False, ("page", "text", "targets", "fits")),
    (320, False, ("fits",)),
    (390, True, ("text", "focus")),
    (1440, True, ("text",)),
)


def judge(page: Page, name: str, *, with_axe: bool = True) -> list[str]:
    """What is wrong with the page as it is now, called ``name``; the page is left as wide as it came."""
    was, was_dark = page.viewport_size, not LOOKS[0][1]
    found = complaints(page) if with_axe else []
    for width, is_dark, looks in LOOKS:
        page.set_viewport_size({"width": width, "height": 844})
        if is_dark is not was_dark:
            # Nothing fades from one theme to the other while it is looked at.
            page.emulate_media(color_scheme="dark" if is_dark else "light", reduced_motion="reduce")
            was_dark = is_dark
        shade = "dark" if is_dark else "light"
        found += [f"{width} px, {shade}: {wrong}" for wrong in page.evaluate(WRONGS, list(looks))]
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    if was:
        page.set_viewport_size(was)
    return [f"{name}, {each}" for each in found]


def complaints(page: Page) -> list[str]:
    """What axe finds that is serious or worse: the rule, and where."""
    violations = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for violation in violations
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    ]
