"""The shop's side of the payment gateway: four calls over HTTP, each safe to repeat."""

from __future__ import annotations

import asyncio
import json
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from django.conf import settings

if TYPE_CHECKING:
    from aiohttp import ClientSession

TIMEOUT_SECONDS = 10.0
MANY_TIMEOUT_SECONDS = 30.0  # when hundreds ask at once
MAX_ANSWER_BYTES = 64 * 1024


class PaymentGatewayError(Exception):
    """The gateway gave no usable answer; whether the card was charged is unknown until the call is repeated."""


class CardDeclined(Exception):
    """The gateway will never charge this card."""


class PaymentVoided(Exception):
    """The payment was voided before it was made."""


def gateway_url() -> str:
    """Where the gateway is: the environment variable ``SHOP_GATEWAY_URL``, else this shop's own server."""
    configured = os.environ.get("SHOP_GATEWAY_URL", "").rstrip("/")
    return configured or f"http://127.0.0.1:{settings.PORT}/shop/gateway"


def charge(key: str, amount_cents: int, card: str) -> int:
    """Charge ``card`` once for ``key``, however often this is called; the payment's number.

    Raises CardDeclined, PaymentVoided, or PaymentGatewayError.
    """
    answer = _post("charge", {"key": key, "amount_cents": amount_cents, "card": card})
    try:
        return int(answer["id"])
    except (KeyError, TypeError, ValueError) as error:
        raise PaymentGatewayError("payment gateway answered without the payment's number") from error


def void(key: str) -> bool:
    """Make sure that ``key`` is never charged. False when it has been charged already. Raises PaymentGatewayError."""
    return _post("void", {"key": key}).get("status") == "voided"


def refund(key: str) -> None:
    """Give a charge back, once, however often this is called. Raises PaymentGatewayError."""
    _post("refund", {"key": key})


async def status(key: str) -> str:
    """What became of a payment: ``charged``, ``voided`` or ``unknown``. The gateway asks the bank, which takes seconds.

    Raises PaymentGatewayError.
    """
    from aiohttp import ClientSession, ClientTimeout  # not at the start of every process, a sixth of which it would be

    body = {"key": key}
    async with ClientSession(timeout=ClientTimeout(total=MANY_TIMEOUT_SECONDS)) as session:
        while "status" not in (answer := await _apost(session, "status", body)):
            try:
                body = {"ticket": answer["ticket"]}
                await asyncio.sleep(answer["wait_seconds"])
            except (KeyError, TypeError) as error:
                raise PaymentGatewayError("payment gateway answered neither a status nor when to ask again") from error
    return str(answer["status"])


async def _apost(session: ClientSession, action: str, body: dict[str, Any]) -> dict[str, Any]:
    from aiohttp import ClientError

    url = _url(action)
    try:
        async with session.post(url, json=body) as response:
            text = await response.read()
    except (ClientError, TimeoutError) as error:
        reason = str(error) or f"no answer within {MANY_TIMEOUT_SECONDS:g} s"
        raise PaymentGatewayError(f"payment gateway cannot be reached at {url}: {reason}") from error
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise _refusal(response.status)
    return _object(url, text)


def _url(action: str) -> str:
    url = f"{gateway_url()}/{action}"
    if not url.startswith(("http://", "https://")):
        raise PaymentGatewayError(f"SHOP_GATEWAY_URL must start with http:// or https://, not {url[:60]!r}")
    return url


def _post(action: str, body: dict[str, Any]) -> dict[str, Any]:
    url = _url(action)
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    opener = build_opener(ProxyHandler({}))  # no proxy: the gateway is on this machine, a proxy could not reach it
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            text = response.read(MAX_ANSWER_BYTES)
    except HTTPError as error:
        with error:
            # The status says it all; urllib's frames would only bury the caller's.
            raise _refusal(error.code) from None
    except OSError as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", error)
        raise PaymentGatewayError(f"payment gateway cannot be reached at {url}: {reason}") from error
    return _object(url, text)


def _object(url: str, text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise PaymentGatewayError(f"payment gateway at {url} answered something that is not JSON") from error
    if not isinstance(answer, dict):
        raise PaymentGatewayError(f"payment gateway at {url} answered {type(answer).__name__}, not an object")
    return answer


def _refusal(status: int) -> Exception:
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return CardDeclined("the card was declined")
    if status == HTTPStatus.CONFLICT:
        return PaymentVoided("the payment was voided")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return PaymentGatewayError("payment gateway answered 503: switch it on at /shop/")
    return PaymentGatewayError(f"payment gateway answered {status}")
