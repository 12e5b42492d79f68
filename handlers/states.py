"""The states of a job and the moves between them. Pure: nothing here touches a clock or a database."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is. The value is what the database stores."""

    AWAITING = "awaiting"  # waits for a parent or a batch
    SCHEDULED = "scheduled"  # waits for its run_at; with failures > 0 it waits out a backoff ("Retrying")
    ENQUEUED = "enqueued"  # on a queue
    PROCESSING = "processing"  # claimed by a worker, under a lease
    WAITING = "waiting"  # its handler waits for a signal, and no worker has it
    SUCCEEDED = "succeeded"  # final; ages out
    FAILED = "failed"  # retries exhausted, excluded, gave up, or no handler; never ages out by itself
    DELETED = "deleted"  # final; ages out; can be restored for some minutes

    @property
    def label(self) -> str:
        """The state's name as people read it."""
        return self.value.capitalize()


S = State

# from -> to, with what causes it. Whatever is not here cannot happen.
TRANSITIONS: dict[State, dict[State, str]] = {
    S.AWAITING: {S.ENQUEUED: "the parent ended", S.SCHEDULED: "the parent ended", S.DELETED: "delete"},
    S.SCHEDULED: {S.ENQUEUED: "due, or run now", S.DELETED: "delete"},
    S.ENQUEUED: {S.PROCESSING: "claim", S.DELETED: "delete", S.FAILED: "no worker could run it for too long"},
    S.PROCESSING: {
        S.SUCCEEDED: "the handler returned",
        S.FAILED: "the attempt failed, or the worker was lost too often",
        S.ENQUEUED: "handed back, or the lease expired",
        S.SCHEDULED: "snoozed by its handler",
        S.WAITING: "its handler waits for a signal",
        S.DELETED: "delete, or the policy deletes what is exhausted",
    },
    S.WAITING: {S.ENQUEUED: "the signal came, or the wait timed out", S.DELETED: "delete"},
    S.FAILED: {S.ENQUEUED: "retry", S.SCHEDULED: "backoff after a failed attempt", S.DELETED: "delete, or exhausted"},
    S.SUCCEEDED: {S.ENQUEUED: "requeue"},
    S.DELETED: dict.fromkeys((S.AWAITING, S.SCHEDULED, S.ENQUEUED, S.WAITING, S.FAILED), "restore"),
}

# Where a job is again whose retry, requeue or "run now" is taken back before it began: from its queue, and only so.
TAKEN_BACK = frozenset({S.FAILED, S.SUCCEEDED, S.SCHEDULED})

FINAL = frozenset({S.SUCCEEDED, S.FAILED, S.DELETED})
ACTIVE = frozenset(S) - FINAL
UNSTARTED = frozenset({S.AWAITING, S.SCHEDULED, S.ENQUEUED})  # with no attempt: a failed one leads there, too
DELETABLE = frozenset(source for source, targets in TRANSITIONS.items() if S.DELETED in targets)
RETRYABLE = frozenset({S.FAILED, S.SCHEDULED})
MOVABLE = frozenset({S.AWAITING, S.SCHEDULED, S.ENQUEUED, S.WAITING, S.FAILED})  # to another queue, in the same state


def is_allowed(source: State, target: State) -> bool:
    """Whether a job may move from ``source`` to ``target``."""
    return target in TRANSITIONS[source]
