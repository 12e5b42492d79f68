"""What came is brought to its sagas: many deliveries in one transaction, each applied once and in its stream's order.

What is locked is locked in one order: the streams' deliveries, sagas by id, keys; so that two who do this at once wait
for each other and not each for each. A conflict that shows itself only when keys are written, as of two events that
start one saga, takes all of it back, and it is decided anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import DatabaseError

from handlers import lifecycle
from handlers.exceptions import JobsError
from handlers.sagas.round import Raced, Round, Want, is_conflict
from handlers.sagas.rows import Key
from handlers.sagas.types import SagaType
from handlers.writing import writing

TRIES = 20  # of what conflicts; each means that somebody else has got on
Outcome = BaseException | None  # that a job's attempt ends with


def deliver(saga_type: SagaType, wants: Sequence[Want]) -> dict[int, Outcome]:
    """Bring what jobs want to the sagas of this type; by each job's id, what its attempt ends with."""
    outcomes: dict[int, Outcome] = {}
    streams = len(wants)  # at most; where they are few, the first transaction finds that out
    while left := [want for want in wants if want.job_id not in outcomes]:
        try:
            found, goes_on, streams = _once(saga_type, left, streams)
        except (DatabaseError, JobsError) as error:
            if len(left) == 1:
                outcomes[left[0].job_id] = error
            else:  # one of them is what the database refuses, and the others must not fail for it
                for want in left:
                    outcomes |= deliver(saga_type, [want])
            break
        outcomes |= found
        if not goes_on:
            stuck = JobsError(f"{saga_type.name}: none of {len(left)} deliveries could be brought on")
            outcomes |= {want.job_id: stuck for want in left}
    return outcomes


def _once(saga_type: SagaType, wants: Sequence[Want], streams: int) -> tuple[dict[int, Outcome], bool, int]:
    """The outcomes of as many of ``wants`` as there is room for in one transaction, perhaps of none.

    And whether it has brought on anything: also those that others want, which come before ours. And how many streams
    there were.
    """
    using = lifecycle.database()
    taken: dict[Key, int | None] = {}
    for tries in range(TRIES):
        try:
            with writing(using):
                this = Round(saga_type, wants, taken, using, streams)
                return this.do(), bool(this.outcomes or this.over), this.streams
        except Raced as error:
            taken = error.taken
        except DatabaseError as error:
            if not is_conflict(error) or tries == TRIES - 1:
                raise
    raise JobsError(f"{saga_type.name}: others came first {TRIES} times")
