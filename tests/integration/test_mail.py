"""Mail through jobs: in the caller's transaction, whole, retried while it may help, and nobody's business."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from email.mime.image import MIMEImage
from typing import Any

import django
import pytest
from django.core import mail
from django.core.checks import run_checks
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.db import transaction
from django.utils.translation import gettext_lazy

from handlers import InvalidJob
from handlers.mail import EmailBackend
from handlers.mail.messages import SendEmail, pack, unpack
from handlers.masking import MASK, mask
from handlers.models import AttemptError, JobHistory, JobRecord
from handlers.registry import registry
from tests import smtp
from tests.running import drain, record, run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("noting", "through_jobs")]

OURS, SMTP = "handlers.mail.EmailBackend", "django.core.mail.backends.smtp.EmailBackend"
DUMMY = "django.core.mail.backends.dummy.EmailBackend"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
def through_jobs(settings: Any) -> None:
    """The site's mail goes through jobs."""
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": OURS}}
    else:
        settings.EMAIL_BACKEND = OURS


@pytest.fixture
def server(settings: Any) -> Iterator[smtp.Server]:
    """The mail server through which jobs send."""
    with smtp.running() as server:
        if django.VERSION >= (6, 1):
            options = {"host": "127.0.0.1", "port": server.port}
            settings.MAILERS = settings.MAILERS | {"smtp": {"BACKEND": SMTP, "OPTIONS": options}}
            settings.JOBS = settings.JOBS | {"EMAIL_BACKEND": "smtp"}
        else:
            settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
            settings.JOBS = settings.JOBS | {"EMAIL_BACKEND": SMTP}
        yield server


def send(**changes: Any) -> int:
    """Mail Ann; the job's id."""
    arguments: dict[str, Any] = {"subject": "Receipt", "body": "Thank you.", "to": ["Ann <ann@example.com>"]}
    assert EmailMessage(**arguments | changes).send() == 1
    return JobRecord.objects.latest("pk").pk


def plain(message: EmailMessage) -> list[tuple[str, str, Any]]:
    """Each part of a message as it is sent: its type, its file's name, its content."""
    parsed = message_from_bytes(message.message().as_bytes())
    parts = [part for part in parsed.walk() if not part.is_multipart()]
    return [(part.get_content_type(), part.get_filename() or "", part.get_payload(decode=True)) for part in parts]


def test_mail_is_sent_by_a_job_and_not_before(server: smtp.Server) -> None:
    sent = mail.send_mail("Hello", "Text", "shop@example.com", ["ann@example.com"], html_message="<p>Text</p>")
    assert (sent, server.mails) == (1, [])
    drain()
    ((recipients, body),) = server.mails
    parsed = message_from_bytes(body)
    assert recipients == ["ann@example.com"]
    assert [part.get_content_type() for part in parsed.walk()][1:] == ["text/plain", "text/html"]
    assert record(JobRecord.objects.get().pk).state == "succeeded"


def test_mail_belongs_to_the_callers_transaction() -> None:
    with transaction.atomic():
        send()
        transaction.set_rollback(True)
    assert not JobRecord.objects.exists()


def test_each_message_is_a_job_and_those_to_nobody_are_none() -> None:
    messages = [EmailMessage("a", "", to=["a@example.com"]), EmailMessage("b"), EmailMessage("c", cc=["c@example.com"])]
    assert EmailBackend().send_messages(messages) == 2
    assert drain() == list(JobRecord.objects.order_by("pk").values_list("pk", flat=True))
    assert [message.subject for message in mail.outbox] == ["a", "c"]


