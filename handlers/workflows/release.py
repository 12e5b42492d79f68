"""Those who waited at a gate go on: to their queues where it was passed, away where it never will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.db import connections

from handlers import lifecycle
from handlers.cancellation import CancellationToken
from handlers.conf import SYSTEM_QUEUE
from handlers.lifecycle import Change, Move, NewJob, Step
from handlers.models import Gate, JobPayload, JobRecord, NodeInput, Workflow
from handlers.models.sql import chunks, go_by_index, is_postgresql
from handlers.payloads import Job
from handlers.publishing import publish_on_commit
from handlers.registry import registry
from handlers.states import State
from handlers.workflows import rows
from handlers.workflows.rows import Waiting
from handlers.writing import writing

ACTOR = "workflow"
CHUNK = 1_000  # nodes in one transaction
FILLED = 100  # of them at a time, on SQLite: their arguments are held meanwhile, and may be large
TYPE_NAME = "jobs.OpenGate"


@dataclass(frozen=True)
class OpenGate(Job):
    """Those who wait at a gate, from job ``after`` on: too many for who opened it."""

    gate_id: int
    after: int


def release(gate: Gate, *, using: str) -> None:
    """Move on whoever waits at a gate that is decided: a chunk at once, the rest by a job of the engine's own."""
    if after := _release_chunk(gate, 0, using):
        payload = registry.get(TYPE_NAME).encode(OpenGate(gate.pk, after))
        messages = lifecycle.create([NewJob(TYPE_NAME, payload, SYSTEM_QUEUE)], actor=ACTOR, using=using)
        publish_on_commit(messages, using=using)


def release_rest(gate_id: int, after: int, token: CancellationToken) -> None:
    """What an OpenGate job does: chunk by chunk, each committed by itself. Repeated, it passes over what went on."""
    using = lifecycle.database()
    next_after: int | None = after
    while next_after:
        token.raise_if_cancelled()
        with writing(using):
            go_by_index(connections[using])  # as what follows a batch does: if this is lost, it is done again
            gate = Gate.objects.using(using).filter(pk=gate_id, is_open__isnull=False).first()
            next_after = _release_chunk(gate, next_after, using) if gate else None


def _release_chunk(gate: Gate, after: int, using: str) -> int | None:
    """Move on the nodes behind job ``after``; the last of them, where there may be more."""
    nodes = rows.waiting_at(gate.pk, after, CHUNK, using)
    release_nodes(nodes, gate, using=using)
    return nodes[-1].job_id if len(nodes) == CHUNK else None


def release_nodes(nodes: Sequence[Waiting], gate: Gate, *, using: str) -> None:
    """Move on those of ``nodes`` that wait. Of a workflow that was cancelled none runs any more."""
    cancelled = _cancelled({node.workflow_id for node in nodes if node.workflow_id and node.counts}, using)
    away = [node.job_id for node in nodes if not gate.is_open or (node.counts and node.workflow_id in cancelled)]
    gone = set(away)
    on = [node for node in nodes if node.job_id not in gone]
    _fill([node.job_id for node in on if node.has_inputs], using)
    at_once = [node.job_id for node in on if not node.delay_seconds]
    messages = lifecycle.release(at_once, gate.why, actor=ACTOR) if at_once else []
    late = {node.job_id: _later(gate.why, node.delay_seconds) for node in on if node.delay_seconds}
    late |= dict.fromkeys(away, _away("its workflow was cancelled" if gate.is_open else gate.why))
    if late:
        messages += lifecycle.apply(_moves(late, using), actor=ACTOR, using=using).messages
    publish_on_commit(messages, using=using)


def _moves(changes: Mapping[int, Change], using: str) -> list[Move]:
    """To change those that wait."""
    waiting = JobRecord.objects.using(using).filter(pk__in=changes, state=State.AWAITING)
    return [Move(pk, token, changes[pk]) for pk, token in waiting.values_list("pk", "token")]


@lru_cache(maxsize=64)
def _later(why: str, delay_seconds: float) -> Change:
    return Change(State.AWAITING, (Step(State.SCHEDULED, why),), delay=timedelta(seconds=delay_seconds))


@lru_cache(maxsize=64)
def _away(why: str) -> Change:
    return Change(State.AWAITING, (Step(State.DELETED, why),))


def _cancelled(workflows: set[int], using: str) -> set[int]:
    found = Workflow.objects.using(using).filter(pk__in=workflows, cancelled_at__isnull=False)
    return set(found.values_list("pk", flat=True)) if workflows else set()


def _fill(ids: Sequence[int], using: str) -> None:
    """Give jobs the arguments that are other jobs' results."""
    if is_postgresql(connections[using]):
        rows.fill(ids, using)
        return
    for some in chunks(ids, FILLED):
        inputs: dict[int, dict[str, Any]] = {}
        for each in NodeInput.objects.using(using).filter(job_id__in=some):
            inputs.setdefault(each.job_id, {})[each.field] = each.data
        payloads = list(JobPayload.objects.using(using).filter(pk__in=inputs))
        for payload in payloads:
            payload.data = {**payload.data, **inputs[payload.pk]}
        JobPayload.objects.using(using).bulk_update(payloads, ["data"])
