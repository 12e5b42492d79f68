"""Sending a notice: by mail, or to a webhook, signed as the Standard Webhooks specification has it (v1, symmetric).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connections
from django.db.models import Q
from django.utils.translation import gettext, ngettext

from handlers import outbound
from handlers.conf import jobs_settings
from handlers.exceptions import GiveUp
from handlers.failures import class_path, clean
from handlers.lifecycle import database
from handlers.mail import sending_now
from handlers.models import AlertNotice, AlertRule
from handlers.models.sql import database_now

logger = logging.getLogger(__name__)

CLAIM = timedelta(minutes=1)  # whoever began to send it, and has not done so since, is gone
SECRET_PREFIX = "whsec_"  # noqa: S105 - how such secrets begin


class NotSent(Exception):
    """A notice could not be sent; says why, without the address that it was for."""


def deliver(notice_id: int) -> bool:
    """Send it, once; False: it was sent, another does it, or its rule is gone.

    Raises NotSent, to be tried again, and GiveUp, where that is of no use.
    """
    alias = database()
    rows = AlertNotice.objects.using(alias).filter(pk=notice_id, sent_at__isnull=True)
    now = database_now(connections[alias])
    free = Q(claimed_at__isnull=True) | Q(claimed_at__lt=now - CLAIM)
    if not rows.filter(free).update(claimed_at=now):
        return False
    notice = rows.get()
    rule = AlertRule.objects.using(alias).filter(pk=notice.rule_id).first()
    if rule is None:
        return False
    try:
        _CHANNELS[notice.channel](rule, notice)
    except Exception as error:  # noqa: BLE001 - whatever mail backends and the network raise
        why = _why(error)
        rows.update(claimed_at=None, error=why)
        raise (GiveUp if isinstance(error, outbound.Refused) else NotSent)(why) from None
    rows.update(sent_at=database_now(connections[alias]), error="")
    return True


def send_in_background(notice_ids: Sequence[int]) -> None:
    """Try each once, in a thread: whoever calls has other things to do."""
    threading.Thread(target=_send_all, args=(list(notice_ids),), name="alerts", daemon=True).start()


def new_secret() -> str:
    """One for a webhook."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """What goes into ``webhook-signature``: HMAC-SHA256 of ``id.timestamp.body``."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def link(path: str) -> str:
    """The whole address of a page of the console; empty where ``JOBS["CONSOLE_URL"]`` does not say where it is."""
    base = jobs_settings().console_url
    return f"{base.rstrip('/')}/{path}" if base else ""


def subject(event: dict[str, Any]) -> str:
    """What a mail's subject says."""
    incidents = event["incidents"]
    environment = getattr(settings, "CONSOLE_ENVIRONMENT", "")
    first = incidents[0] if incidents else {"status": "test", "words": gettext("This is a test")}
    rest = len(incidents) + event["more"] - 1
    more = ngettext(" and %(count)d more", " and %(count)d more", rest) % {"count": rest} if rest > 0 else ""
    text = f"{f'[{environment}] ' if environment else ''}{first['status'].capitalize()}: {first['words']}{more}"
    return " ".join(text.split())[:200]


def text(event: dict[str, Any]) -> str:
    """What a mail says."""
    lines = [gettext("Alert rule: %s") % event["rule"], ""]
    if not event["incidents"]:
        lines.append(gettext("This is a test: what this rule finds will come here."))
    for incident in event["incidents"]:
        lines.append(f"{incident['status'].upper()}  {incident['words']}")
        lines.append(gettext("    since %s") % _moment(incident["began_at"]))
        if incident["ended_at"]:
            lines.append(gettext("    until %s") % _moment(incident["ended_at"]))
        if url := link(incident["path"]):
            lines.append(f"    {url}")
        lines.append("")
    if event["more"]:
        lines.append(gettext("… and %d more.") % event["more"])
    if url := link("alerts/"):
        lines += ["", gettext("Mute or change it: %s") % url]
    return "\n".join(lines)


def _mail(rule: AlertRule, notice: AlertNotice) -> None:
    headers = {"Auto-Submitted": "auto-generated", "X-Jobs-Alert": str(notice.pk)}
    message = EmailMessage(subject(notice.event), text(notice.event), to=rule.emails, headers=headers)
    with sending_now():  # where the site mails through jobs: this is one, or there is nobody to run one
        message.send()


def _webhook(rule: AlertRule, notice: AlertNotice) -> None:
    incidents = [{**incident, "url": link(incident["path"])} for incident in notice.event["incidents"]]
    body = json.dumps({"type": "jobs.alert", **notice.event, "incidents": incidents}).encode()
    message_id, at = f"alert_{notice.pk}", int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "jobsite-alerts",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(rule.webhook_secret, message_id, at, body),
    }
    outbound.call(rule.webhook_url, body, headers)


_CHANNELS = {"email": _mail, "webhook": _webhook}


def _send_all(notice_ids: list[int]) -> None:
    try:
        for notice_id in notice_ids:
            try:
                deliver(notice_id)
            except (NotSent, GiveUp) as error:
                logger.warning("alert notice %d was not sent: %s", notice_id, error)
    except Exception:
        logger.exception("alert notices could not be sent")
    finally:
        connections.close_all()


def _why(error: Exception) -> str:
    """In a line that names no address: those of people are theirs, and a webhook's may hold its key."""
    code = getattr(error, "code", None)
    if isinstance(code, int):
        return f"the webhook answered {code}"
    if isinstance(error, outbound.Refused):
        return "the address is inside this server's own network, which is not allowed"
    reason = getattr(error, "reason", None)
    inner = reason if isinstance(reason, Exception) else error
    if isinstance(inner, TimeoutError):
        return f"no answer within {outbound.TIMEOUT_SECONDS:g} s"
    return clean(f"not reached: {class_path(inner).rpartition('.')[2]}", 300)


def _moment(text_of: str) -> str:
    return f"{datetime.fromisoformat(text_of):%Y-%m-%d %H:%M:%S} UTC"
