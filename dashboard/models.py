"""What people of the console keep for themselves."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models, router
from django.utils.translation import gettext_lazy

from handlers.writing import writing


class OwnManager(models.Manager[Any]):
    """Reads where it is written: whoever has just saved something must find it, and a replica is behind."""

    def get_queryset(self) -> models.QuerySet[Any]:
        """Every row."""
        return super().get_queryset().using(self._db or router.db_for_write(self.model))

    def update_or_create(self, *args: Any, **options: Any) -> tuple[Any, bool]:
        """Django's, which reads before it writes."""
        with writing(self._db or router.db_for_write(self.model)):
            return super().update_or_create(*args, **options)


class SavedView(models.Model):
    """A filter of the job list that somebody gave a name. By the text of their key: accounts may be of any kind."""

    id = models.BigAutoField(primary_key=True)
    person = models.CharField(max_length=150)
    person_name = models.CharField(max_length=150)  # for those with whom it is shared, also when the account is gone
    name = models.CharField(max_length=60)
    query = models.TextField()  # of the list's address: times stay "the last hour", and people can read it
    is_shared = models.BooleanField(default=False)
    saved_at = models.DateTimeField()

    objects = OwnManager()

    class Meta:
        db_table = "jobs_savedview"
        verbose_name = gettext_lazy("saved view")
        default_permissions = ()
        permissions: ClassVar = [
            ("share_savedview", "Can share saved views"),
            ("delete_savedview", "Can remove saved views that others share"),
        ]
        constraints: ClassVar = [models.UniqueConstraint(fields=["person", "name"], name="jobs_view_of_person")]
        indexes: ClassVar = [
            models.Index(fields=["name"], condition=models.Q(is_shared=True), name="jobs_views_shared"),
        ]

    def __str__(self) -> str:
        return self.name


class Visit(models.Model):
    """When a person looked at the Overview. By the text of their key: accounts may be of any kind, anywhere."""

    person = models.CharField(max_length=150, primary_key=True)
    seen_at = models.DateTimeField()  # for the last time
    since_at = models.DateTimeField()  # and for the last time before they had been away: what is new came after

    objects = OwnManager()

    class Meta:
        db_table = "jobs_visit"
        default_permissions = ()

    def __str__(self) -> str:
        return f"visit of {self.person}"


class JobColumns(models.Model):
    """What a person wants to see in the job list. By the text of their key: accounts may be of any kind, anywhere."""

    person = models.CharField(max_length=150, primary_key=True)
    names = models.JSONField(default=list)

    objects = OwnManager()

    class Meta:
        db_table = "jobs_jobcolumns"
        default_permissions = ()

    def __str__(self) -> str:
        return f"columns of {self.person}"


class Preferences(models.Model):
    """How the console behaves for a person. By the text of their key: accounts may be of any kind, anywhere."""

    person = models.CharField(max_length=150, primary_key=True)
    single_keys = models.BooleanField(default=True)  # whether one key does something at once

    objects = OwnManager()

    class Meta:
        db_table = "jobs_preferences"
        default_permissions = ()

    def __str__(self) -> str:
        return f"preferences of {self.person}"


class RoleLimit(models.Model):
    """The jobs that a role reaches, where not all. By the group's number: groups may be kept in another database."""

    group = models.BigIntegerField(primary_key=True)
    queues = models.JSONField(default=list)  # names; none means all
    types = models.JSONField(default=list)  # the same

    objects = OwnManager()

    class Meta:
        db_table = "jobs_rolelimit"
        default_permissions = ()

    def __str__(self) -> str:
        return f"limit of group {self.group}"
