"""The shop as a Django app; installed only when ``JOBSITE_DEMO`` is set."""

from __future__ import annotations

import logging
from http import HTTPStatus

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Label ``shop``: tables are ``shop_*``, job types ``shop.ReserveStock`` and so on."""

    name = "jobsite.demo"
    label = "shop"
    verbose_name = "Demo shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Keep the gateway's pretended refusals out of the site's log, where they would look like the site's errors."""
        logging.getLogger("django.request").addFilter(_is_not_pretended)


def _is_not_pretended(record: logging.LogRecord) -> bool:
    match = getattr(getattr(record, "request", None), "resolver_match", None)
    is_gateway = match is not None and match.view_name in {
        "shop:gateway-charge", "shop:gateway-void", "shop:gateway-refund", "shop:gateway-status",
    }  # fmt: skip
    return not is_gateway or getattr(record, "status_code", None) == HTTPStatus.INTERNAL_SERVER_ERROR
