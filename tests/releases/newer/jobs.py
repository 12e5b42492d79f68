"""What the newer release knows: a field more, and a type more."""

from __future__ import annotations

from dataclasses import dataclass

from handlers import Event, Job, handles, on_event
from tests.app.jobs import NO_RETRY, note


@dataclass(frozen=True)
class Parcel(Job):
    """Pack a parcel, for a country."""

    number: int
    country: str


@handles(Parcel, name="shop.Parcel", retry=NO_RETRY)
def pack(job: Parcel) -> None:
    """Note it."""
    note(f"newer packs {job.number} for {job.country}")


@dataclass(frozen=True)
class Track(Job):
    """Track a parcel."""

    number: int


@handles(Track, name="shop.Track", retry=NO_RETRY)
def track(job: Track) -> None:
    """Note it."""
    note(f"newer tracks {job.number}")


@dataclass(frozen=True)
class Packed(Event, name="shop.Packed"):
    """A parcel is packed."""

    number: int


@on_event(Packed, name="shop.count", retry=NO_RETRY)
def count(event: Packed) -> None:
    """Note it."""
    note(f"newer counts {event.number}")