def test_message_arrives_as_it_was_made() -> None:
    made = EmailMultiAlternatives(
        gettext_lazy("Order"), "Grüße", "Shop <shop@example.com>", ["Änne <a@example.com>", "b@example.com"],
        bcc=["c@example.com"], cc=["d@example.com"], reply_to=["e@example.com"], headers={"X-Order": "7"},
    )  # fmt: skip
    made.attach_alternative("<b>Grüße</b>", "text/html")
    made.attach("rät.csv", "a;b\n", "text/csv")
    made.attach("picture.png", PNG, "image/png")
    made.attach("mail.eml", EmailMessage("inside", "in it", "x@example.com", ["y@example.com"]), "message/rfc822")
    if django.VERSION < (6,):
        inline = MIMEImage(PNG, "png")
        inline.add_header("Content-ID", "<logo>")
        made.attach(inline)
        made.mixed_subtype = "related"  # type: ignore[attr-defined]
    made.tags = ["receipt"]  # type: ignore[attr-defined]  # as django-anymail reads it
    assert made.send() == 1
    drain()
    (found,) = mail.outbox
    assert isinstance(found, EmailMultiAlternatives)
    assert plain(found) == plain(made)
    for name in ("subject", "from_email", "to", "cc", "bcc", "reply_to", "tags"):
        assert getattr(found, name) == getattr(made, name)
    headers: Message = found.message()
    assert headers["X-Order"] == "7"
    if django.VERSION < (6,):
        assert headers.get_content_subtype() == "related"
        assert [part["Content-ID"] for part in headers.walk() if part["Content-ID"]] == ["<logo>"]


def test_message_that_is_sent_twice_is_known_as_one() -> None:
    job = pack(EmailMessage("a", "b", "c@example.com", ["d@example.com"]))
    first, second = (unpack(job).message() for _ in range(2))
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]
    theirs = EmailMessage("a", "b", "c@example.com", ["d@example.com"], headers={"message-id": "<1@example.com>"})
    assert unpack(pack(theirs)).message().get_all("Message-ID") == ["<1@example.com>"]
    assert theirs.extra_headers == {"message-id": "<1@example.com>"}


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("RCPT", "450 4.2.1 <ann@example.com>: try again later"),
        ("DATA.", "452 full"),
        ("", "554 no mail here"),
        ("MAIL", "421 closing"),
    ],
)
def test_what_may_go_better_later_is_retried_by_policy(server: smtp.Server, command: str, answer: str) -> None:
    server.answers[command] = answer
    job_id = send()
    run(job_id)
    row = record(job_id)
    assert (row.state, row.failures) == ("scheduled", 1)
    server.answers.clear()
    JobRecord.objects.filter(pk=job_id).update(state="enqueued")
    drain()
    assert record(job_id).state == "succeeded"
    assert len(server.mails) == 1


def test_server_that_is_away_is_tried_again(server: smtp.Server, settings: Any) -> None:
    if django.VERSION >= (6, 1):
        settings.MAILERS = settings.MAILERS | {"smtp": {"BACKEND": SMTP, "OPTIONS": {"host": "127.0.0.1", "port": 1}}}
    else:
        settings.EMAIL_PORT = 1
    run(job_id := send())
    assert record(job_id).state == "scheduled"
    assert "ConnectionRefused" in record(job_id).error


@pytest.mark.parametrize(("command", "answer"), [("RCPT", "550 <ann@example.com>: unknown"), ("DATA.", "554 spam")])
def test_refusal_for_good_is_given_up(server: smtp.Server, command: str, answer: str) -> None:
    server.answers[command] = answer
    run(job_id := send())
    row = record(job_id)
    assert (row.state, row.failures) == ("failed", 1)
    assert answer.split(maxsplit=1)[0] in row.error
    told = [row.error, *AttemptError.objects.values_list("traceback", flat=True)]
    told += JobHistory.objects.filter(job=job_id).values_list("reason", flat=True)
    assert not any("ann@example.com" in text for text in told)


def test_address_that_cannot_be_written_is_given_up(server: smtp.Server) -> None:
    run(job_id := send(to=["ann@example.com>, <bob@example.com"]))
    assert record(job_id).state == "failed"
    assert "example.com" not in record(job_id).error


def test_addresses_and_text_are_masked() -> None:
    job_id = send(bcc=["bob@example.com"], attachments=[("secret.txt", "hidden", "text/plain")])
    shown = str(mask(registry.get("handlers.SendEmail"), record(job_id).payload))
    assert MASK in shown
    for hidden in ("ann", "bob", "example.com", "Receipt", "Thank", "hidden", "secret"):
        assert hidden not in shown


