"""The job that sends a mail: through which backend, and what its errors mean."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Collection
from email.utils import getaddresses
from typing import Any, NoReturn

from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from handlers.conf import jobs_settings
from handlers.exceptions import GiveUp
from handlers.mail import EmailBackend
from handlers.mail.messages import LISTS, SendEmail, unpack
from handlers.masking import MASK

SMTP = "django.core.mail.backends.smtp.EmailBackend"
OUTBOX = "django.core.mail.backends.locmem.EmailBackend"
PERMANENT = 500  # SMTP's codes from here on say that another try is of no use
# What the server says when it is met, or of a login, is about the server: others may be let in tomorrow.
OF_THE_SERVER = (smtplib.SMTPConnectError, smtplib.SMTPHeloError, smtplib.SMTPAuthenticationError)
ADDRESS = re.compile(r"""[^\s<>"',;:@]+@[^\s<>"',;:@]+""")


def send(job: SendEmail) -> None:
    """Send the mail. Raises GiveUp where the server has refused it for good, else what the backend raises."""
    try:
        message = unpack(job)
    except ValueError as error:
        raise GiveUp(f"the message cannot be read: {error}") from None
    backend = real_backend(job.through)
    try:
        backend.send_messages([message])
    except smtplib.SMTPRecipientsRefused as error:
        refusals = [_answer(code, text) for code, text in error.recipients.values()]
        _refused(refusals, job)
    except OF_THE_SERVER:
        raise
    except smtplib.SMTPResponseException as error:
        _refused([_answer(error.smtp_code, error.smtp_error)], job)
    except (ValueError, UnicodeError) as error:  # of an address or a header: the next attempt would say the same
        raise GiveUp(_without_addresses(f"{type(error).__name__}: {error}", job)) from None


def real_backend(through: str = "") -> Any:
    """The backend that really sends: the one that is ``through`` in MAILERS, else ``JOBS["EMAIL_BACKEND"]``.

    That is such an alias, too, or a dotted path. Django's SMTP backend where none is named; in tests, where Django puts
    ``mail.outbox`` in its place, that one. Raises ImproperlyConfigured.
    """
    name = through or jobs_settings().email_backend or (OUTBOX if hasattr(mail, "outbox") else SMTP)
    mailers: Any = getattr(mail, "mailers", {})
    # A path is the settings' alone: what stands in a job's arguments a person can edit.
    if name not in mailers and through:
        raise ImproperlyConfigured(f"{name!r} is no alias in MAILERS, through which this mail should be sent.")
    try:
        backend = mailers[name] if name in mailers else import_string(name)()
    except ImportError as error:
        also = " and is no alias in MAILERS" if mailers else ""
        raise ImproperlyConfigured(f"JOBS EMAIL_BACKEND: {name!r} cannot be imported{also}: {error}.") from None
    if isinstance(backend, EmailBackend):
        raise ImproperlyConfigured(
            f"JOBS EMAIL_BACKEND: {name!r} sends through jobs, again: name the backend that really sends."
        )
    return backend


def _answer(code: int, text: bytes | str) -> tuple[int, str]:
    said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return code, f"{code} {said}"


def _refused(answers: Collection[tuple[int, str]], job: SendEmail) -> NoReturn:
    """Raise what follows: where an answer is below 500, another try may do."""
    said = _without_addresses("; ".join(dict.fromkeys(text for _, text in answers)), job)
    if any(code < PERMANENT for code, _ in answers):
        raise smtplib.SMTPException(said) from None
    raise GiveUp(f"the mail server refused it: {said}") from None


def _without_addresses(text: str, job: SendEmail) -> str:
    """``text`` without the addresses in it, of which the job's arguments know only those with a name beside them."""
    written = [address for name in LISTS for address in getattr(job, name)]
    for _, address in getaddresses([*written, job.from_email]):
        if address:
            text = text.replace(address, MASK)
    return ADDRESS.sub(MASK, text)  # later Pythons find none in a list of which one is malformed
