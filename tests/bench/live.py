"""What open, live Overviews cost: the share of a core that the web server's and the database's processes use."""

from __future__ import annotations

import http.client
import threading
import time

import psutil

from tests.bench.api import serving
from tests.bench.crowded import cookie
from tests.bench.pages import beat
from tests.bench.places import Figures
from tests.bench.workforce import cpu, servers

EVERY = 5.0  # seconds, as live.js has it
PARTS = "since,trouble,tiles,bulk-going,throughput,groups,last-failures,workers,banners"


def overviews(*, size: int, seconds: float = 30.0) -> Figures:
    """Of none, one and ten of them, each of another person, who load the page before; the first is taken off."""
    cookies = [cookie(f"looker{number}", "Operator") for number in range(10)]
    shares: dict[int, float] = {}
    with serving("jobsite.wsgi:application") as port:
        for number in (0, 1, 10):
            beat(size, ahead=18)  # not again while it is measured: it would be counted
            for person in cookies:
                _ask(port, person)
            end = time.monotonic() + seconds
            open_pages = [
                threading.Thread(target=_live, args=(port, person, place * EVERY / max(number, 1), end))
                for place, person in enumerate(cookies[:number])
            ]
            before = _used()
            for page in open_pages:
                page.start()
            time.sleep(max(end - time.monotonic(), 0))
            for page in open_pages:
                page.join()
            shares[number] = (_used() - before) / seconds * 100
    return {
        "a live Overview, % of a core": shares[1] - shares[0],
        "ten of them, % of a core": shares[10] - shares[0],
    }


def _used() -> float:
    """CPU seconds of the web server and of the database."""
    return cpu(psutil.Process().children(recursive=True)) + cpu(servers())


def _live(port: int, person: str, after: float, end: float) -> None:
    time.sleep(after)
    while time.monotonic() < end:
        _ask(port, person, {"X-Live": PARTS})
        time.sleep(EVERY)


def _ask(port: int, person: str, headers: dict[str, str] | None = None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/admin/", headers={"Cookie": person, **(headers or {})})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    connection.close()
