"""The console as a Django app."""

from importlib import import_module

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured

NEEDED = ("handlers", "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes")


class DashboardConfig(AppConfig):
    """Pages over ``handlers``, and what people keep for themselves: ``path("admin/", include("dashboard.urls"))``."""

    name = "dashboard"
    label = "jobsite_dashboard"
    verbose_name = "Jobs console"
    is_jobs_console = True  # and no package of a site that has the name

    def import_models(self) -> None:
        """Refuse to start without what the console is built on; before the admin, once ready, imports its pages."""
        if missing := [name for name in NEEDED if not apps.is_installed(name)]:
            named = ", ".join(map(repr, missing))
            raise ImproperlyConfigured(f"INSTALLED_APPS: the console, 'dashboard', needs {named} beside it.")
        engine = next(config for config in apps.get_app_configs() if config.name == "handlers")
        if not getattr(engine, "is_jobs_engine", False):
            raise ImproperlyConfigured(
                f"INSTALLED_APPS: 'handlers' is the site's own module in {engine.path}, which hides the jobs engine of"
                " that name: rename it."
            )
        super().import_models()

    def ready(self) -> None:
        """Register the pages. Not left to the admin's autodiscovery, which a project with only this site turns off."""
        from handlers import given_ids

        given_ids.watch(self)
        import_module("dashboard.admin")
        import_module("dashboard.checks")
