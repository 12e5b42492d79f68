"""Payloads: what is stored for a job, what is refused at the call, and that messages never show a value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Command,
    DeleteJobCommand,
    EnqueueJobCommand,
    ExecuteCommandJob,
    InvalidJob,
    Job,
    ScheduleJobCommand,
    Unique,
    handles,
    handles_command,
)
from handlers.registry import JobType, registry

NIL = UUID(int=0)
SINCE = datetime.fromisoformat("1900-01-01")  # before, the zones' offsets had seconds, which ISO 8601 has not


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Line:
    sku: str
    count: int


@dataclass(frozen=True)
class GiftLine(Line):
    card: str = ""


@dataclass(frozen=True, eq=False)
class Incomparable:
    x: int


@dataclass(frozen=True)
class Everything(Job):
    whole: int
    text: str = ""
    share: float = 0.5
    flag: bool = False
    price: Decimal = Decimal("0.10")
    at: datetime = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    day: date = date(2026, 1, 2)
    wait: timedelta = timedelta(days=400, microseconds=1)
    key: UUID = NIL
    colour: Colour = Colour.BLUE
    line: Line | None = None
    lines: list[Line] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    pair: tuple[int, str] = (1, "a")
    tags: frozenset[str] = frozenset()
    either: int | str = 1
    mode: Literal["fast", "slow"] = "fast"
    free: Any = None
    odd: Incomparable | None = None


@dataclass(frozen=True, slots=True)
class Slotted(Job):
    x: int


@dataclass(frozen=True)
class Checked(Job):
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ValueError("amount must not be negative")
        if self.amount > 100:
            raise RuntimeError("secret detail")


@dataclass(frozen=True)
class CancelOrder(Command):
    order_id: int


EVERYTHING = JobType("shop.Everything", Everything, print)
SLOTTED = JobType("shop.Slotted", Slotted, print)
CHECKED = JobType("shop.Checked", Checked, print)


def stored(job: Everything) -> dict[str, Any]:
    data = json.loads(EVERYTHING.encode(job))
    assert isinstance(data, dict)
    return data


def make(**changes: Any) -> Everything:
    return dataclasses.replace(Everything(whole=1), **changes)


@pytest.fixture
def declared() -> Iterator[None]:
    with registry.isolated():
        handles(Everything, name="shop.Everything")(print)
        handles_command(CancelOrder, name="shop.CancelOrder")(print)
        yield


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"line": Line("a", 1), "lines": [Line("b", 2), Line("c", 3)]},
        {"counts": {"x": 1}, "tags": frozenset({"a"}), "either": "five", "mode": "slow"},
        {"text": "ünï \\u0000 \U0001f600 \u2028", "price": Decimal("-1E+5"), "share": -1e300, "whole": 10**30},
        {"free": {"a": [1, 2.5, None, True, "x", {}]}},
        {"odd": Incomparable(3)},
    ],
)
def test_encode_is_json_that_decode_reads_back(changes: dict[str, Any]) -> None:
    job = make(**changes)
    again = EVERYTHING.decode(stored(job))
    assert type(again) is Everything
    assert dataclasses.asdict(again) == dataclasses.asdict(job) or "odd" in changes
    assert stored(again) == stored(job)


@given(
    st.builds(
        Everything,
        whole=st.integers(-(2**70), 2**70),
        text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        share=st.floats(allow_nan=False, allow_infinity=False),
        flag=st.booleans(),
        price=st.decimals(allow_nan=False, allow_infinity=False),
        at=st.datetimes(SINCE, timezones=st.sampled_from([UTC, ZoneInfo("Europe/Berlin")])),
        day=st.dates(),
        key=st.uuids(),
        colour=st.sampled_from(Colour),
        either=st.integers() | st.just("x"),
        mode=st.just("fast"),
        counts=st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.integers()
        ),
        line=st.none(),
        lines=st.just([]),
        wait=st.timedeltas(timedelta(days=-1000), timedelta(days=1000)),
        odd=st.none(),
        free=st.none(),
        tags=st.just(frozenset()),
        pair=st.tuples(st.integers(), st.just("b")),
    )
)
def test_encode_then_decode_keeps_every_value(job: Everything) -> None:
    again = EVERYTHING.decode(stored(job))
    assert isinstance(again, Everything)
    assert again.at.timestamp() == job.at.timestamp()
    assert dataclasses.replace(again, at=job.at) == job


def test_encode_accepts_the_hour_in_which_clocks_are_put_back() -> None:
    job = make(at=datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")))
    assert stored(job)["at"] == "2026-10-25T02:30:00+01:00"


def test_decode_fills_in_defaults_of_fields_that_an_older_version_did_not_store() -> None:
    assert EVERYTHING.decode({"whole": 3}) == Everything(whole=3)


def test_slotted_payloads_work() -> None:
    assert SLOTTED.decode(json.loads(SLOTTED.encode(Slotted(3)))) == Slotted(3)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"whole": "1"}, "whole"),
        ({"whole": True}, "whole"),
        ({"whole": 1.0}, "whole"),
        ({"whole": None}, "whole"),
        ({"flag": 1}, "flag"),
        ({"text": b"x"}, "text"),
        ({"at": "2026-01-02T03:04:05Z"}, "at"),
        ({"key": str(NIL)}, "key"),
        ({"price": 0.1}, "price"),
        ({"colour": "red"}, "colour"),
        ({"line": {"sku": "a", "count": 1}}, "line"),
        ({"line": Line("a", "1")}, "line.count"),  # type: ignore[arg-type]
        ({"lines": [Line("a", 1), Line("b", None)]}, "lines.1.count"),  # type: ignore[arg-type]
        ({"lines": (Line("a", 1),)}, "lines"),
        ({"counts": {"x": "y"}}, "counts.x"),
        ({"pair": (1, 2)}, "pair.1"),
        ({"either": 1.5}, "either"),
        ({"mode": "sideways"}, "mode"),
        ({"share": float("nan")}, "share"),
        ({"share": float("inf")}, "share"),
        ({"free": float("nan")}, "free"),
        ({"free": {"a": [float("-inf")]}}, "free.a.0"),
        ({"text": "a\0b"}, "text"),
        ({"free": {"a\0": 1}}, "free.a?"),
        ({"lines": [Line("\0", 1)]}, "lines.0.sku"),
        ({"text": "\ud800"}, "text"),
        ({"counts": {"\udfff": 1}}, "counts.?"),
        ({"free": (1, 2)}, "free"),  # would come back as a list
        ({"free": {1: 2}}, "free"),  # with a str for a key
        ({"free": Line("a", 1)}, "free"),  # as a dict
        ({"line": GiftLine("a", 1, card="hi")}, "line"),  # without its card
    ],
)
def test_encode_refuses_what_does_not_fit_and_names_the_field(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        EVERYTHING.encode(make(**changes))
    assert caught.value.field == path
    assert str(caught.value).startswith(f"shop.Everything: {path}: ")


def test_decode_makes_a_float_of_a_whole_number_that_the_database_made_of_one() -> None:
    found = EVERYTHING.decode({"whole": 1, "share": 10**16})  # PostgreSQL's jsonb writes 1e16 so
    assert isinstance(found, Everything)
    assert repr(found.share) == "1e+16"


@pytest.mark.parametrize("value", [object(), print, {"a": {1j}}])
def test_encode_refuses_what_json_has_no_form_for(value: object) -> None:
    with pytest.raises(InvalidJob, match=r"shop\.Everything: .*JSON"):
        EVERYTHING.encode(make(free=value))


def test_encode_refuses_endless_nesting() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidJob, match=r"shop\.Everything"):
        EVERYTHING.encode(make(free=loop))


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, "whole"),
        ({"whole": "1"}, "whole"),
        ({"whole": 1, "extra": 2}, "extra"),
        ({"whole": 1, "line": {"sku": "a"}}, "line.count"),
        ({"whole": 1, "line": {"sku": "a", "count": 1, "more": 2}}, "line.more"),
        ({"whole": 1, "at": "yesterday"}, "at"),
        ({"whole": 1, "text": "\0"}, "text"),
        ({"whole": 1, "text": "\ud800"}, "text"),
        ({"whole": 1, "free": float("nan")}, "free"),
        ([], ""),
        (None, ""),
        ("text", ""),
        ({"whole": object()}, ""),
    ],
)
def test_decode_refuses_what_does_not_fit_and_names_the_field(data: Any, path: str) -> None:
    with pytest.raises(InvalidJob, match=r"^shop\.Everything: ") as caught:
        EVERYTHING.decode(data)
    assert caught.value.field == path


@pytest.mark.parametrize(
    "changes",
    [
        {"text": 13371337},
        {"whole": "13371337"},
        {"either": 13371337.5},
        {"mode": "13371337"},
        {"text": "13371337\0"},
        {"text": "13371337\ud800"},
        {"free": ("13371337",)},
        {"free": {"13371337"}},
        {"line": {"sku": "13371337"}},
    ],
)
def test_messages_never_show_a_value(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as caught:
        EVERYTHING.encode(make(**changes))
    assert "13371337" not in str(caught.value)
    # Nor does the traceback that a log would show.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_messages_are_bounded_for_a_huge_payload() -> None:
    with pytest.raises(InvalidJob) as caught:
        EVERYTHING.decode({"whole": 1, "x" * 10_000_000: 1})
    assert len(str(caught.value)) < 1000


def test_encode_refuses_more_than_the_size_limit(settings: Any) -> None:
    settings.JOBS = {"MAX_PAYLOAD_BYTES": 100}
    assert len(SLOTTED.encode(Slotted(10**93))) == 100
    with pytest.raises(
        InvalidJob, match=r"shop\.Slotted: the arguments take 101 bytes .* limit of 100.*MAX_PAYLOAD_BYTES"
    ):
        SLOTTED.encode(Slotted(10**94))


def test_decode_reads_what_was_stored_under_a_larger_limit(settings: Any) -> None:
    settings.JOBS = {"MAX_PAYLOAD_BYTES": 10}
    assert SLOTTED.decode({"x": 10**50}) == Slotted(10**50)


def test_checks_of_the_class_itself_are_kept() -> None:
    with pytest.raises(InvalidJob, match=r"shop\.Checked: .*amount must not be negative"):
        CHECKED.decode({"amount": -1})
    with pytest.raises(InvalidJob, match=r"shop\.Checked: .*RuntimeError") as caught:
        CHECKED.decode({"amount": 101})
    assert "secret detail" not in str(caught.value)


def test_schema_describes_the_fields() -> None:
    schema = EVERYTHING.schema()
    assert schema["required"] == ["whole"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["whole"]["type"] == "integer"
    assert schema["properties"]["at"]["format"] == "date-time"
    assert json.dumps(schema)


def test_declaration_refuses_a_class_that_is_no_payload() -> None:
    class Plain:
        pass

    class NoDataclass(Job):
        x: int

    class Inherited(Slotted):
        y: int

    @dataclass(frozen=True)
    class Derived(Job):
        x: int
        y: int = field(init=False, default=1)

    @dataclass(frozen=True)
    class Opaque(Job):
        x: Thread

    @dataclass(frozen=True)
    class Undefined(Job):
        x: Nowhere  # type: ignore[name-defined]  # noqa: F821

    for cls, mend in [
        (Plain, r"derive a class from handlers\.Job"),
        (NoDataclass, r"put @dataclass\(frozen=True\) above"),
        (Inherited, r"put @dataclass\(frozen=True\) above"),
        (Derived, "field y has init=False.*make it a property"),
        (Opaque, "a hint cannot be stored as JSON: use plain types"),
        (Undefined, "the hint Nowhere is not defined: import it at the top"),
    ]:
        with pytest.raises(InvalidJob, match=mend):
            JobType("shop.Wrong", cls, print)


class Thread:
    """No dataclass, and no form in JSON."""


def test_execute_command_job_is_stored_as_its_command(declared: None) -> None:
    job = ExecuteCommandJob(CancelOrder(7))
    job_type = registry.for_object(job)
    assert job_type.name == "shop.CancelOrder"
    assert json.loads(job_type.encode(job)) == {"order_id": 7}
    assert registry.for_object(ExecuteCommandJob(job)).encode(job) == job_type.encode(CancelOrder(7))  # type: ignore[arg-type]


UNSAID: dict[str, Any] = {"expires": None, "unique": None, "priority": None}


@pytest.mark.parametrize(
    ("job", "name", "payload"),
    [
        (CancelOrder(7), "shop.CancelOrder", {"order_id": 7}),
        (ExecuteCommandJob(CancelOrder(7)), "shop.CancelOrder", {"order_id": 7}),
        (DeleteJobCommand(3), "jobs.DeleteJobCommand", {"job_id": 3}),
        (
            EnqueueJobCommand(CancelOrder(7)),
            "jobs.EnqueueJobCommand",
            {"job": {"type": "shop.CancelOrder", "payload": {"order_id": 7}}} | UNSAID | {"delay": None},
        ),
    ],
)
def test_enqueue_command_stores_the_job_inside_by_its_name(declared: None, job: Any, name: str, payload: Any) -> None:
    command = EnqueueJobCommand(job, delay=timedelta(seconds=5))
    job_type = registry.for_object(command)
    data = json.loads(job_type.encode(command))
    assert data == {"job": {"type": name, "payload": payload}, "delay": "PT5S"} | UNSAID
    again = job_type.decode(data)
    assert isinstance(again, EnqueueJobCommand)
    assert again == EnqueueJobCommand(job.command if isinstance(job, ExecuteCommandJob) else job, timedelta(seconds=5))


def test_schedule_command_keeps_its_time(declared: None) -> None:
    command = ScheduleJobCommand(Everything(1), at=datetime(2026, 1, 2, tzinfo=UTC))
    job_type = registry.for_object(command)
    assert job_type.decode(json.loads(job_type.encode(command))) == command


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (EnqueueJobCommand(Everything("x")), "job.whole"),  # type: ignore[arg-type]
        (EnqueueJobCommand(EnqueueJobCommand(CancelOrder("x"))), "job.job.order_id"),  # type: ignore[arg-type]
        (EnqueueJobCommand(Slotted(1)), "job"),  # no handler
        (EnqueueJobCommand("text"), "job"),  # type: ignore[arg-type]
        (DeleteJobCommand("3"), "job_id"),  # type: ignore[arg-type]
    ],
)
def test_scheduler_commands_refuse_what_does_not_fit(declared: None, command: Command, path: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        registry.for_object(command).encode(command)
    assert caught.value.field == path


@pytest.mark.parametrize(
    "data",
    [
        {"job": {"type": "gone.Type", "payload": {}}},
        {"job": {"type": "shop.CancelOrder", "payload": {"order_id": "x"}}},
        {"job": {"type": "shop.CancelOrder"}},
        {"job": {"type": "shop.CancelOrder", "payload": {"order_id": 1}, "more": 1}},
        {"job": 5},
        {},
    ],
)
def test_enqueue_command_that_no_longer_fits_is_refused_by_field(declared: None, data: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        registry.get("jobs.EnqueueJobCommand").decode(data)
    assert caught.value.field.startswith("job")


def test_scheduler_commands_refuse_wrong_times_when_made() -> None:
    with pytest.raises(InvalidJob) as caught:
        ScheduleJobCommand(CancelOrder(1), at=datetime(2026, 1, 2))  # noqa: DTZ001
    assert caught.value.field == "at"
    for delay in (timedelta(-1), timedelta(days=3651), 5):
        with pytest.raises(InvalidJob) as caught:
            EnqueueJobCommand(CancelOrder(1), delay=delay)  # type: ignore[arg-type]
        assert caught.value.field == "delay"


@pytest.mark.parametrize(
    ("expires", "unique", "stored"),
    [
        (timedelta(minutes=15), False, ("PT15M", False)),
        (
            datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
            Unique(),
            (
                "2026-01-02T03:04:05.000006+02:00",
                {"key": None, "until": "ended", "period": None, "on_conflict": "existing"},
            ),
        ),
        (
            timedelta(days=3650),
            Unique(key=("order_id",), until="started", period=timedelta(hours=1), on_conflict="debounce"),
            ("P10Y", {"key": ["order_id"], "until": "started", "period": "PT1H", "on_conflict": "debounce"}),
        ),
    ],
)
@pytest.mark.parametrize("when", [{"delay": None}, {"at": datetime(2025, 1, 2, tzinfo=UTC)}])
def test_scheduler_commands_keep_deadline_and_rule(
    declared: None, expires: Any, unique: Any, stored: tuple[Any, Any], when: dict[str, Any]
) -> None:
    kind: Any = ScheduleJobCommand if "at" in when else EnqueueJobCommand
    command = kind(CancelOrder(7), **when, expires=expires, unique=unique)
    job_type = registry.for_object(command)
    data = json.loads(job_type.encode(command))
    assert (data["expires"], data["unique"]) == stored
    again: Any = job_type.decode(data)
    assert again == command
    assert type(again.unique) is type(unique)


def test_scheduler_commands_stored_before_they_had_deadlines_and_rules_are_read(declared: None) -> None:
    job = {"type": "shop.CancelOrder", "payload": {"order_id": 7}}
    found = registry.get("jobs.EnqueueJobCommand").decode({"job": job, "delay": "PT5S"})
    assert found == EnqueueJobCommand(CancelOrder(7), timedelta(seconds=5))
    at = datetime(2026, 1, 2, tzinfo=UTC)
    found = registry.get("jobs.ScheduleJobCommand").decode({"job": job, "at": "2026-01-02T00:00:00Z"})
    assert found == ScheduleJobCommand(CancelOrder(7), at)


AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: EnqueueJobCommand(CancelOrder(1), expires=5), "expires"),  # type: ignore[arg-type]
        (lambda: EnqueueJobCommand(CancelOrder(1), expires=timedelta(0)), "expires"),
        (lambda: EnqueueJobCommand(CancelOrder(1), expires=timedelta(days=3651)), "expires"),
        (lambda: EnqueueJobCommand(CancelOrder(1), expires=datetime(2026, 1, 2)), "expires"),  # noqa: DTZ001
        (lambda: EnqueueJobCommand(CancelOrder(1), timedelta(5), timedelta(5)), "expires"),
        (lambda: ScheduleJobCommand(CancelOrder(1), AT, expires=AT), "expires"),
        (lambda: ScheduleJobCommand(CancelOrder(1), AT, expires="soon"), "expires"),  # type: ignore[arg-type]
        (lambda: EnqueueJobCommand(CancelOrder(1), unique=True), "unique"),  # type: ignore[arg-type]
        (lambda: EnqueueJobCommand(CancelOrder(1), unique=0), "unique"),  # type: ignore[arg-type]
        (lambda: EnqueueJobCommand(CancelOrder(1), unique=Unique(key=("order",))), "unique"),
        (lambda: ScheduleJobCommand(CancelOrder(1), AT, unique="one"), "unique"),  # type: ignore[arg-type]
        (lambda: ScheduleJobCommand(CancelOrder(1), AT, unique=Unique(key=("order",))), "unique"),
    ],
)
def test_scheduler_commands_refuse_a_deadline_or_a_rule_when_made(declared: None, make: Any, field: str) -> None:
    with pytest.raises(InvalidJob, match=field) as caught:
        make()
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("edited", "field"),
    [
        ({"expires": "soon"}, "expires"),
        ({"expires": "2026-01-02T00:00:00"}, "expires"),
        ({"expires": "PT0S"}, "expires"),
        ({"expires": "PT5S", "delay": "PT6S"}, "expires"),
        ({"unique": True}, "unique"),
        ({"unique": "ended"}, "unique"),
        ({"unique": {"key": "order_id"}}, "unique.key"),
        ({"unique": {"key": ["order"]}}, "unique"),
        ({"unique": {"until": "done"}}, "unique.unique"),
        ({"unique": {"until": "ended", "more": 1}}, "unique.more"),
    ],
)
def test_scheduler_commands_that_were_edited_are_refused_by_field(declared: None, edited: Any, field: str) -> None:
    job = {"job": {"type": "shop.CancelOrder", "payload": {"order_id": 7}}}
    with pytest.raises(InvalidJob) as caught:
        registry.get("jobs.EnqueueJobCommand").decode(job | edited)
    assert caught.value.field == field


def test_schema_of_an_enqueue_command_shows_type_and_payload() -> None:
    job = registry.get("jobs.EnqueueJobCommand").schema()["properties"]["job"]
    assert job["required"] == ["type", "payload"]
    assert job["properties"]["type"]["type"] == "string"
