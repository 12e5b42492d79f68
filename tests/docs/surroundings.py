"""What a page's examples take for granted: the reader's own models, job types, addresses. By the page's name."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import transaction
from django.urls import include, path
from django.utils import timezone

from handlers import CancellationToken, Job, handles, job_scheduler
from handlers.models import JobRecord

MODULE = "docs"  # where the job types of the examples are, as it seems


def job(_name: str, _returns: Any = None, **fields: Any) -> Any:
    """A job type with ``fields``: a hint each, or a hint and a default. Its handler gives way to one of the page."""
    known = [(name, *hint) if isinstance(hint, tuple) else (name, hint) for name, hint in fields.items()]
    made = make_dataclass(
        _name,
        [(name, hint, *(field(default=value) for value in rest)) for name, hint, *rest in known],
        bases=(Job,),
        frozen=True,
        namespace={"__module__": MODULE},
    )

    def handler(job: Any) -> Any: ...

    handler.__module__, handler.__qualname__ = MODULE, re.sub(r"(?<!^)(?=[A-Z])", "_", _name).lower()
    handler.__annotations__ = {"job": made, "return": _returns}
    handles(made)(handler)
    return made


def permissions() -> dict[str, Any]:
    return {"dataclass": dataclass}


def hooks() -> dict[str, Any]:
    return {
        "metrics": SimpleNamespace(increment=lambda name, **tags: None),
        "current_schema": str,
        "schema": nullcontext,
    }


def context() -> dict[str, Any]:
    receipt = job("SendReceipt", order_id=int)
    return {"SendReceipt": receipt, "handles": handles, "user": SimpleNamespace(get_username=lambda: "ann")}


def enqueueing() -> dict[str, Any]:
    page, words = SimpleNamespace(pk=1), job("CountWords")
    return {
        "CheckPayment": job("CheckPayment", order_id=int),
        "SendReceipt": job("SendReceipt", order_id=int),
        "CloseShop": job("CloseShop"),
        "Index": job("Index", page_id=int),
        "Reindex": job("Reindex", page_id=int),
        "PushNotification": job("PushNotification", user_id=int, text=str),
        "ResetPassword": job("ResetPassword", user_id=int),
        "SyncShop": job("SyncShop", shop_id=int, deep=(bool, False)),
        "CountWords": words,
        "handles": handles,
        "JobRecord": JobRecord,
        "order": page,
        "page": page,
        "user": page,
        "changed": [1, 2],
        "tonight": timezone.now() + timedelta(hours=8),
        "tomorrow": timezone.now() + timedelta(days=1),
        "job_id": job_scheduler.enqueue(words()),
    }


def handlers() -> dict[str, Any]:
    return {"ask_for_approval": lambda order, cents: None, "pay": lambda order, cents: "paid"}


def install() -> dict[str, Any]:
    return {"INSTALLED_APPS": [], "urlpatterns": [], "path": path, "include": include}


def limits() -> dict[str, Any]:
    return {
        "ChargeCard": job("ChargeCard", tenant_id=int),
        "job_scheduler": job_scheduler,
        "user": get_user_model()(username="vera"),
    }


def api() -> dict[str, Any]:
    return {"path": path, "include": include}


def metrics() -> dict[str, Any]:
    return {"path": path, "include": include, "os": SimpleNamespace(environ=defaultdict(str))}


def recurring() -> dict[str, Any]:
    now, report = datetime.now(tz=UTC), job("SendReport")
    job_scheduler.add_or_update_recurring("nightly report", report(), "30 6 * * *")  # as a scheduler does at its start
    return {
        "SendReport": report,
        "WatchStock": job("WatchStock", below=int),
        "SendInvoice": job("SendInvoice", customer_id=int),
        "customer": SimpleNamespace(pk=7, timezone="Europe/Berlin"),
        "job_scheduler": job_scheduler,
        "monday": now + timedelta(days=3),
        "start": now - timedelta(days=2),
        "end": now,
    }


def tasks() -> dict[str, Any]:
    return {"tonight": timezone.now() + timedelta(hours=8), "timedelta": timedelta}


def tutorial() -> dict[str, Any]:
    return {
        "dataclass": dataclass,
        "CancellationToken": CancellationToken,
        "Job": Job,
        "handles": handles,
    }


def workers() -> dict[str, Any]:
    return {
        "CheckPayment": job("CheckPayment", order_id=int),
        "Order": SimpleNamespace,
        "handles": handles,
        "sync_to_async": sync_to_async,
        "timedelta": timedelta,
        "transaction": transaction,
    }


def workflows() -> dict[str, Any]:
    stock = job("ReserveStock", order_id=int)
    return {
        "ReserveStock": stock,
        "ChargeCard": job("ChargeCard", int, order_id=int),
        "SendReceipt": job("SendReceipt", order_id=int, charge_id=(int, 0)),
        "job_id": job_scheduler.enqueue(stock(7)),
        "TellSupport": job("TellSupport", order_id=int),
        "CloseOrder": job("CloseOrder", order_id=int),
        "NextPage": job("NextPage", number=int),
    }
