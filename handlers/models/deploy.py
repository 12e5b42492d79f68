"""When which version of the site's code came into use, as whoever deploys it says."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from handlers.models.kept import Kept


class Deploy(Kept):
    """A mark on the curves: from here on this version runs. A version that comes back is marked again."""

    id = models.BigAutoField(primary_key=True)
    version = models.CharField(max_length=64)
    at = models.DateTimeField()
    by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        db_table = "jobs_deploy"
        default_permissions = ()
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="jobs_deploy_at"),
            models.Index(fields=["version", "id"], name="jobs_deploy_version"),
        ]

    def __str__(self) -> str:
        return f"{self.version} at {self.at:%Y-%m-%d %H:%M}"
