"""Take the documentation's pictures. A demo of its own is started for it, and ended; it takes some minutes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests import chromium

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/screenshots"
SHOWN = "/srv/shop"  # in place of where this checkout is
PASSWORD, SEEDED = "pictures", 20_000
WIDTH, HEIGHT = 1280, 860
JOBS = "/admin/jobs/jobrecord/"
HIDE_ROOT = """([from, to]) => {
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walk.nextNode()) walk.currentNode.data = walk.currentNode.data.replaceAll(from, to)
}"""


class Camera:
    """A page of the demo, and where its pictures go."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def go(self, path: str) -> Page:
        """Show this page of the site."""
        self.page.goto(self.url + path)
        return self.page

    def press(self, what: Locator) -> None:
        """Press it, and wait for the page to which that leads."""
        with self.page.expect_navigation():
            what.click()

    def take(self, name: str, what: Locator | None = None, *, height: int = HEIGHT) -> None:
        """The page as it is now, or a part of it, with nothing of this machine in it."""
        self.page.evaluate(HIDE_ROOT, [str(ROOT), SHOWN])
        if what is None:
            self.page.set_viewport_size({"width": WIDTH, "height": height})
            self.page.screenshot(path=FOLDER / f"{name}.png")
            self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        else:
            what.screenshot(path=FOLDER / f"{name}.png")
        print(name, flush=True)

    def wait(self, what: str, shown: Callable[[], bool]) -> None:
        """Load the page again until it is so."""
        for _ in range(240):
            if shown():
                return
            time.sleep(0.5)
            self.page.reload()
        raise SystemExit(f"it took too long until {what}")


def main() -> None:
    """Start a demo, take all pictures, and end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="pictures-", dir="/tmp") as folder:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "JOBSITE_"))},
            "PORT": str(port), "JOBSITE_DATA": folder, "JOBSITE_DEMO": "1", "JOBSITE_ADMIN_PASSWORD": PASSWORD,
            "JOBSITE_APPS": "tests.pictures",
        }  # fmt: skip
        for name in ("DATABASE_URL", "REDIS_URL"):
            env.pop(name, None)
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v0"], cwd=ROOT, env=env, check=True)
        before = env | {"JOBSITE_APPS": ""}  # what is made up is of the shop's types
        subprocess.run([*manage, "seed_jobs", str(SEEDED)], cwd=ROOT, env=before, check=True)
        demo = subprocess.Popen([*manage, "run"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        try:
            answers(url)
            with sync_playwright() as playwright:
                arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
                browser = playwright.chromium.launch(executable_path=chromium.find(), args=arguments)
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                expect.set_options(timeout=60_000)
                sign_in(Camera(page, url))
                enqueue = [*manage, "jobs", "enqueue"]
                subprocess.run([*enqueue, "catalogue.Plan"], cwd=ROOT, env=env, check=True)
                of_long_work(Camera(page, url))
                of_the_shop(Camera(page, url))
                subprocess.run([*enqueue, "catalogue.CountMoves"], cwd=ROOT, env=env, check=True)
                of_hooks(Camera(page, url))
        finally:
            demo.terminate()
            demo.wait()


def answers(url: str) -> None:
    """Wait until the site does."""
    for _ in range(240):
        with suppress(OSError), urlopen(f"{url}/admin/login/"):
            return
        time.sleep(0.5)
    raise SystemExit("the demo did not start")


def sign_in(camera: Camera) -> None:
    """As the demo's administrator."""
    page = camera.go("/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Overview").wait_for()


def of_long_work(camera: Camera) -> None:
    """A workflow half-way, a run and its progress."""
    page = camera.go(f"{JOBS}?q=type:catalogue.ImportOrders")
    camera.wait("the import runs", lambda: page.locator("#result_list .state-processing").count() > 0)
    camera.press(page.locator("#result_list a", has_text="#").first)
    expect(page.locator("#job-progress tbody tr")).to_have_count(2)
    expect(page.locator("#job-progress progress")).to_have_attribute("value", re.compile(r"^(1[5-9]|[2-9]\d)"))
    camera.take("progress", page.locator("#job-progress"))
    camera.take("context", page.locator("section.module", has=page.get_by_role("heading", name="Context", exact=True)))
    page = camera.go("/admin/workflows/?q=Spring")
    camera.press(page.get_by_role("link", name="Spring catalogue"))
    camera.wait("an image fails", lambda: page.locator(".flow-graph .box-failed").count() > 0)
    camera.take("workflow")


def of_the_shop(camera: Camera) -> None:
    """Orders that go well, and those of a gateway that is down."""
    page = camera.go("/shop/")
    camera.press(page.get_by_role("button", name="Place 20 orders"))
    place(page, "Fountain pen", 30)
    page.goto(f"{camera.url}{JOBS}?state=waiting")
    camera.wait("an order waits", lambda: page.locator("#result_list .state-waiting").count() > 0)
    camera.press(page.locator("#result_list").get_by_role("link", name="Approve order").first)
    camera.take("approval", page.locator("#job-wait"))
    page = camera.go("/admin/sagas/?state=completed")
    camera.wait("orders are done", lambda: page.locator("table.sagas tbody tr").count() >= 20)
    page = camera.go("/shop/")
    camera.press(page.get_by_role("button", name="Down", exact=True))
    camera.press(page.get_by_role("button", name="Place 20 orders"))
    page = camera.go("/shop/")
    camera.wait("its saga has begun", lambda: page.locator("tr[id^=order-] th a").count() > 0)
    camera.press(page.locator("tr[id^=order-] th a").first)
    camera.wait("its charge has failed", lambda: page.locator("#saga-waits .state-failed").count() > 0)
    camera.take("saga", height=1_020)
    camera.press(page.locator("#saga-waits").get_by_role("link", name="shop.ChargeCard"))
    camera.take("job")
    camera.take("lineage", page.locator(".lineage"))
    time.sleep(5)  # until all have failed, and the navigation knows it
    camera.go("/admin/sagas/")
    camera.take("sagas")
    camera.go(f"{JOBS}?state=failed")
    camera.take("jobs")
    page = camera.go("/admin/failures/")
    camera.take("failures")
    camera.press(page.get_by_role("link", name="PaymentGatewayError").first)
    camera.take("failure")
    camera.go("/admin/")
    camera.take("overview")
    camera.go("/shop/")
    camera.take("shop", height=900)
    page = camera.go("/admin/retry-policies/new/")
    page.get_by_label("Name").fill("shipping")
    page.get_by_label("Attempts").fill("6")
    camera.press(page.get_by_role("button", name="Preview"))
    camera.take("policy", height=1_800)


def of_hooks(camera: Camera) -> None:
    """One that went wrong: the last, because each page says so from then on."""
    page = camera.go("/admin/workers/")
    hooks = page.locator("section.module", has_text="count_moves").last
    camera.wait("the hook is on record", lambda: hooks.count() > 0)
    camera.take("hook", hooks)


def place(page: Page, product: str, pieces: int) -> None:
    """An order in the shop."""
    number = page.locator("select[name=product] option", has_text=product).get_attribute("value")
    page.locator("select[name=product]").select_option(number)
    page.locator("input[name=quantity]").fill(str(pieces))
    page.locator("input[name=email]").fill("ada@example.com")
    page.get_by_role("button", name="Place order", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is placed.")


if __name__ == "__main__":
    main()
