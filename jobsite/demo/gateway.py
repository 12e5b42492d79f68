"""The pretend payment gateway, served beside the shop so that the shop's jobs have something real to call."""

from __future__ import annotations

import json
from time import sleep, time
from typing import Any

from django.core import signing
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from jobsite.demo.models import Card, Charge, GatewaySwitch

SLOW_SECONDS = 2.0
BANK_SECONDS, SLOW_BANK_SECONDS = 2.0, 6.0  # until the bank has answered what became of a payment
BANK = "shop.gateway.bank"  # what a ticket is good for
MAX_AMOUNT_CENTS = 100_000_000


@csrf_exempt  # called by programs, which hold no cookie; there is no session to ride on
@require_POST
def charge(request: HttpRequest) -> JsonResponse:
    """``{"key", "amount_cents", "card"}``: 200 charged (once per key), 402 declined, 409 voided, 503 not now."""
    if refusal := _misbehave():
        return refusal
    body = _body(request)
    key, amount = body.get("key"), body.get("amount_cents")
    if not _is_key(key) or type(amount) is not int or not 0 < amount <= MAX_AMOUNT_CENTS:
        return JsonResponse({"error": "key: 1 to 64 characters; amount_cents: a whole number above 0"}, status=400)
    if body.get("card") == Card.DECLINED:
        return JsonResponse({"error": "card declined"}, status=402)
    row, _ = Charge.objects.get_or_create(key=key, defaults={"status": Charge.Status.CHARGED, "amount_cents": amount})
    if row.status == Charge.Status.VOIDED:
        return JsonResponse({"error": "this payment was voided"}, status=409)
    if row.amount_cents != amount:
        return JsonResponse({"error": "this key was charged with another amount"}, status=400)
    return JsonResponse({"status": row.status, "id": row.pk})


@csrf_exempt
@require_POST
def void(request: HttpRequest) -> JsonResponse:
    """``{"key"}``: says ``voided``, and the key can never be charged; or ``charged``, when that came first."""
    if refusal := _misbehave():
        return refusal
    key = _body(request).get("key")
    if not _is_key(key):
        return JsonResponse({"error": "key must be 1 to 64 characters"}, status=400)
    row, _ = Charge.objects.get_or_create(key=key, defaults={"status": Charge.Status.VOIDED, "amount_cents": 0})
    return JsonResponse({"status": row.status, "id": row.pk})


@csrf_exempt
@require_POST
def refund(request: HttpRequest) -> JsonResponse:
    """``{"key"}``: gives a charge back, once: ``refunded``; 404 for a key that was never charged."""
    if refusal := _misbehave():
        return refusal
    key = _body(request).get("key")
    if not _is_key(key):
        return JsonResponse({"error": "key must be 1 to 64 characters"}, status=400)
    rows = Charge.objects.filter(key=key, status__in=(Charge.Status.CHARGED, Charge.Status.REFUNDED))
    if not rows.update(status=Charge.Status.REFUNDED):
        return JsonResponse({"error": "this key was not charged"}, status=404)
    return JsonResponse({"status": Charge.Status.REFUNDED})


@csrf_exempt
@require_POST
def status(request: HttpRequest) -> JsonResponse:
    """``{"key"}``: 202, because the bank is asked, with a ``ticket`` and the ``wait_seconds`` until it is good.

    ``{"ticket"}``: 202 and how long it still takes, or 200 and the ``status``: charged, voided or unknown; 503 not now.
    """
    switch = _called()
    if refusal := _refuse(switch):
        return refusal
    body = _body(request)
    if _is_key(key := body.get("key")):
        seconds = SLOW_BANK_SECONDS if switch.mode == GatewaySwitch.Mode.SLOW else BANK_SECONDS
        ticket = {"key": key, "ready_at": time() + seconds}
        return JsonResponse({"ticket": signing.dumps(ticket, salt=BANK), "wait_seconds": seconds}, status=202)
    try:
        ticket = signing.loads(str(body.get("ticket")), salt=BANK)
    except signing.BadSignature:
        return JsonResponse({"error": "key: 1 to 64 characters; or ticket: one that was given for a key"}, status=400)
    if (left := _seconds_left(ticket)) > 0:
        return JsonResponse({"ticket": body["ticket"], "wait_seconds": round(left, 3)}, status=202)
    row = Charge.objects.filter(key=ticket["key"]).first()
    return JsonResponse({"status": row.status if row else "unknown"})


def _seconds_left(ticket: dict[str, Any]) -> float:
    return float(ticket["ready_at"]) - time()


def _misbehave() -> JsonResponse | None:
    """Do what the switch says: wait, or answer 503."""
    switch = _called()
    if switch.mode == GatewaySwitch.Mode.SLOW:
        sleep(SLOW_SECONDS)
    return _refuse(switch)


def _called() -> GatewaySwitch:
    """The switch, which counts this call."""
    with transaction.atomic():
        # The UPDATE comes first: it takes the row's lock, so two calls never read the same number.
        if not GatewaySwitch.objects.filter(pk=1).update(calls=F("calls") + 1):
            GatewaySwitch.current()
        return GatewaySwitch.current()


def _refuse(switch: GatewaySwitch) -> JsonResponse | None:
    is_flaky_turn = switch.mode == GatewaySwitch.Mode.FLAKY and switch.calls % 2 == 1
    if switch.mode == GatewaySwitch.Mode.DOWN or is_flaky_turn:
        return JsonResponse({"error": f"the gateway is {switch.mode}"}, status=503)
    return None


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _is_key(key: object) -> bool:
    return isinstance(key, str) and 0 < len(key) <= 64 and key.isascii() and key.isprintable()
