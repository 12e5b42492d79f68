"""What the newer release knows: a field more, and a type more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from handlers import Event, Job, Saga, handles, on, on_event, starts
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
    """How often it has been where, which is not how the older release has kept it."""

    places: dict[str, int] = field(default_factory=dict)


class Journey(Saga[Way], name="shop.Journey", retry=NO_RETRY):
    """A parcel's way."""

    @starts(Sent, key="number")
    def sent(self, event: Sent) -> None:
        """Begin."""

    @on(Passed, key="number")
    def passed(self, event: Passed) -> None:
        """Count it."""
        places = self.state.places
        self.state = replace(self.state, places={**places, event.place: places.get(event.place, 0) + 1})
