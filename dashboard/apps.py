"""The console as a Django app."""

from importlib import import_module

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """No models of its own: pages over ``handlers``, mounted with ``path("admin/", dashboard.site.site.urls)``."""

    name = "dashboard"
    verbose_name = "Jobs console"

    def ready(self) -> None:
        """Register the pages. Not left to the admin's autodiscovery, which a project with only this site turns off."""
        import_module("dashboard.admin")
