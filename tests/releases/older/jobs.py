"""What the older release knows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from handlers import Event, Job, Saga, handles, on, on_event, starts
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


@dataclass(frozen=True)
class Sent(Event, name="shop.Sent"):
    """A parcel is on its way."""

    number: int


@dataclass(frozen=True)
class Passed(Event, name="shop.Passed"):
    """It has passed a place."""

    number: int
    place: str


@dataclass(frozen=True)
class Way:
    """Where it has been."""

    places: tuple[str, ...] = ()


class Journey(Saga[Way], name="shop.Journey", retry=NO_RETRY):
    """A parcel's way."""

    @starts(Sent, key="number")
    def sent(self, event: Sent) -> None:
        """Begin."""

    @on(Passed, key="number")
    def passed(self, event: Passed) -> None:
        """Note it."""
        self.state = replace(self.state, places=(*self.state.places, event.place))
