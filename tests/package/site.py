"""A fresh site that has the package put in as docs/install.md says, word for word, and a person who visits it."""

from __future__ import annotations

import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode, urljoin

from tests.package.conftest import call
from tests.processes import ROOT, wait_for

SECONDS = 90.0  # for anything to happen on a busy machine
PLACE = re.compile(
    r"^(?:At the end of|In a new file,) `(?P<file>[\w/.]+)`:\n\n```python\n(?P<text>.*?)```$", re.MULTILINE | re.DOTALL
)


def steps() -> dict[str, str]:
    """What the guide has people write: file -> lines."""
    guide = (ROOT / "docs" / "install.md").read_text()
    return {step["file"]: step["text"] for step in PLACE.finditer(guide)}


class Site:
    """``startproject``, and what the guide has people write after it."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.python = str(programs / "python")
        # Nothing of the checkout, nor of the environment that runs the tests.
        self.env = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
        }
        call(str(programs / "django-admin"), "startproject", "shop", ".", cwd=folder, env=self.env)
        for name, text in steps().items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Add ``text`` at the end of a file of the site."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(f"\n{text}")

    def manage(self, *arguments: str) -> str:
        """What ``manage.py`` says to ``arguments``. AssertionError, with all it said, when it fails."""
        return call(self.python, "manage.py", *arguments, cwd=self.folder, env=self.env)

    @contextmanager
    def run(self, port: int) -> Iterator[list[str]]:
        """``manage.py run``; the lines that it prints. It has told of its login, and is stopped at the end."""
        lines: list[str] = []
        process = subprocess.Popen(
            [self.python, "manage.py", "run", str(port)],
            cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        reader = threading.Thread(target=lambda output: lines.extend(map(str.rstrip, output)), args=[process.stdout])
        reader.start()
        try:
            ready = "Ctrl-C stops everything."
            wait_for("the run starts", lambda: process.poll() is not None or ready in lines)
            assert process.poll() is None, "\n".join(lines)
            yield lines
            process.terminate()
            assert process.wait(SECONDS) == 0, "\n".join(lines)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            reader.join(SECONDS)
            process.stdout.close()


class Form(HTMLParser):
    """The fields of a page's forms that come filled in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a browser would send."""
        field = {name: value or "" for name, value in attrs}
        if tag == "input" and field.get("name"):
            self.fields[field["name"]] = field.get("value", "")
        elif tag == "select":
            self._select = field["name"]
        elif tag == "option" and (self._select not in self.fields or "selected" in field):
            self.fields[self._select] = field.get("value", "")


class Visitor:
    """A browser without a window."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> str:
        """The page at ``path``, relative to the console's address."""
        with self._opener.open(urljoin(self.address, path), timeout=SECONDS) as answer:
            return str(answer.read().decode())

    def is_answered(self) -> bool:
        """Whether the server is there."""
        try:
            return bool(self.get(""))
        except OSError:
            return False

    def fill_in(self, path: str, **fields: str) -> str:
        """Send the form at ``path`` with these fields; the page that this leads to."""
        url = urljoin(self.address, path)
        data = urlencode(Form(self.get(path)).fields | fields).encode()
        with self._opener.open(urllib.request.Request(url, data, {"Referer": url}), timeout=SECONDS) as answer:
            return str(answer.read().decode())
