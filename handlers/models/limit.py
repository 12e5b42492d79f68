"""Limits at work: who has a slot, who waits for one, what started when, and what a person has set instead of the code.

Which limits there are the code says, with their values. A limit with a key has a row (``LimitKey``) for each of its
values: who gives or takes anything of it locks that row first. A limit without one has one such row.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept


class LimitKey(Kept):
    """A limit, or one of its keys: locked by whoever gives or takes its slots. Forgotten when nobody has or wants one.

    (A pair would do as the key of the other tables. A number makes their indexes half as large.)
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=64)
    key = models.CharField(max_length=200)  # the value as JSON, or its digest; empty: one for all
    # Whether some may wait, which whoever locks the row so knows without a look. (The default is the database's, too.)
    lined_up = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "jobs_limitkey"
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["name", "key"], name="jobs_limitkey_unique")]

    def __str__(self) -> str:
        return f"{self.name} {self.key}".rstrip()


class LimitSlot(Kept):
    """A slot that a job has, as long as it is enqueued or processing with this ``token``."""

    pk = models.CompositePrimaryKey("job_id", "key_id")
    job_id = models.BigIntegerField()
    key_id = models.BigIntegerField(db_index=True)  # 0: of no limit, for a job whose type has none any more
    token = models.CharField(max_length=16)
    taken_at = models.DateTimeField()
    counted = models.BooleanField(default=False)  # whether its start is among LimitStart

    class Meta:
        db_table = "jobs_limitslot"
        default_permissions = ()

    def __str__(self) -> str:
        return f"slot of job {self.job_id}"


class LimitWaiter(Kept):
    """A job that a worker came to when there was no slot for it: it is on no queue, and holds as its ``token`` does.

    It waits in the line of one limit, the first that has no room for it.
    """

    job_id = models.BigIntegerField(primary_key=True)
    token = models.CharField(max_length=16)
    key_id = models.BigIntegerField()
    rank = models.FloatField()  # as on its queue: see ``priorities.rank``
    since = models.DateTimeField()  # when it came to the line

    class Meta:
        db_table = "jobs_limitwaiter"
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["key_id", "rank", "job_id"], name="jobs_limit_line")]

    def __str__(self) -> str:
        return f"job {self.job_id} in line {self.key_id}"


class LimitStart(Kept):
    """Jobs of a limit with a rate that started from ``since`` to ``at``; kept as long as the rate looks back."""

    id = models.BigAutoField(primary_key=True)
    key_id = models.BigIntegerField()
    since = models.DateTimeField()
    at = models.DateTimeField()
    count = models.PositiveIntegerField()

    class Meta:
        db_table = "jobs_limitstart"
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["key_id", "at"], name="jobs_limit_starts")]

    def __str__(self) -> str:
        return f"{self.count} starts of {self.key_id}"


class LimitOverride(Kept):
    """What holds for a limit instead of the code's values, since a person has said so."""

    name = models.CharField(max_length=64, primary_key=True)
    concurrency = models.PositiveIntegerField(null=True)  # null: any number
    rate = models.CharField(max_length=20, blank=True, default="")  # as the code writes it; empty: none
    updated_at = models.DateTimeField()
    version = models.PositiveIntegerField(default=1)  # what an editing page saw

    class Meta:
        db_table = "jobs_limitoverride"
        verbose_name = gettext_lazy("limit")
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return self.name
