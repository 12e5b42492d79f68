"""What was done because a form was sent, so that the same form does it once."""

from __future__ import annotations

from django.db import models

from handlers.models.kept import Kept


class Act(Kept):
    """One act of a person under the key of the form that asked for it. Written by ``handlers.once``, kept for a day."""

    key = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(db_index=True)
    answer = models.CharField(max_length=200, default="")  # what came of it, for whoever sends the form again

    class Meta:
        db_table = "jobs_act"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.key}: {self.answer}"
