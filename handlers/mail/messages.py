"""A mail message as a job's arguments, and back: as it was made and not as it is sent, for every backend to read."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email import policy
from email.message import Message
from email.mime.base import MIMEBase
from email.parser import BytesParser
from email.utils import format_datetime, formatdate
from typing import Annotated, Any

import django
from django.conf import settings
from django.core.mail import (
    DNS_NAME,
    EmailAlternative,
    EmailAttachment,
    EmailMessage,
    EmailMultiAlternatives,
    make_msgid,
)

from handlers.conf import jobs_settings
from handlers.exceptions import InvalidJob
from handlers.payloads import Job
from handlers.sensitive import Sensitive

TYPE_NAME = "handlers.SendEmail"
LISTS = ("to", "cc", "bcc", "reply_to")
SUBTYPES = ("content_subtype", "mixed_subtype", "alternative_subtype")
KNOWN = {
    *LISTS, *SUBTYPES, "subject", "body", "from_email", "extra_headers", "attachments", "alternatives", "encoding",
    "connection", "anymail_status",
}  # fmt: skip  # the last is what a backend of django-anymail answers
# By which Django makes the MIME of a message: one that overrides any of them says what only its own code knows.
MAKING = ("message", "recipients", "_create_message", "_create_attachments", "_create_attachment", "_add_bodies")


@dataclass(frozen=True)
class Part:
    """An alternative or an attachment: text, or bytes in base64. ``is_mime``: with its own headers, as MIME has it."""

    mimetype: str | None = None
    filename: str | None = None
    text: str | None = None
    base64: str | None = None
    is_mime: bool = False


@dataclass(frozen=True)
class SendEmail(Job):
    """Send one mail. Whom it goes to and what it says is sensitive."""

    from_email: Annotated[str, Sensitive()]
    subject: Annotated[str, Sensitive()] = ""
    body: Annotated[str, Sensitive()] = ""
    to: Annotated[list[str], Sensitive()] = field(default_factory=list)
    cc: Annotated[list[str], Sensitive()] = field(default_factory=list)
    bcc: Annotated[list[str], Sensitive()] = field(default_factory=list)
    reply_to: Annotated[list[str], Sensitive()] = field(default_factory=list)
    headers: Annotated[dict[str, str], Sensitive()] = field(default_factory=dict)
    alternatives: Annotated[list[Part], Sensitive()] = field(default_factory=list)
    attachments: Annotated[list[Part], Sensitive()] = field(default_factory=list)
    has_alternatives: bool = False  # whether it is an EmailMultiAlternatives
    subtypes: dict[str, str] = field(default_factory=dict)  # those that are not Django's
    encoding: str | None = None
    extra: Annotated[dict[str, Any], Sensitive()] = field(default_factory=dict)  # what other packages' backends read
    through: str = ""  # an alias in MAILERS; empty: JOBS EMAIL_BACKEND


def pack(message: EmailMessage, *, through: str = "") -> SendEmail:
    """``message`` as a job. It gets its Message-ID and its date now: sent twice, it is known as one.

    Raises InvalidJob for what cannot be stored, and ValueError for what no mail can have, as Django's backends do.
    """
    for name in MAKING:
        if getattr(type(message), name, None) not in (getattr(EmailMessage, name, None), _of_alternatives(name)):
            raise InvalidJob(
                f"e-mail: {type(message).__qualname__}.{name} makes a message that cannot be stored as a job: send it"
                " through the real backend, as in mail.get_connection('path.of.the.Backend')",
                field="message",
            )
    message.message()  # which refuses headers that would add others
    packed = SendEmail(
        from_email=str(message.from_email),
        subject=str(message.subject),
        body=str(message.body),
        **{name: [str(address) for address in getattr(message, name)] for name in LISTS},
        headers=_headers(message),
        alternatives=[_part("alternatives", None, *each) for each in getattr(message, "alternatives", None) or ()],
        attachments=[_attachment(each) for each in message.attachments],
        has_alternatives=isinstance(message, EmailMultiAlternatives),
        subtypes=_subtypes(message),
        encoding=_encoding(message),
        extra=_extra(message),
        through=through,
    )
    _check_size(packed)
    return packed


def unpack(job: SendEmail) -> EmailMessage:
    """The message that was packed. Raises ValueError for what is no base64, as somebody may have edited it."""
    cls = EmailMultiAlternatives if job.has_alternatives else EmailMessage
    message = cls(job.subject, job.body, job.from_email)
    for name in LISTS:
        setattr(message, name, list(getattr(job, name)))
    message.extra_headers = dict(job.headers)
    message.attachments = [
        _mime(each) if each.is_mime else EmailAttachment(each.filename, _content(each), each.mimetype)  # type: ignore[arg-type] # Django takes None, too
        for each in job.attachments
    ]
    if isinstance(message, EmailMultiAlternatives):
        message.alternatives = [EmailAlternative(_content(each), each.mimetype) for each in job.alternatives]  # type: ignore[arg-type]
    if job.encoding is not None:
        message.encoding = job.encoding
    for name, value in (*job.subtypes.items(), *job.extra.items()):
        setattr(message, name, value)
    return message


def _of_alternatives(name: str) -> Any:
    return getattr(EmailMultiAlternatives, name, None)


def _headers(message: EmailMessage) -> dict[str, str]:
    headers = {
        str(name): format_datetime(value) if isinstance(value, datetime) else str(value)
        for name, value in message.extra_headers.items()
    }
    there = {name.lower() for name in headers}
    if "date" not in there:
        headers["Date"] = formatdate(localtime=settings.EMAIL_USE_LOCALTIME)
    if "message-id" not in there:
        headers["Message-ID"] = make_msgid(domain=str(DNS_NAME))
    return headers


def _subtypes(message: EmailMessage) -> dict[str, str]:
    return {
        name: str(value)
        for name in SUBTYPES
        if (value := getattr(message, name, None)) is not None and value != _of_alternatives(name)
    }


def _encoding(message: EmailMessage) -> str | None:
    encoding: object = message.encoding
    if encoding is None or isinstance(encoding, str):
        return encoding
    raise InvalidJob(f"e-mail: encoding: must be a name, such as 'utf-8', not {encoding!r}", field="encoding")


def _extra(message: EmailMessage) -> dict[str, Any]:
    """What others have set on the message, such as the tags of django-anymail."""
    extra = {}
    for name, value in vars(message).items():
        # A class stands for "not set" there.
        if name in KNOWN or name.startswith("_") or isinstance(value, type):
            continue
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError, RecursionError):
            same = False
        if not same:
            raise InvalidJob(
                f"e-mail: {name}: this attribute of the message is no JSON, so it cannot be stored: use plain types",
                field=name,
            )
        extra[name] = value
    return extra


def _attachment(attachment: Any) -> Part:
    if isinstance(attachment, Message):  # also what is not: a MIMEPart of Django 6, a MIMEBase before
        return Part(base64=_base64(attachment.as_bytes()), is_mime=True)
    filename, content, mimetype = (*attachment, None, None)[:3]
    return _part("attachments", filename, content, mimetype)


def _part(field_name: str, filename: Any, content: Any, mimetype: Any) -> Part:
    kind = (mimetype and str(mimetype), filename and str(filename))
    if isinstance(content, EmailMessage):
        content = content.message()
    if isinstance(content, Message):
        content = content.as_bytes()
    if isinstance(content, bytes | bytearray | memoryview):
        return Part(*kind, base64=_base64(bytes(content)))
    if isinstance(content, str) or hasattr(content, "__html__") or hasattr(content, "_proxy____args"):
        return Part(*kind, text=str(content))
    raise InvalidJob(
        f"e-mail: {field_name}: must be text or bytes, not {type(content).__qualname__}: read it first",
        field=field_name,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _content(part: Part) -> str | bytes:
    return part.text or "" if part.base64 is None else base64.b64decode(part.base64, validate=True)


def _check_size(packed: SendEmail) -> None:
    limit, size = jobs_settings().max_payload_bytes, _size(packed.attachments)
    if size > limit:
        raise InvalidJob(
            f"e-mail: attachments: they take {size:,} bytes in base64, more than a job's limit of {limit:,}: send a"
            " link instead, or raise JOBS['MAX_PAYLOAD_BYTES']",
            field="attachments",
        )


def _size(parts: Sequence[Part]) -> int:
    return sum(len(part.base64 or part.text or "") for part in parts)


if django.VERSION >= (6,):
    from email.message import MIMEPart

    def _mime(part: Part) -> Any:
        parser: Any = BytesParser(MIMEPart, policy=policy.default)
        return parser.parsebytes(base64.b64decode(part.base64 or "", validate=True))

else:

    class _Base(MIMEBase):
        """A MIMEBase, which Django asks for, as the parser makes its parts: empty."""

        def __init__(self, policy: Any = policy.compat32) -> None:
            Message.__init__(self, policy)

    def _mime(part: Part) -> Any:
        return BytesParser(_Base).parsebytes(base64.b64decode(part.base64 or "", validate=True))
