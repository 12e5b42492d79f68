"""What the older release knows."""

from __future__ import annotations

from dataclasses import dataclass

from handlers import Event, Job, handles, on_event
from tests.app.jobs import NO_RETRY, note


@dataclass(frozen=True)
class Parcel(Job):
    """Pack a parcel."""

    number: int


@handles(Parcel, name="shop.Parcel", retry=NO_RETRY)
def pack(job: Parcel) -> None:
    """Note it."""
    note(f"older packs {job.number}")


@dataclass(frozen=True)
class Packed(Event, name="shop.Packed"):
    """A parcel is packed."""

    number: int


@on_event(Packed, name="shop.count", retry=NO_RETRY)
def count(event: Packed) -> None:
    """Note it."""
    note(f"older counts {event.number}")


@on_event(Packed, name="shop.label", retry=NO_RETRY)
def label(event: Packed) -> None:
    """Note it, as no later release does."""
    note(f"older labels {event.number}")
