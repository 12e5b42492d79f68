"""What is declared in code, as the pages show it: job types, and the retry policies with where each comes from."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from dashboard.kit.languages import in_language
from dashboard.kit.text import dotted, pretty_json
from handlers.conf import jobs_settings
from handlers.exceptions import JobsError, NoHandler
from handlers.registry import JobType, registry
from handlers.retries import RetryPolicy

MAX_DELAYS = 30  # rows of a policy's table
NAMED = 12  # types of a policy that a list of policies names
SOURCES = 3  # places in the code that it names


@dataclass(frozen=True)
class TypeRow:
    """One job type."""

    job_type: JobType

    @property
    def handler(self) -> str:
        """The handler's dotted path."""
        return dotted(self.job_type.handler)

    @property
    def source(self) -> str:
        """The handler's file and line, below the project's folder; empty where there is no source."""
        return source_of(self.job_type.handler)

    @property
    def timeout(self) -> timedelta:
        """One attempt's limit."""
        return self.job_type.timeout or timedelta(seconds=jobs_settings().timeout_seconds)

    @property
    def policy(self) -> str:
        """The retry policy in words."""
        return in_language(self.job_type.retry.describe())

    @property
    def schema(self) -> str:
        """The payload's JSON schema; why there is none, where there is none."""
        try:
            return pretty_json(self.job_type.schema())
        except JobsError as error:
            return in_language(error)


@dataclass(frozen=True)
class Delay:
    """One row of a policy's table: the wait before an attempt, without jitter."""

    attempt: int  # the one that follows the wait
    wait: timedelta
    total: timedelta  # all waits up to here


@dataclass
class PolicyRow:
    """One distinct policy, with everything that uses it."""

    policy: RetryPolicy
    rows: list[TypeRow] = field(default_factory=list)

    def part_of(self, types: Collection[str]) -> PolicyRow:
        """The same with those that use it among ``types``."""
        return PolicyRow(self.policy, [row for row in self.rows if row.job_type.name in types])

    @property
    def is_default(self) -> bool:
        """Whether it is what a type gets that names none."""
        return self.policy == RetryPolicy()

    @property
    def words(self) -> str:
        """The policy in words."""
        text = in_language(self.policy.describe())
        return text[:1].upper() + text[1:]

    @property
    def sources(self) -> list[str]:
        """Where the code says so: the first SOURCES of its types."""
        return [row.source or row.handler for row in self.rows[:SOURCES]]

    @property
    def delays(self) -> list[Delay]:
        """The waits, the first MAX_DELAYS of them."""
        return delays(self.policy)

    @property
    def more(self) -> int:
        """How many waits are not shown."""
        return max(self.policy.max_attempts - 1 - MAX_DELAYS, 0)


def find(name: str) -> JobType | None:
    """The registered type of this name or alias."""
    try:
        return registry.find(name)
    except NoHandler:
        return None


def types() -> list[TypeRow]:
    """Every registered type, by name; the engine's own last."""
    rows = [TypeRow(job_type) for job_type in registry.all()]
    return sorted(rows, key=lambda row: row.job_type.payload_class.__module__.partition(".")[0] == "handlers")


def policies() -> list[PolicyRow]:
    """The distinct policies of the registered types, the default one first."""
    found: dict[RetryPolicy, PolicyRow] = {}
    unhashable: list[PolicyRow] = []  # an app's own backoff may be: those are compared one by one
    for row in types():
        policy = row.job_type.retry
        try:
            known = found.setdefault(policy, PolicyRow(policy))
        except TypeError:
            match = next((known for known in unhashable if known.policy == policy), None)
            known = match or PolicyRow(policy)
            if match is None:
                unhashable.append(known)
        known.rows.append(row)
    return sorted([*found.values(), *unhashable], key=lambda known: not known.is_default)


def delays(policy: RetryPolicy, after: int = 0) -> list[Delay]:
    """The waits that follow after ``after`` failures."""
    total, told = timedelta(0), []
    for number, wait in enumerate(policy.delays()[:MAX_DELAYS], start=2):
        if number <= after + 1:
            continue
        total += wait
        told.append(Delay(number, wait, total))
    return told


def source_of(thing: Any) -> str:
    """``file:line`` of a class or function, relative to the project where it lies below it."""
    found = inspect.unwrap(thing)
    try:
        return _source_of(found)
    except TypeError:  # not hashable
        return _source_of.__wrapped__(found)


@lru_cache(maxsize=4_096)  # Python reads and parses the file each time, and code stays as it was imported
def _source_of(thing: Any) -> str:
    try:
        file = inspect.getsourcefile(thing)
        line = inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return ""
    path = Path(file or "")
    base = Path(getattr(settings, "BASE_DIR", "/"))
    return f"{path.relative_to(base) if path.is_relative_to(base) else path.name}:{line}"
