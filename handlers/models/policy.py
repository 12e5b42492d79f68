"""Retry policies that people edit at run time, and which job types they are assigned to."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy

from handlers.models.kept import Kept

BACKOFFS = [
    ("polynomial", gettext_lazy("Polynomial: 30 s, 46 s, 1 min 16 s, 2 min 36 s ...")),
    ("fixed", gettext_lazy("Fixed: always the same")),
    ("linear", gettext_lazy("Linear: grows by a step")),
    ("exponential", gettext_lazy("Exponential: multiplies")),
]


class StoredPolicy(Kept):
    """A named retry policy. Goes over the code's for the types assigned to it, except for which errors it retries."""

    name = models.CharField(max_length=60, unique=True)
    max_attempts = models.PositiveIntegerField(default=10)
    backoff = models.CharField(max_length=11, choices=BACKOFFS, default="polynomial")
    delay_seconds = models.FloatField(default=30)  # fixed: the delay; linear: the step; exponential: the base
    factor = models.FloatField(default=2)  # exponential
    max_delay_seconds = models.FloatField(null=True, blank=True)
    jitter = models.FloatField(default=0.2)
    on_exhausted = models.CharField(max_length=6, choices=[("fail", "Failed"), ("delete", "Deleted")], default="fail")
    updated_at = models.DateTimeField()
    version = models.PositiveIntegerField(default=1)  # what an editing page saw

    class Meta:
        db_table = "jobs_storedpolicy"
        verbose_name = gettext_lazy("retry policy")
        verbose_name_plural = gettext_lazy("retry policies")
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class PolicyAssignment(Kept):
    """The policy that a job type follows instead of the code's."""

    job_type = models.CharField(max_length=200, primary_key=True)  # the registered name, never an alias
    policy = models.ForeignKey(StoredPolicy, on_delete=models.CASCADE, related_name="assignments")

    class Meta:
        db_table = "jobs_policyassignment"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.job_type}: {self.policy_id}"
