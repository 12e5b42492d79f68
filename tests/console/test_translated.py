"""Every page in another language: no sentence of ours is left in English, and no number for machines is localised.

As all pages are read here, their Content-Security-Policy is, too: each of them costs a tenth of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils.translation import trans_real

from dashboard.kit.rendering import engine
from handlers.registry import registry
from tests.browser.pages import every_page, furnish, refused_pages
from tests.console.policy import breaches

OPEN, CLOSE = "⟦", "⟧"
SHOWN = ("title", "aria-label", "placeholder", "alt", "data-say")
AS_IT_IS = {"script", "style", "code", "pre", "kbd", "textarea", "time", "svg", "noscript"}
BLOCKS = {"p", "li", "td", "th", "dt", "dd", "div", "h1", "h2", "h3", "section", "summary", "option", "label", "button"}
VOID = {"input", "br", "link", "meta", "img", "hr", "path", "rect", "circle", "line"}
WORD = re.compile(r"[A-Za-z]{3,}")


class Pseudo(trans_real.DjangoTranslation):
    """A language in which each message is itself between brackets."""

    def gettext(self, message: str) -> str:
        """Also of a message with a context."""
        return f"{OPEN}{message.rpartition(chr(4))[2]}{CLOSE}"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """Also of a message with a context."""
        return self.gettext(msgid1 if n == 1 else msgid2)


class Reader(HTMLParser):
    """Collects what stands outside of all brackets."""

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.inside, self.found = 0, [""], list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.depth = 0
        if tag not in VOID:
            self.inside.append(tag)
        for name, value in attrs:
            if name in SHOWN and value:
                self._look(value, 0)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not AS_IT_IS.intersection(self.inside):
            self.depth = self._look(data, self.depth)

    def _look(self, text: str, depth: int) -> int:
        outside = ""
        for letter in text:
            depth += (letter == OPEN) - (letter == CLOSE)
            if depth <= 0 and letter != CLOSE:
                outside += letter
        if WORD.search(outside):
            self.found.append(" ".join(outside.split()))
        return max(depth, 0)


# What the site of the tests is made of: names and texts that no catalog knows.
NAMES = re.compile(
    r"(?:app|jobs|shop|handlers|tests|httpx)(?:\.\w+)+|[\w/]+\.py:\d+(?: in \w+)?|workflow-\d|saga-\w+|host-\d[\w.]*"
    r"|order-7|api:\w+|Order 7: [\w-]+|\w+@shop\.example|[a-z_.]+=\S+|\b[A-Z][a-z]{2} \d{4}-\d\d-\d\d"
    r"|\b(?:UTC|CET|PID|CSV|JSON|min)\b"
)
TEXTS = {
    "ConnectError: connection refused",
    "ValueError: no such card",
    "connection refused",
    "gateway is down",
    "gateway is back",
    "order 7",
    "customer:42",
    "nightly",
    "new",
    "asked for by sales",
    "says the wrong thing",
    "the gateway is down for hours",
    "mail waits for very long",
    "Europe/Berlin",
    "English",
    "Deutsch",
    "Français",
    "True",
    "JSON lines",
    "payment-gateway",
    "mail-slow",
    "nightly report",
    "card.number, pins, token",
    "read, enqueue",
    "task-orders",
    "gone-queue",
    "Search",
    "a second till",
    "mail: 2,140 waiting, the oldest for 12 min",
    "Viewer",
    "Operator",
    "Administrator",
    "attempt failed",
    "claimed",
    "waits for approval",
    "created",
    "not needed",
}
WORDS = set(
    "admin billing bulk calls card default delete enqueue fail failures false flaky inner late linear mail move"  # noqa: SIM905
    " note olga order_id paid paused payments pins read recurring requeue reserve restore retry schedule sensitive"
    " signal step system tallies tenants text tills token true type workflows".split()
)
# Django's own pages and the names of permissions, which are kept as they were made.
NOT_OURS = ("/admin/auth/group/", "/admin/auth/user/", "/admin/auth/")


@pytest.fixture
def pseudo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """German is the language of brackets; what was drawn in another German is drawn anew."""
    monkeypatch.setitem(vars(trans_real)["_translations"], "de", Pseudo("de"))
    engine.cache_clear()
    yield
    engine.cache_clear()


def is_data(text: str) -> bool:
    """Whether it is what somebody named or wrote, and no words of the console."""
    if text in TEXTS or any(text in job_type.doc for job_type in registry.all()):
        return True
    rest = NAMES.sub("", text)
    for known in sorted(TEXTS, key=len, reverse=True):
        rest = rest.replace(known, "")
    return not any(word not in WORDS for word in re.findall(r"[A-Za-z_]{3,}", rest))


class Machines(HTMLParser):
    """Collects the numbers that programs read, in addresses, forms and data attributes."""

    READ = {"href", "action", "formaction", "value", "max", "min", "step", "id", "name"}
    WORDED = {"data-title", "data-say", "data-label", "data-at", "data-actions-icnt"}  # and moments, which go on
    OTHERS = {"csrfmiddlewaretoken", "form_key"}  # on each page

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if dict(attrs).get("name") in self.OTHERS:
            return
        for name, value in attrs:
            if (name in self.READ or name.startswith("data-")) and name not in self.WORDED:
                self.found.append((tag, name, re.findall(r"\d[\d.,]*", value or "")))


@pytest.mark.once
@pytest.mark.redis  # without it each page has its trouble, in the words of the driver
def test_every_page_is_translated_as_it_should_be_and_has_a_strict_policy(superuser: Client, pseudo: None) -> None:
    furnish()

    def read(page: str, language: str) -> tuple[str, str]:
        """Its policy, and what is in it."""
        response = superuser.get(page, headers={"accept-language": language})
        content = b"".join(response) if response.streaming else response.content
        return response.headers["Content-Security-Policy"], content.decode()

    left: dict[str, str] = {}
    differ: dict[str, Any] = {}
    breached: list[str] = []
    shown, refused = every_page(), refused_pages()
    for page in [*shown, *refused, "/admin/login/", "/admin/not-a-page/"]:
        policy, html = read(page, "de")
        breached += [f"{page}: {breach}" for breach in breaches(policy, html)]
        if page in [*shown, *refused] and not page.startswith(NOT_OURS):
            left |= {text: page for text in sentences(html) if not is_data(text)}
        if page in shown:
            german, english = numbers(html), numbers(read(page, "en")[1])
            if german != english:  # between the two a clock may have gone on
                german = numbers(read(page, "de")[1])
            if german != english:
                differ[page] = [pair for pair in zip(english, german, strict=False) if pair[0] != pair[1]][:3]
    assert left == {}, "\n".join(map(str, sorted(left.items())))
    assert differ == {}
    assert not breached, "\n".join(breached)


def sentences(html: str) -> list[str]:
    """What stands outside of all brackets."""
    reader = Reader()
    reader.feed(html)
    return reader.found


def numbers(html: str) -> list[tuple[str, str, list[str]]]:
    """What programs read."""
    machines = Machines()
    machines.feed(html)
    return machines.found


def test_no_stylesheet_says_a_word() -> None:
    sheets = Path(finders.find("dashboard/console.css") or "").parent.glob("*.css")
    said = [(sheet.name, words) for sheet in sheets for words in re.findall(r'content: *"([^"]*)"', sheet.read_text())]
    assert said
    assert not [each for each in said if WORD.search(each[1])]
