"""``manage.py seed_jobs``: made-up jobs whose arguments fit their types."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from pydantic import Field

from handlers import InvalidJob, Job, Sensitive, job_scheduler
from handlers.commands import AnyPayload
from handlers.models import JobPayload, JobRecord
from handlers.registry import JobType, registry
from handlers.states import State
from jobsite.made_up import NUMBER, templates
from tests.running import NotingTransport


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Part:
    secret: Annotated[str, Sensitive()]
    card_id: Annotated[int, Sensitive()]
    order_id: int
    children: list[Part] = field(default_factory=list)


@dataclass(frozen=True)
class ByPost:
    street: str
    way: Literal["post"] = "post"


@dataclass(frozen=True)
class ByMail:
    email: str
    way: Literal["mail"] = "mail"


@dataclass(frozen=True)
class Rich(Job):
    """A field of every sort that can be made up."""

    order_id: int
    text: str
    code: Annotated[str, Field(min_length=3, max_length=3)]
    long: Annotated[str, Field(min_length=40)]
    percent: Annotated[int, Field(ge=10, le=90)]
    dozen: Annotated[int, Field(gt=5, multiple_of=12)]
    chance: Annotated[float, Field(gt=0, lt=0.4)]
    size: float
    price: Decimal
    on: bool
    colour: Colour
    kind: Literal["a", "b"]
    key: UUID
    day: date
    at: datetime
    hour: time
    wait: timedelta
    part: Part
    parts: list[Part]
    pair: tuple[int, str]
    unlike: Annotated[frozenset[str], Field(min_length=3)]
    table: Annotated[dict[str, int], Field(min_length=2)]
    maybe: int | None
    either: int | str
    to: Annotated[ByPost | ByMail, Field(discriminator="way")]
    anything: Any
    quoted: str = 'l\'été à 100 % \\ "now"'
    pattern: Annotated[str, Field(pattern=r"^\d+-[xyz]$")] = "7-x"
    spare: bool = False


@dataclass(frozen=True)
class Pattern(Job):
    """No one can make this up."""

    license_plate: Annotated[str, Field(pattern=r"^\d+-[xyz]$")]


@dataclass(frozen=True)
class Small(Job):
    """A name that says number, where the job's does not fit."""

    order_id: int

    def __post_init__(self) -> None:
        if self.order_id > 100:
            raise ValueError("too big")


@dataclass(frozen=True)
class Wary(Job):
    """A default that is the only value there is."""

    order_id: int
    level: int = 0

    def __post_init__(self) -> None:
        if self.level:
            raise ValueError("not yet")


@dataclass(frozen=True)
class Nested(Job):
    """Another job as an argument."""

    job: AnyPayload
    order_id: int = 0


def declared(job_class: type[Job]) -> JobType:
    return JobType(f"test.{job_class.__name__}", job_class, lambda job: None)


