"""Models that are read where they are written, whatever the site's ``DATABASE_ROUTERS`` say of reading.

A replica is behind by some moments. Whoever has just started, moved or changed something would not find it there, and
would decide by what is no longer so.
"""

from __future__ import annotations

from typing import ClassVar, Self, TypeVar

from django.db import models, router


def database() -> str:
    """The alias of the database that jobs are written to, and all that hangs on them is read from."""
    from handlers.models.job import JobRecord

    return router.db_for_write(JobRecord)


T = TypeVar("T", bound=models.Model)


class KeptManager(models.Manager[T]):
    """Reads from there, unless another database is named."""

    def get_queryset(self) -> models.QuerySet[T]:
        """Every row."""
        return super().get_queryset().using(self._db or database())


class Kept(models.Model):
    """The base of each model. Related objects, and ``refresh_from_db``, go by it as well."""

    objects: ClassVar[KeptManager[Self]] = KeptManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"
