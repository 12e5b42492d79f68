#!/usr/bin/env bash
# A form refuses what it has just shown: times in the autumn night, Django 5.2.19
#
# A model's form shows a time in the current zone, without an offset. In the night when the clocks are put back an hour
# comes twice, and what is shown of a time in it is ambiguous: sent back as it was, it is refused. So a row whose time
# lies there cannot be saved at all by an operator in that zone, whatever else of it is edited; and of a list that is
# edited as one, as by the admin's list_editable, no row can, because of one that nobody touched. Nothing is wrong with
# the rows: jobs that ran at that hour, every year again.
#
# Seen in America/New_York, each form sent back as it was shown but for another note:
#     at 04:30 UTC, shown as 2026-11-01 00:30:00: saved
#     at 05:30 UTC, shown as 2026-11-01 01:30:00: refused: at
#     at 06:30 UTC, shown as 2026-11-01 01:30:00: refused: at
#     at 07:30 UTC, shown as 2026-11-01 02:30:00: saved
#     a list of all four, the last one's note edited: saved 0
#
# Here times in forms are UTC, and say so: dashboard/kit/fields.py.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.19 tzdata==2026.6
"$work/venv/bin/python" -W ignore <<'PY'
from datetime import datetime, timezone

import django
from django.conf import settings

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": SQLITE}, USE_TZ=True, TIME_ZONE="America/New_York")
django.setup()

from django.db import connection, models
from django.forms import modelform_factory, modelformset_factory


class Job(models.Model):
    at = models.DateTimeField()
    note = models.CharField(max_length=20)

    class Meta:
        app_label = "queue"
        ordering = ["at"]


with connection.schema_editor() as editor:
    editor.create_model(Job)
JobForm = modelform_factory(Job, fields=["at", "note"])
JobForms = modelformset_factory(Job, fields=["at", "note"], extra=0)


def shown(form):
    """What a browser sends of the form if nothing is touched."""
    return {field.html_name: field.field.widget.format_value(field.value()) for field in form}


def outcome(job):
    form = JobForm({**shown(JobForm(instance=job)), "note": "edited"}, instance=job)
    if form.is_valid():
        form.save()
        return "saved"
    return f"refused: {', '.join(form.errors)}"


for hour in (4, 5, 6, 7):
    Job.objects.create(at=datetime(2026, 11, 1, hour, 30, tzinfo=timezone.utc), note="first")
found = []
for job in Job.objects.all():
    utc = job.at.astimezone(timezone.utc)
    found.append(outcome(job))
    print(f"at {utc:%H:%M %Z}, shown as {shown(JobForm(instance=job))['at']}: {found[-1]}")
forms = JobForms()
data = {name: value for form in [forms.management_form, *forms] for name, value in shown(form).items()}
forms = JobForms({**data, "form-3-note": "as a list"})
saved = len(forms.save()) if forms.is_valid() else 0
print("a list of all four, the last one's note edited: saved", saved)
assert found == ["saved", "refused: at", "refused: at", "saved"], "it behaves differently now"
assert saved == 0, "it behaves differently now"
PY
