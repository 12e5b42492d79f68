"""What has to follow, and has not yet."""

from __future__ import annotations

from django.db import models

from handlers.models.kept import Kept


class WatchedMove(Kept):
    """Watched jobs that have moved: written with the move itself, and gone once what follows from it is done.

    Not of what only went on from where it waited for others: that is what follows.
    """

    jobs = models.JSONField()  # ids, a list: of those for which others wait
    limited = models.JSONField(default=list)  # and of those that have slots
    at = models.DateTimeField()

    class Meta:
        db_table = "jobs_watchedmove"
        default_permissions = ()

    def __str__(self) -> str:
        return f"move {self.pk}"
