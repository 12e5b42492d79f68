"""Jobs whose effects are rows, committed with their success."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import connection

from handlers import Job, handles, job_scheduler
from tests.app.jobs import QUICK, Note, note
from tests.app.many import wait_to_go


@dataclass(frozen=True)
class Book(Job):
    """Write a row, and have a note written."""

    number: int


@handles(Book, atomic=True, retry=QUICK)
def book(job: Book) -> None:
    """Both, or neither. One of them waits until the test says go."""
    if connection.run_on_commit:
        note("shares the commit of one before it")
    Group.objects.create(name=f"booked {job.number}")
    job_scheduler.enqueue(Note(f"booked {job.number}"))
    note(f"ran {job.number}")
    if job.number == 1:
        note("waits")
        wait_to_go()


@dataclass(frozen=True)
class Row(Job):
    """Write a row."""

    number: int


@dataclass(frozen=True)
class LoneRow(Job):
    """The same, with a commit of its own."""

    number: int


@dataclass(frozen=True)
class PlainRow(Job):
    """The same, in a transaction of its own."""

    number: int


@handles(PlainRow)
@handles(LoneRow, atomic="alone")
@handles(Row, atomic=True)
def write_row(job: Row) -> None:
    """Write it."""
    Group.objects.create(name=f"row {job.number}")
