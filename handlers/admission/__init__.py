"""Limited jobs: how many run at once, and how many start in a time.

A job of a type with limits is claimed only with a slot of each of them. A worker that comes to it takes those, all or
none, and claims it then. If one has no room the job waits in the line of that limit, off the queues
and without a slot. What jobs give back when they move is given to those who wait, in that very transaction, and these
are published. The life cycle knows none of this: a guard is added to its claims, and its moves are followed.
"""

from handlers import following
from handlers.admission.duties import LimitDuties, forget
from handlers.admission.giving import jobs_moved
from handlers.admission.limited_jobs import LIMITED, SLOTS
from handlers.admission.taking import claim
from handlers.lifecycle import guards

__all__ = ["LimitDuties", "claim", "forget"]

guards.add(LIMITED, "FALSE", proof=SLOTS)  # but by whoever has seen to its slots: see ``claim``
following.add(jobs_moved, following.LIMITED)
