"""Mail through jobs: ``EMAIL_BACKEND = "handlers.mail.EmailBackend"``, or the ``BACKEND`` of one of ``MAILERS``.

Each message is a job of the caller's transaction: it is sent if that commits and not otherwise, and tried again while
the mail server is away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import Error

from handlers import failure_log, lifecycle
from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob, JobsError
from handlers.gateway import job_scheduler
from handlers.mail.messages import TYPE_NAME, SendEmail, pack
from handlers.several import rename, tell_which
from handlers.writing import writing

__all__ = ["EmailBackend", "sending_now"]

_now: ContextVar[bool] = ContextVar("handlers_mail_now", default=False)


@contextmanager
def sending_now() -> Iterator[None]:
    """What is mailed in here is sent by the real backend, and by no job."""
    before = _now.set(True)
    try:
        yield
    finally:
        _now.reset(before)


class EmailBackend(BaseEmailBackend):
    """Enqueues each message; the job sends it through the real backend, ``JOBS["EMAIL_BACKEND"]``.

    ``through``: another real backend, by its alias in ``MAILERS`` (Django 6.1). ``queue``: default
    ``JOBS["EMAIL_QUEUE"]``. With ``fail_silently`` a message that cannot be enqueued is left out.
    """

    def __init__(
        self, fail_silently: bool = False, *, through: str = "", queue: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.fail_silently = fail_silently
        self._through, self._queue = through, queue

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Enqueue ``email_messages``, all or none; how many. One without recipients counts for nothing.

        Raises InvalidJob, naming the field, when one cannot be stored (it is too large, a part is of an unknown kind),
        ValueError for a header that no mail can have, and the database's errors.
        """
        if failure_log.telling.get() == TYPE_NAME:
            # Somebody mails errors, and this one says that a mail could not be sent: so it would go on for ever.
            return 0
        # With their places: who is told of one that cannot be stored knows it by that.
        wanted = [(place, each) for place, each in enumerate(email_messages or ()) if each.recipients()]
        if _now.get():
            from handlers.mail.sending import real_backend  # which knows this module

            return int(real_backend(self._through).send_messages([each for _, each in wanted]) or 0)
        if not self.fail_silently:
            return len(self._enqueue(wanted))
        sent = 0
        for one in wanted:
            # Django's own backends are silent about the server and not about headers.
            with suppress(JobsError, Error), writing(lifecycle.database()):
                sent += len(self._enqueue([one]))
        return sent

    def _enqueue(self, messages: Sequence[tuple[int, EmailMessage]]) -> list[int]:
        jobs: list[SendEmail] = []
        for place, message in messages:
            try:
                jobs.append(pack(message, through=self._through))
            except InvalidJob as error:
                tell_which(error, "messages", place)
                raise
        queue = self._queue or jobs_settings().email_queue or None
        try:
            return [*job_scheduler.enqueue_many(jobs, queue=queue)]
        except InvalidJob as error:
            several, number, *_ = *error.field.split("."), ""
            if several == "jobs":
                rename(error, f"jobs.{number}", f"messages.{messages[int(number)][0]}")
            raise
