"""What people do to sagas: complete one that does not come to its end."""

from __future__ import annotations

from django.db import connections

from handlers import lifecycle
from handlers.audit import By, actor_name, audit
from handlers.events import rows as deliveries
from handlers.events.freeing import FREED, free
from handlers.events.rows import Taken
from handlers.failures import reason_text
from handlers.job_ids import job_ids
from handlers.models import Delivery, DeliveryState, SagaRecord, SagaTimeout, SagaTurn, TurnKind
from handlers.models.sql import database_now
from handlers.publishing import publish_on_commit
from handlers.writing import writing

VERBS = ("complete_saga",)
OVER = "its saga was completed by hand"


def complete_saga(saga_id: int, *, by: By = None, reason: str = "", expect: int | None = None) -> bool:
    """Let a saga be over, as its own ``self.complete()`` does: its timeouts are void, and later events are ignored.

    What it has sent goes on. ``expect``: how many turns it had when it was looked at. Whether it was open, and as
    expected.
    """
    alias, known = lifecycle.database(), job_ids([saga_id])
    connection = connections[alias]
    with writing(alias):
        # What has failed holds those after it. Locked first, as by everybody who brings it something.
        failed = Delivery.objects.using(alias).filter(saga_id__in=known, state=DeliveryState.FAILED)
        held = list(failed.values_list("pk", "subscriber", "stream"))
        names, streams = sorted({each[1] for each in held}), sorted({each[2] for each in held})
        locked = {each.id for each in deliveries.lock_streams(names, streams, FREED, using=alias)} if held else set()
        rows = SagaRecord.objects.using(alias).filter(pk__in=known, completed_at=None)
        rows = rows if expect is None else rows.filter(turns=expect)
        if (row := rows.select_for_update().first()) is None:  # SQLite passes the lock over
            return False
        over = [Taken(pk, DeliveryState.IGNORED, row.pk) for pk, *_ in held if pk in locked]
        now, actor = database_now(connection), actor_name(by)
        timeouts = SagaTimeout.objects.using(alias).filter(saga_id=row.pk)
        jobs = list(timeouts.values_list("job_id", flat=True))
        timeouts.delete()
        SagaRecord.objects.using(alias).filter(pk=row.pk).update(
            completed_at=now, completed_by=actor, touched_at=now, turns=row.turns + 1, stuck_at=None, error="",
            failed_at=None, unreadable="",
        )  # fmt: skip
        SagaTurn.objects.using(alias).create(
            saga_id=row.pk, at=now, kind=TurnKind.PERSON, asked=[{"do": "complete"}], before=row.data, after=row.data,
            actor=actor, reason=reason_text(reason),
        )  # fmt: skip
        applied = lifecycle.delete(jobs, actor=actor, reason=OVER)
        audit(by, "complete_saga", f"saga {row.pk}", 1, reason, None)
        publish_on_commit([], using=alias, stale=applied.stale)
        deliveries.keep(over, using=alias)
        free(names, streams, using=alias)
    return True
