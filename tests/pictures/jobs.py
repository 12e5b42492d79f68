"""What the pictures show besides the shop: a catalogue, built by a workflow, and a long import."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.dispatch import receiver

from handlers import GiveUp, Job, Run, context, handles, job_scheduler
from handlers.signals import jobs_moved

ROWS, IMAGES = 412, 400
WRONG = 7  # the image that cannot be read


@dataclass(frozen=True)
class PlanCatalogue(Job):
    """Open the workflow, and begin the import."""


@dataclass(frozen=True)
class CountMoves(Job):
    """Have the hook go wrong."""


@dataclass(frozen=True)
class ImportPrices(Job):
    """Quick."""


@dataclass(frozen=True)
class ImportTexts(Job):
    """Quick."""


@dataclass(frozen=True)
class ResizeImage(Job):
    """One of many."""

    number: int


@dataclass(frozen=True)
class BuildIndex(Job):
    """Is on its queue."""


@dataclass(frozen=True)
class BuildPages(Job):
    """Waits for others."""


@dataclass(frozen=True)
class Publish(Job):
    """Waits for others."""


@dataclass(frozen=True)
class AskPhotographer(Job):
    """Runs if an image fails."""


@dataclass(frozen=True)
class ImportOrders(Job):
    """Steps, rows and progress."""

    url: str


@handles(PlanCatalogue, name="catalogue.Plan")
def plan(job: PlanCatalogue) -> None:
    """All that the pictures need."""
    with context(tenant="acme", user="ada"):
        job_scheduler.enqueue(ImportOrders("https://shop.example/orders.csv"))
    with job_scheduler.workflow("Spring catalogue") as flow:
        prices, texts = flow.enqueue(ImportPrices()), flow.enqueue(ImportTexts())
        images = flow.enqueue_many([ResizeImage(number) for number in range(IMAGES)], after=[prices, texts])
        index = flow.enqueue(BuildIndex(), after=[prices, texts])
        pages = flow.enqueue(BuildPages(), after=[prices, *images])
        flow.enqueue(Publish(), after=[pages, index])
        flow.enqueue(AskPhotographer(), after=images, when="failure", require="any")


@handles(ImportPrices, name="catalogue.ImportPrices")
@handles(ImportTexts, name="catalogue.ImportTexts")
@handles(BuildIndex, name="catalogue.BuildIndex")
@handles(BuildPages, name="catalogue.BuildPages")
@handles(Publish, name="catalogue.Publish")
@handles(AskPhotographer, name="catalogue.AskPhotographer")
@handles(CountMoves, name="catalogue.CountMoves")
def nothing(job: Any) -> None:
    """It is the shape of the workflow that is shown."""


@handles(ResizeImage, name="catalogue.ResizeImage")
def resize(job: ResizeImage) -> None:
    """Takes its time."""
    time.sleep(0.1)
    if job.number == WRONG:
        raise GiveUp("image 7 cannot be read: it has no pixels")


@handles(ImportOrders, name="catalogue.ImportOrders", timeout=timedelta(hours=2))
def import_orders(job: ImportOrders, run: Run) -> None:
    """Download, and go over its rows."""
    run.step("download", time.sleep, 0.4)
    run.step("check", time.sleep, 0.1)
    for number in range(1, ROWS + 1):
        time.sleep(0.1)
        run.progress(number, ROWS, f"order {4_000 + number}")


@receiver(jobs_moved)
def count_moves(sender: Any, moves: Any, **kwargs: Any) -> None:
    """A hook that goes wrong once."""
    if any(move.job_type == "catalogue.CountMoves" and move.to_state == "succeeded" for move in moves):
        raise ConnectionRefusedError("statsd.shop.example:8125")


count_moves.__module__ = "shop.metrics"  # as the picture is to say
