"""Who holds a place among the few that may do something slow at once."""

from __future__ import annotations

from django.db import models

from handlers.models.kept import Kept


class Turn(Kept):
    """A place that is taken, by its name. Written by ``handlers.turns``; one that is past ``until`` is free."""

    name = models.CharField(max_length=200, primary_key=True)
    token = models.CharField(max_length=32)  # of whoever holds it
    holder = models.CharField(max_length=150)  # in words
    until = models.DateTimeField()

    class Meta:
        db_table = "jobs_turn"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"
