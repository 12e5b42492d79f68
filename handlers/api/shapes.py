"""What the API takes and gives, as pydantic's types: strict, and without room for what it does not know."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from handlers.priorities import HIGHEST, LOWEST
from handlers.tagging import LONGEST, MOST

MOST_IN_BATCH = 500
DAY_SECONDS = 86_400
LONGEST_SECONDS = 3_650 * DAY_SECONDS


def _moment(value: Any) -> Any:
    """Text alone: pydantic would take a number for seconds, or for milliseconds, by how large it is."""
    if not isinstance(value, str | datetime):
        raise ValueError("must be text, as RFC 3339 has it, such as 2026-12-24T18:00:00Z")  # noqa: TRY004 - pydantic's
    return datetime.fromisoformat(value) if isinstance(value, str) else value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment, json_schema_input_type=AwareDatetime)]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
GroupStates = Literal["open", "regressed", "resolved", "ignored"]
Text = Annotated[str, Field(max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Tag = Annotated[str, Field(min_length=1, max_length=LONGEST, examples=["customer:42"])]
Queue = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]


class Taken(BaseModel):
    """A body."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Given(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid")


# --- taken


class Options(Taken):
    """How jobs are enqueued."""

    queue: Queue | None = Field(default=None, description="Default: the type's own")
    expires_at: Moment | None = Field(default=None, description="Unless it was started by then, it never is")
    priority: Annotated[int, Field(ge=LOWEST, le=HIGHEST)] | None = Field(
        default=None, description="Default: the type's own"
    )
    unique: bool = Field(default=True, description="False: by no rule; else the type's own holds, if it has one")
    tags: list[Tag] = Field(default=[], max_length=MOST, description="To find it by, beside those of its type")
    correlation: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    context: dict[str, Any] = Field(default_factory=dict, description="What its handler finds in its context, by name")
    reason: Text = Field(default="", description="Why, for the audit")


class NewJob(Options):
    """A job to enqueue, or with ``run_at`` to schedule."""

    type: Name = Field(examples=["shop.SendReceipt"])
    payload: dict[str, Any] = Field(default_factory=dict, description="The type's fields: see /types")
    delay_seconds: Seconds | None = Field(default=None, description="From now; not together with run_at")
    run_at: Moment | None = Field(default=None, description="With a zone; one that has passed means now")


class Work(Taken):
    """What is to be done."""

    type: Name
    payload: dict[str, Any] = Field(default_factory=dict)


class NewJobs(Options):
    """Jobs to enqueue, all or none."""

    jobs: list[Work] = Field(min_length=1, max_length=MOST_IN_BATCH)


class Reason(Taken):
    """Why, for the history and the audit."""

    reason: Text = ""


class Retry(Reason):
    """A retry, with other arguments where ``payload`` is given."""

    payload: dict[str, Any] | None = Field(default=None, description="All of them; a masked one keeps what is stored")


class Move(Reason):
    """Another queue."""

    queue: Queue


class Signal(Reason):
    """What a job waits for, or will."""

    name: Annotated[str, Field(min_length=1, max_length=100, examples=["approval"])]
    data: Any = Field(default=None, description="What comes with it: any JSON", examples=[{"approved": True}])


class NewBulk(Reason):
    """A verb for all jobs that match."""

    verb: str = Field(examples=["retry"], description="retry, requeue, delete or move")
    q: Annotated[str, Field(max_length=2_000)] = Field(default="", examples=["state:failed type:shop.SendReceipt"])
    queue: Queue | None = Field(default=None, description="move: where they go")
    rate_per_second: Annotated[float, Field(ge=0.1, le=10_000, allow_inf_nan=False)] | None = None
    canary: Annotated[int, Field(ge=0, le=1_000)] = 0
    max_failed_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    confirm_count: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Where nothing narrows q: how many"
    )


class TryMore(Reason):
    """More jobs that go first."""

    jobs: Annotated[int, Field(ge=1, le=1_000)] = 5


class Resolve(Reason):
    """From which version on the failures of a group count again."""

    version: Annotated[str, Field(max_length=64, description="Empty: now; next: those that come")] = ""


class Ignore(Reason):
    """How long a failure group is ignored; for good, where nothing is said."""

    until: Moment | None = None
    times: Annotated[int, Field(ge=1, le=1_000_000_000, description="So many more failed attempts")] | None = None


class Pause(Reason):
    """A pause, until then or until it is resumed."""

    until: Moment | None = None


class RecurringRule(Reason):
    """A job that recurs: by ``cron`` or ``every_seconds``, one of them."""

    type: Name
    payload: dict[str, Any] = Field(default_factory=dict)
    cron: Annotated[str, Field(max_length=200)] | None = Field(default=None, examples=["0 6 * * 1-5"])
    every_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)] | None = None
    timezone: Annotated[str, Field(max_length=64)] = "UTC"
    start: Moment | None = None
    end: Moment | None = None
    jitter_seconds: Annotated[float, Field(ge=0, le=DAY_SECONDS, allow_inf_nan=False)] = 0.0
    misfire: str = Field(default="one", description="skip, one or each")
    overlap: str = Field(default="allow", description="allow, skip or queue")
    queue: Queue | None = None
    pause_after: Annotated[int, Field(ge=0, le=1_000)] = 0


