"""What the older release knows."""

from __future__ import annotations

from dataclasses import dataclass

from handlers import Job, handles
from tests.app.jobs import NO_RETRY, note


@dataclass(frozen=True)
class Parcel(Job):
    """Pack a parcel."""

    number: int


@handles(Parcel, name="shop.Parcel", retry=NO_RETRY)
def pack(job: Parcel) -> None:
    """Note it."""
    note(f"older packs {job.number}")