def seed(*arguments: str) -> str:
    """What ``seed_jobs`` says."""
    said = StringIO()
    call_command("seed_jobs", "1000", *arguments, stdout=said)
    return said.getvalue()


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Leaves the types of these classes, and no other ones, to be seeded."""
    with registry.isolated():

        def declare(*classes: type[Job]) -> None:
            types = [declared(job_class) for job_class in classes]
            for job_type in types:
                registry.register(job_type)
            monkeypatch.setattr(registry, "all", lambda: types)

        yield declare


@pytest.mark.django_db
def test_seeded_jobs_fit_their_types_when_apps_registered_them(noting: NotingTransport) -> None:
    assert "no jobs of" not in seed()
    names = set(JobPayload.objects.values_list("job_type", flat=True))
    assert names == {told.name for told in registry.all() if not told.name.startswith("jobs.")}
    jobs = []
    for row in JobPayload.objects.all():
        job_type = registry.get(row.job_type)
        jobs.append(job_type.decode(row.data))
        assert json.loads(job_type.encode(jobs[-1])) == row.data  # nothing that an enqueue would not have stored
    assert len(job_scheduler.enqueue_many(jobs)) == 1_000


@pytest.mark.django_db
def test_seeded_failed_job_can_be_retried_with_its_own_arguments(noting: NotingTransport) -> None:
    seed()
    for record in JobRecord.objects.filter(state=State.FAILED):
        stored = JobPayload.objects.get(pk=record.pk).data
        assert job_scheduler.retry(record.pk, payload=stored)


@pytest.mark.django_db
def test_seeded_jobs_carry_their_own_numbers(only: Any) -> None:
    only(Rich)
    seed()
    job_type = registry.get("test.Rich")
    for row in JobPayload.objects.all():
        job: Any = job_type.decode(row.data)
        assert (job.order_id, job.text) == (row.pk, f"text-{row.pk}")
        assert job.quoted in ('l\'été à 100 % \\ "now"', f"quoted-{row.pk}")
    assert {row.data["spare"] for row in JobPayload.objects.all()} == {False, True}


@pytest.mark.django_db
def test_seeded_jobs_of_made_up_types_are_orders() -> None:
    seed("--types", "3")
    assert not JobPayload.objects.exclude(job_type__startswith="seed.Type00").exists()
    assert JobPayload.objects.filter(data__order_id=500).get().pk == 500 + JobPayload.objects.earliest("pk").pk - 1
    for row in JobPayload.objects.all():
        draws = [(row.pk * (48_271 + salt * 2) + salt * 7_919) % 2_147_483_647 % 1_000_003 for salt in (6, 7)]
        assert row.data == {"order_id": row.pk, "customer": f"c{draws[0] % 5_000}", "express": draws[1] % 2 == 1}


@pytest.mark.django_db
def test_seed_jobs_leaves_out_and_names_types_that_nothing_made_up_fits(only: Any) -> None:
    only(Pattern, Small)
    said = seed()
    assert "no jobs of test.Pattern, which no made-up arguments fit: " in said
    assert "license_plate: its pattern is more than can be made up" in said
    assert set(JobPayload.objects.values_list("job_type", flat=True)) == {"test.Small"}
    assert JobPayload.objects.count() == 1_000


@pytest.mark.django_db
def test_seed_jobs_refuses_when_no_type_can_be_made_up(only: Any) -> None:
    only(Pattern)
    with pytest.raises(CommandError, match="no app registers a job type to make jobs of"):
        seed()
    assert not JobRecord.objects.exists()


@pytest.mark.parametrize("number", [1, 99, 100_000_000])
def test_templates_fit_with_any_number(number: int) -> None:
    job_type = declared(Rich)
    jobs: list[Any] = []
    for template in templates(job_type):
        jobs.append(job_type.decode(json.loads(template.replace(str(NUMBER), str(number)))))
        assert job_type.encode(jobs[-1])
    assert {(job.order_id, job.pattern) for job in jobs} == {(number, "7-x")}
    assert {(job.colour, job.on, type(job.to)) for job in jobs} == {
        (Colour.RED, False, ByPost),
        (Colour.BLUE, True, ByMail),
    }


def test_templates_keep_defaults_when_another_value_is_refused() -> None:
    assert {json.loads(text)["level"] for text in templates(declared(Wary))} == {0}


def test_templates_hold_no_number_where_it_would_not_fit() -> None:
    assert all(json.loads(text)["order_id"] <= 100 for text in templates(declared(Small)))


def test_templates_hold_no_number_in_secrets() -> None:
    for template in templates(declared(Rich)):
        part = json.loads(template)["part"]
        assert (part["secret"], part["order_id"]) == ("made-up", NUMBER)
        assert part["card_id"] < 100  # too short to be masked in an error's text


@pytest.mark.parametrize("job_class", [Pattern, Nested])
def test_templates_refuse_in_words_when_nothing_made_up_fits(job_class: type[Job]) -> None:
    with pytest.raises(InvalidJob, match=f"test.{job_class.__name__}: (license_plate|job): "):
        templates(declared(job_class))