# --- given


class Enqueued(Given):
    """What became of a new job."""

    id: int
    is_new: bool = Field(description="False: a job that was there holds the key of its type's rule, and that is its id")


class EnqueuedMany(Given):
    """The same of several, in their order."""

    jobs: list[Enqueued]


class Done(Given):
    """A verb was done to a job."""

    id: int
    did: str


class GroupDone(Given):
    """Something was done to a failure group."""

    id: str
    did: str


class Job(Given):
    """A job, as lists have it."""

    id: int
    type: str
    queue: str
    state: str
    is_retrying: bool
    attempt: int
    failures: int
    crashes: int
    priority: int
    created_at: datetime
    created_by: str
    run_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str
    error: str
    failure_group: str
    etag: str = Field(description="Send it as If-Match, so that a verb finds the job as it was seen")


class Step(Given):
    """A move of a job, from the oldest."""

    from_state: str
    to_state: str
    at: datetime
    attempt: int
    reason: str
    actor: str
    data: dict[str, Any] | None


class Failure(Given):
    """Why an attempt failed."""

    attempt: int
    at: datetime
    exception: str
    message: str
    traceback: str
    frame: str


class JobDetail(Job):
    """A job with its arguments, its history and its failures."""

    payload: Any
    result: Any
    parent_id: int | None
    tags: list[str] = Field(description="Those of its type, and its own")
    correlation: str
    context: dict[str, Any] = Field(description="What travels with it, by name")
    expires_at: datetime | None
    workflow_id: int | None
    waits_for: str | None = Field(description="The signal that it waits for")
    is_masked: bool = Field(description="Whether sensitive arguments may be hidden here")
    history: list[Step]
    failed_attempts: list[Failure]


class JobList(Given):
    """A page of jobs, newest first."""

    jobs: list[Job]
    next: str | None = Field(description="The cursor of the next page; null: there is none")


class Bulk(Given):
    """A bulk operation."""

    id: int
    verb: str
    queue: str
    state: str
    held: bool = Field(description="It paused because of what came out")
    note: str
    count: int
    moved: int
    moved_on: int
    created_at: datetime
    finished_at: datetime | None
    reason: str


class Recurring(Given):
    """A job that recurs."""

    name: str
    type: str
    payload: Any
    context: dict[str, Any] = Field(description="What travels with its jobs, by name")
    queue: str
    cron: str
    every_seconds: float | None
    timezone: str
    start: datetime | None
    end: datetime | None
    jitter_seconds: float
    misfire: str
    overlap: str
    pause_after: int
    in_code: bool
    next_at: datetime | None
    last_at: datetime | None
    last_job_id: int | None
    paused_at: datetime | None
    paused_until: datetime | None
    etag: str


class RecurringList(Given):
    """A page of them, by name."""

    recurring: list[Recurring]
    next: str | None


class Changed(Given):
    """Whether something is different now."""

    name: str
    changed: bool


class Workflow(Given):
    """A workflow."""

    id: int
    title: str
    correlation: str
    created_at: datetime
    created_by: str
    total: int
    open: int
    succeeded: int
    failed: int
    deleted: int
    skipped: int
    unneeded: int
    on_success: int | None
    on_end: int | None
    finished_at: datetime | None
    paused_at: datetime | None
    cancelled_at: datetime | None


class WorkflowList(Given):
    """A page of them, newest first."""

    workflows: list[Workflow]
    next: str | None


class WorkflowDone(Given):
    """A verb was done to a workflow."""

    id: int
    did: str
    count: int = Field(description="Whether it was; of a retry, how many jobs run again at once")


class JobType(Given):
    """A type that can run here."""

    name: str
    queue: str
    description: str
    json_schema: dict[str, Any]


class JobTypeList(Given):
    """All of them."""

    types: list[JobType]


class QueueState(Given):
    """What waits on a queue. More than 1,000 are told as 1,001."""

    name: str
    waiting: int
    oldest_at: datetime | None
    paused: bool
    paused_by: str
    paused_until: datetime | None


class QueueList(Given):
    """Every queue that the token is for."""

    queues: list[QueueState]


class Stats(Given):
    """How it is going. More than 1,000 jobs of a state are told as 1,001; those that succeeded are not counted."""

    states: dict[str, int]
    workers: int
    running: int = Field(description="Jobs that they say they run")
    schedulers: int
    trouble: str = Field(description="Why the queue server takes no messages; empty: it does")


class FailureGroup(Given):
    """Failures of one kind."""

    id: str
    exception: str
    frame: str
    type: str
    message: str
    first_at: datetime
    last_at: datetime
    count: int
    last_job_id: int | None
    first_version: str
    last_version: str
    state: GroupStates
    state_at: datetime | None
    state_by: str
    fixed_in: str = Field(description="Resolved: failures from this version on open it; empty: any; next: later ones")
    ignored_until: datetime | None
    ignored_to: int | None = Field(description="Ignored until count is that high")
    regressed_at: datetime | None


class FailureGroupList(Given):
    """A page of them, newest first."""

    groups: list[FailureGroup]
    next: str | None
