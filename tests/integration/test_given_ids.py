"""An id that was given is not given again, whatever a migration does to the table."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import connection
from django.db.models import CharField, Field, Model
from django.utils import timezone

pytestmark = pytest.mark.django_db(transaction=True)


def _row(model: type[Model], field: str, text: str) -> Model:
    times = [name for name in ("at", "saved_at") if hasattr(model, name)]
    return model._default_manager.create(**{field: text}, **dict.fromkeys(times, timezone.now()))


def _make_anew(model: type[Model], name: str) -> None:
    """As a migration does that makes a field longer and one that makes it as it was."""
    field = model._meta.get_field(name)
    assert isinstance(field, CharField)
    longer: Field[Any, Any] = CharField(
        max_length=4 * (field.max_length or 1), unique=field.unique, default=field.default
    )
    longer.set_attributes_from_name(name)
    longer.model = model
    emit_pre_migrate_signal(verbosity=0, interactive=False, db=connection.alias)
    for old, new in ((field, longer), (longer, field)):
        with connection.schema_editor() as editor:
            editor.alter_field(model, old, new)
    emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)


@pytest.mark.parametrize("is_one_left", [False, True])
@pytest.mark.parametrize(
    ("label", "field"), [("jobsite_jobs.Deploy", "version"), ("jobsite_dashboard.SavedView", "name")]
)
def test_a_migration_gives_no_id_again(label: str, field: str, is_one_left: bool) -> None:
    model = apps.get_model(label)
    if is_one_left:
        _row(model, field, "left")
    last = _row(model, field, "last")
    given = last.pk
    last.delete()

    _make_anew(model, field)

    assert _row(model, field, "next").pk > given
