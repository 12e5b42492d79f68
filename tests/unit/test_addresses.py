"""Whose address a request has."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import RequestFactory

from handlers.addresses import client_address

PROXY = ["10.0.0.0/8", "2001:db8::/32", "unix"]


@pytest.mark.parametrize(
    ("trusted", "peer", "claimed", "address"),
    [
        ([], "10.0.0.1", "203.0.113.9", "10.0.0.1"),
        ([], "", "203.0.113.9", ""),
        (PROXY, "10.0.0.1", None, "10.0.0.1"),
        (PROXY, "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (PROXY, "", "203.0.113.9", "203.0.113.9"),
        (["10.0.0.0/8"], "", "203.0.113.9", ""),
        (PROXY, "203.0.113.9", "6.6.6.6", "203.0.113.9"),
        (PROXY, "10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (PROXY, "10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (PROXY, "10.0.0.1", "10.0.0.7", "10.0.0.7"),
        (PROXY, "10.0.0.1", "<script>", "10.0.0.1"),
        (PROXY, "10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        (PROXY, "2001:db8::1", "[2606:4700::9]:4711", "2606:4700::9"),
        (PROXY, "::ffff:10.0.0.1", "2606:4700::9", "2606:4700::9"),
    ],
)
def test_address_is_the_last_that_a_trusted_proxy_vouches_for(
    settings: Any, trusted: list[str], peer: str, claimed: str | None, address: str
) -> None:
    settings.CONSOLE_TRUSTED_PROXIES = trusted
    request = RequestFactory().get("/", headers={} if claimed is None else {"X-Forwarded-For": claimed})
    request.META["REMOTE_ADDR"] = peer
    assert client_address(request) == address


@pytest.mark.django_db
def test_check_names_a_proxy_that_is_none(settings: Any) -> None:
    settings.CONSOLE_TRUSTED_PROXIES = ["the proxy"]
    assert "dashboard.E002" in {message.id for message in run_checks()}
