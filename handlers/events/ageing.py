"""Events that all have had, and sagas that are complete, are erased as succeeded jobs are."""

from __future__ import annotations

from datetime import datetime

from django.db import connections
from django.db.models import Exists, OuterRef, Q

from handlers.lifecycle import database
from handlers.models import (
    UNTAKEN,
    Delivery,
    DeliveryState,
    EventRecord,
    SagaKey,
    SagaRecord,
    SagaTimeout,
    SagaTurn,
)
from handlers.models.sql import is_postgresql
from handlers.writing import writing

EVENTS, SAGAS, TURNS = 1_000, 200, 2_000  # of these at once


def forget(*, before: datetime) -> bool:
    """Erase some of what ended before ``before``; whether there may be more."""
    alias = database()
    return any([_forget_events(before, alias), _forget_sagas(before, alias)])


def _forget_events(before: datetime, alias: str) -> bool:
    """Oldest first, by their ids, until none of some is old: no index has their times, and most are young."""
    erased, last = 0, 0
    while erased < EVENTS:
        rows = EventRecord.objects.using(alias).filter(pk__gt=last).order_by("pk")
        some = list(rows.values_list("pk", "published_at")[:EVENTS])
        old = [pk for pk, published_at in some if published_at < before]
        if not old:
            return False
        last = some[-1][0]
        with writing(alias):
            kept = Q(state__in=UNTAKEN) | Q(taken_at__gte=before)
            awaited = set(
                Delivery.objects.using(alias).filter(kept, event_id__in=old).values_list("event_id", flat=True)
            )
            ids = [pk for pk in old if pk not in awaited]
            Delivery.objects.using(alias).filter(event_id__in=ids)._raw_delete(alias)
            EventRecord.objects.using(alias).filter(pk__in=ids)._raw_delete(alias)
        erased += len(ids)
    return True


def _forget_sagas(before: datetime, alias: str) -> bool:
    """Of some sagas so many turns as one transaction should erase; those that have none then are erased with them."""
    with writing(alias):
        rows = SagaRecord.objects.using(alias).filter(completed_at__lt=before).order_by("completed_at", "pk")
        if is_postgresql(connections[alias]):
            rows = rows.select_for_update(skip_locked=True)
        ids = list(rows.values_list("pk", flat=True)[:SAGAS])
        of_these = SagaTurn.objects.using(alias).filter(saga_id__in=ids).order_by("saga_id", "pk")
        turns = list(of_these.values_list("pk", "saga_id")[:TURNS])
        SagaTurn.objects.using(alias).filter(pk__in=[pk for pk, _ in turns])._raw_delete(alias)
        # The last of those whose turns there was room for may have more.
        done = ids if len(turns) < TURNS else [pk for pk in ids if pk < turns[-1][1]]
        for model in (SagaTimeout, SagaKey):
            model._default_manager.using(alias).filter(saga_id__in=done)._raw_delete(alias)
        SagaRecord.objects.using(alias).filter(pk__in=done)._raw_delete(alias)
    return _forget_keys(alias) or len(ids) == SAGAS or len(turns) == TURNS


def _forget_keys(alias: str) -> bool:
    """What stood for a saga that was to come, and does for nobody any more."""
    with writing(alias):
        early = Delivery.objects.using(alias).filter(
            subscriber=OuterRef("saga_type"), key=OuterRef("name"), value=OuterRef("value"), state=DeliveryState.EARLY
        )
        keys = SagaKey.objects.using(alias).filter(saga=None).exclude(Exists(early)).order_by("pk")
        if is_postgresql(connections[alias]):
            keys = keys.select_for_update(skip_locked=True)  # who has one is about to start, or to wait for it
        orphans = list(keys.values_list("pk", flat=True)[:EVENTS])
        SagaKey.objects.using(alias).filter(pk__in=orphans)._raw_delete(alias)
    return len(orphans) == EVENTS
