from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat


def note_keys(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Orders that were placed before they were sagas are charged under a key of their own, and may have been already."""
    model: Any = apps.get_model("shop", "Order")  # as it was then
    orders = model.objects.using(schema_editor.connection.alias)
    key = Concat(Value("order-"), Cast("pk", CharField()))
    orders.filter(charge_key="", is_large=False).update(charge_key=key)


class Migration(migrations.Migration):
    dependencies = [
        ("shop", "0004_sagas"),
    ]

    operations = [
        migrations.RunPython(note_keys, migrations.RunPython.noop),
        migrations.RemoveField(model_name="order", name="is_large"),
        migrations.RemoveField(model_name="order", name="cancel_job_id"),
        migrations.AddField(model_name="order", name="charge_job_id", field=models.BigIntegerField(null=True)),
    ]
