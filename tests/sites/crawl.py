"""Every page that can be reached by links, and what is wrong with the addresses and numbers in them."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urldefrag, urlencode, urljoin, urlsplit

ADDRESSES = {"href", "action", "formaction", "src"}
READ_BY_PEOPLE = {"title", "aria-label", "alt", "content", "placeholder", "d", "points"}  # or drawn
DRAWN = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "min", "max", "step"}
NUMBER = re.compile(r"-?\d+(\.\d+)?(%|px|r?em)?|any")
# 5.000 and 5,000 and 5 000, with whatever blank; and 0,2.
GROUPED = re.compile(r"(?<![\d.,])\d{1,3}([.,'\u00a0\u202f\u066c]\d{3})+(?![\d.,])")
COMMA = re.compile(r"-?\d+[,\u066b]\d+")
MOST = 4  # visits to one page with different filters, and 2 with the same ones


@dataclass(frozen=True)
class Page:
    """What an address answered."""

    address: str
    status: int
    location: str
    html: str

    @cached_property
    def elements(self) -> list[tuple[str, dict[str, str], str]]:
        """Each element's tag, attributes, and the text of a textarea."""
        reader = _Reader()
        reader.feed(self.html)
        return reader.found

    def links(self) -> Iterator[str]:
        """The addresses that its links lead to."""
        for tag, attributes, _ in self.elements:
            if tag == "a" and "href" in attributes:
                yield urljoin(self.address, attributes["href"])


def crawl(client: Any, prefix: str, start: Iterable[str]) -> list[Page]:
    """Those of ``start``, and the pages below ``prefix`` that links lead to from there, by GET; none to download."""
    pages, waiting, visits = [], deque(start), Counter[str]()
    seen = set(waiting)
    while waiting:
        address = waiting.popleft()
        response = client.get(address)
        is_html = response.headers.get("Content-Type", "").startswith("text/html")
        html = response.content.decode() if is_html else ""
        page = Page(address, response.status_code, response.headers.get("Location", ""), html)
        pages.append(page)
        following = [urljoin(address, page.location)] if page.location else page.links()
        for link in (urldefrag(one).url for one in following):
            path, asked = _kind(link)
            is_new = link not in seen and visits[path] < MOST and visits[asked] < 2 and asked.count("&") < 2
            if link.startswith(prefix) and is_new and "/export/" not in link:
                seen.add(link)
                visits.update((path, asked))
                waiting.append(link)
    return pages


def strays(page: Page, prefix: str) -> list[str]:
    """Addresses in the page that lead out of the console, and are no asset."""
    return [
        value
        for _, attributes, _ in page.elements
        for name, value in attributes.items()
        if name in ADDRESSES and value.startswith("/") and not value.startswith((prefix, "/static/"))
    ]


def localised(page: Page) -> list[str]:
    """Numbers for machines, in addresses, attributes and forms, that are written as people of one country do."""
    wrong = []
    for tag, attributes, text in page.elements:
        for name, value in attributes.items():
            shown = dict(parse_qsl(urlsplit(value).query)).values() if name in ADDRESSES else [value]
            is_number = name in DRAWN or (name == "value" and attributes.get("type") == "number")
            is_wrong = is_number and value and not NUMBER.fullmatch(value)
            if is_wrong or (name not in READ_BY_PEOPLE and any(map(_is_localised, [value, *shown]))):
                wrong.append(f"<{tag} {name}={value!r}>")
        if _is_localised(text):
            wrong.append(f"<{tag}>{text}")
    return wrong


def _is_localised(text: str) -> bool:
    return GROUPED.search(text) is not None or COMMA.fullmatch(text) is not None


def _kind(address: str) -> tuple[str, str]:
    """The page that the address is of, whatever the numbers in it; and with the names of what it asks."""
    parts = urlsplit(address)
    path = re.sub(r"\d+", "N", parts.path)
    return path, f"{path}?{urlencode(sorted((name, '') for name, _ in parse_qsl(parts.query)))}"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str], str]] = []
        self._in_textarea = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}, ""))
        self._in_textarea = tag == "textarea"

    def handle_endtag(self, tag: str) -> None:
        self._in_textarea = False

    def handle_data(self, data: str) -> None:
        if self._in_textarea and self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)
