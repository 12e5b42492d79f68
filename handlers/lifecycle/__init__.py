"""The only writer of a job's state.

Each move is one guarded UPDATE (expected state and token) with its history rows in the same transaction, for a batch;
a single job is a batch of one. A row that did not move was moved by someone else first: that is an answer.

Every function here opens its own transaction (or a savepoint in the caller's) on the database that writes jobs, and
returns the messages that the transport must be told of *after* the commit.
"""

from handlers.lifecycle.claims import (
    Claim,
    bound_leases,
    claim,
    claims_of,
    crash,
    expire_leases,
    expire_unstarted,
    handed_back,
    held_by,
    left_behind,
    refused,
    renew,
    set_apart,
    still_enqueued,
    with_payload,
)
from handlers.lifecycle.columns import Beside
from handlers.lifecycle.counting import count
from handlers.lifecycle.creation import HolderId, JobId, NewJob, create, is_one_step, reserve
from handlers.lifecycle.due import Agenda, agenda, promote_due, release
from handlers.lifecycle.moves import Applied, Change, Failed, Move, Refusal, Refused, Step, apply
from handlers.lifecycle.retention import age_out, forget_keys, forget_workflows
from handlers.lifecycle.signalling import end_waits, signal
from handlers.lifecycle.verbs import (
    delete,
    delete_unstarted,
    move_to_queue,
    postpone,
    requeue,
    restore,
    retry,
    take_back,
)
from handlers.models.kept import database

__all__ = [
    "Agenda",
    "Applied",
    "Beside",
    "Change",
    "Claim",
    "Failed",
    "HolderId",
    "JobId",
    "Move",
    "NewJob",
    "Refusal",
    "Refused",
    "Step",
    "age_out",
    "agenda",
    "apply",
    "bound_leases",
    "claim",
    "claims_of",
    "count",
    "crash",
    "create",
    "database",
    "delete",
    "delete_unstarted",
    "end_waits",
    "expire_leases",
    "expire_unstarted",
    "forget_keys",
    "forget_workflows",
    "handed_back",
    "held_by",
    "is_one_step",
    "left_behind",
    "move_to_queue",
    "postpone",
    "promote_due",
    "refused",
    "release",
    "renew",
    "requeue",
    "reserve",
    "restore",
    "retry",
    "set_apart",
    "signal",
    "still_enqueued",
    "take_back",
    "with_payload",
]