def test_attachments_beyond_the_limit_are_refused_in_words(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"MAX_PAYLOAD_BYTES": 10_000}
    with pytest.raises(InvalidJob, match=r"attachments: they take 13,336 bytes .* raise JOBS\['MAX_PAYLOAD_BYTES'\]"):
        send(attachments=[("a.bin", bytes(10_000), "application/octet-stream")])
    assert not JobRecord.objects.exists()


def test_header_that_would_add_another_is_the_callers_error() -> None:
    with pytest.raises(ValueError, match=r"header|linefeed|newline"):
        send(subject="a\nBcc: everybody@example.com")
    assert not JobRecord.objects.exists()


def test_attribute_that_is_no_json_is_refused() -> None:
    message = EmailMessage("a", to=["a@example.com"])
    message.when = object()  # type: ignore[attr-defined]
    with pytest.raises(InvalidJob, match="when"):
        message.send()


def test_class_that_makes_its_own_mime_is_refused() -> None:
    class Signed(EmailMessage):
        def message(self, **options: Any) -> Any:
            return super().message(**options)

    with pytest.raises(InvalidJob, match=r"Signed\.message makes"):
        Signed("a", to=["a@example.com"]).send()


def test_silent_caller_hears_of_nothing_and_the_rest_goes(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"MAX_PAYLOAD_BYTES": 10_000}
    large = EmailMessage("large", "x" * 20_000, to=["a@example.com"])
    with transaction.atomic():
        assert EmailBackend(fail_silently=True).send_messages([large, EmailMessage("b", to=["b@example.com"])]) == 1
    drain()
    assert [message.subject for message in mail.outbox] == ["b"]


def test_queue_can_be_chosen(settings: Any) -> None:
    settings.JOBS = settings.JOBS | {"EMAIL_QUEUE": "mail", "QUEUES": ["default", "mail", "slow"]}
    send()
    assert JobRecord.objects.latest("pk").queue == "mail"
    assert EmailBackend(queue="slow").send_messages([EmailMessage("a", to=["a@example.com"])]) == 1
    assert JobRecord.objects.latest("pk").queue == "slow"


def test_job_cannot_be_edited_to_import_something() -> None:
    assert EmailBackend(through=SMTP).send_messages([EmailMessage("a", to=["a@example.com"])]) == 1
    run(JobRecord.objects.latest("pk").pk)
    assert "is no alias in MAILERS" in JobRecord.objects.latest("pk").error


def test_log_that_mails_errors_does_not_go_on_for_ever(server: smtp.Server) -> None:
    class Mails(logging.Handler):
        def emit(self, line: logging.LogRecord) -> None:
            mail.send_mail("Error", line.getMessage(), "shop@example.com", ["admin@example.com"])

    server.answers["RCPT"] = "550 unknown"
    job_id, handler = send(), Mails(logging.ERROR)
    logging.getLogger("handlers.jobs").addHandler(handler)
    try:
        run(job_id)
    finally:
        logging.getLogger("handlers.jobs").removeHandler(handler)
    assert record(job_id).state == "failed"
    assert JobRecord.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, set() if django.VERSION < (6, 1) else {"jobs.E020"}),
        ({"EMAIL_BACKEND": DUMMY}, set()),
        ({"EMAIL_BACKEND": OURS}, {"jobs.E020"}),
        ({"EMAIL_BACKEND": "nowhere.Backend"}, {"jobs.E020"}),
        ({"EMAIL_BACKEND": DUMMY, "EMAIL_QUEUE": "unheard-of"}, {"jobs.E021"}),
        ({"EMAIL_BACKEND": 7}, {"jobs.E005"}),
    ],
)
def test_check_finds_a_backend_that_could_not_send(settings: Any, options: Any, found: set[str]) -> None:
    settings.JOBS = settings.JOBS | options
    assert {str(each.id) for each in run_checks() if str(each.id).startswith("jobs.")} == found


def test_payload_can_be_edited_and_read_again() -> None:
    job_type = registry.get("handlers.SendEmail")
    job_id = send()
    assert isinstance(job_type.decode(record(job_id).payload), SendEmail)
