"""The shop as a Django app; installed only when ``JOBSITE_DEMO`` is set."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Label ``shop``: tables are ``shop_*``, job types ``shop.ReserveStock`` and so on."""

    name = "jobsite.demo"
    label = "shop"
    verbose_name = "Demo shop"
    default_auto_field = "django.db.models.BigAutoField"
