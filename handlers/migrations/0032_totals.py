"""Counts for ever: what Prometheus reads. They begin with what the days have counted."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from handlers.models.count import BUCKET_FIELDS, EPOCH

SUMS = ["count", "seconds", *BUCKET_FIELDS]


def begin(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    counts = apps.get_model("jobsite_jobs", "JobCount").objects.using(schema_editor.connection.alias)
    # Named apart: what sums a field cannot have its name.
    sums = {f"sum_{name}": models.Sum(name) for name in SUMS}
    days = counts.filter(period="day", fingerprint="").exclude(queue="", job_type="")
    rows = days.order_by().values_list("queue", "job_type", "outcome").annotate(**sums)
    counts.bulk_create(
        [
            counts.model(
                period="total", at=EPOCH, queue=queue, job_type=job_type, outcome=outcome,
                **dict(zip(SUMS, values, strict=True)),
            )
            for queue, job_type, outcome, *values in rows
        ],
        batch_size=500,
    )  # fmt: skip


def end(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    counts = apps.get_model("jobsite_jobs", "JobCount").objects.using(schema_editor.connection.alias)
    counts.filter(period="total").delete()
    for name in ("JobCount", "JobCountDelta"):
        rows = apps.get_model("jobsite_jobs", name).objects.using(schema_editor.connection.alias)
        rows.filter(outcome__in=["lease_lost", "worker_lost", "republished"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("jobsite_jobs", "0031_api_clients"),
    ]

    operations = [
        migrations.AlterField(
            model_name="jobcount",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("created", "Created"),
                    ("started", "Started"),
                    ("succeeded", "Succeeded"),
                    ("failed", "Failed"),
                    ("retried", "Retried"),
                    ("handed_back", "Handed Back"),
                    ("dropped", "Dropped"),
                    ("deleted", "Deleted"),
                    ("revived", "Revived"),
                    ("lease_lost", "Lease Lost"),
                    ("worker_lost", "Worker Lost"),
                    ("republished", "Republished"),
                ],
                max_length=11,
            ),
        ),
        migrations.AlterField(
            model_name="jobcount",
            name="period",
            field=models.CharField(
                choices=[("minute", "Minute"), ("hour", "Hour"), ("day", "Day"), ("total", "Total")], max_length=6
            ),
        ),
        migrations.RunPython(begin, end, elidable=True),
    ]
