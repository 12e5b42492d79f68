"""A site whose database is of a release with the labels ``jobs`` and ``dashboard``."""

from __future__ import annotations

from io import StringIO

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from handlers import job_scheduler
from handlers.models import JobRecord
from tests.app.jobs import Greet

pytestmark = pytest.mark.django_db


def applied(label: str) -> int:
    return MigrationRecorder(connection).migration_qs.filter(app=label).count()


def make_older() -> None:
    """What an earlier release left behind."""
    for old, new in (("jobs", "jobsite_jobs"), ("dashboard", "jobsite_dashboard")):
        MigrationRecorder(connection).migration_qs.filter(app=new).update(app=old)
    ContentType.objects.filter(app_label="jobsite_jobs").update(app_label="jobs")
    ContentType.objects.clear_cache()


def run(command: str, *args: str) -> str:
    said = StringIO()
    call_command(command, *args, stdout=said, stderr=said)
    return said.getvalue()


def test_migrate_names_the_command_which_keeps_tables_jobs_and_permissions() -> None:
    job_id, before = job_scheduler.enqueue(Greet("Ann")), (applied("jobsite_jobs"), applied("jobsite_dashboard"))
    retry = Permission.objects.get(codename="retry_jobrecord")
    group = Group.objects.create(name="Night shift")
    group.permissions.add(retry)
    make_older()
    with pytest.raises(SystemCheckError, match=r"jobs\.E013(.|\n)*manage\.py relabel_jobs"):
        call_command("migrate", plan=True, skip_checks=False)

    assert "rows relabelled" in run("relabel_jobs")

    assert "No planned migration operations" in run("migrate", "--plan")
    assert (applied("jobsite_jobs"), applied("jobsite_dashboard")) == before
    assert (applied("jobs"), applied("dashboard")) == (0, 0)
    assert JobRecord.objects.get().pk == job_id
    assert group.permissions.get().content_type == ContentType.objects.get_for_model(JobRecord)
    assert not ContentType.objects.filter(app_label="jobs").exists()
    assert "nothing to do" in run("relabel_jobs")


def test_content_types_that_a_process_made_too_early_are_in_nobodys_way() -> None:
    retry, group = Permission.objects.get(codename="retry_jobrecord"), Group.objects.create(name="Night shift")
    group.permissions.add(retry)
    make_older()
    early = ContentType.objects.get_for_model(JobRecord)
    Permission.objects.create(content_type=early, codename="retry_jobrecord", name="again")
    Permission.objects.create(content_type=early, codename="new_jobrecord", name="new")
    user = get_user_model()._default_manager.create(username="ann")
    entry = LogEntry.objects.create(user_id=user.pk, content_type=early, action_flag=2)

    assert "rows relabelled" in run("relabel_jobs")

    found = ContentType.objects.get(app_label="jobsite_jobs", model="jobrecord")
    assert group.permissions.get().content_type == found == retry.content_type
    assert Permission.objects.get(codename="new_jobrecord").content_type == found
    entry.refresh_from_db()
    assert entry.content_type == found
    assert not ContentType.objects.filter(app_label="jobs").exists()


def test_an_app_of_the_sites_own_called_jobs_keeps_what_is_its_own() -> None:
    MigrationRecorder(connection).record_applied("jobs", "0001_initial")
    MigrationRecorder(connection).record_applied("dashboard", "0001_initial")
    ContentType.objects.create(app_label="jobs", model="vacancy")

    assert "No planned migration operations" in run("migrate", "--plan")
    assert "nothing to do" in run("relabel_jobs")

    assert (applied("jobs"), applied("dashboard")) == (1, 1)
    assert ContentType.objects.filter(app_label="jobs", model="vacancy").exists()


def test_no_site_has_our_labels_or_tables_by_chance() -> None:
    labels = {apps.get_containing_app_config(name).label for name in ("handlers", "dashboard")}  # type: ignore[union-attr]
    assert labels == {"jobsite_jobs", "jobsite_dashboard"}
    tables = [model._meta.db_table for model in apps.get_app_config("jobsite_jobs").get_models()]
    assert [table for table in tables if not table.startswith("jobs_")] == []


def test_a_database_that_there_is_not_is_refused() -> None:
    with pytest.raises(CommandError, match="invalid choice"):
        run("relabel_jobs", "--database", "elsewhere")
