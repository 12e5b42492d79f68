"""The engine as a Django app."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy

from handlers.conf import jobs_settings
from handlers.transport import Transport, get_transport, install_transport

CONSOLE = "dashboard"
HIDDEN = "jobs.E015"  # in SILENCED_SYSTEM_CHECKS: there is to be no console


class JobsConfig(AppConfig):
    """Label ``jobsite_jobs``, which no site has by chance: so begin permissions; tables are ``jobs_*``."""

    name = "handlers"
    label = "jobsite_jobs"
    verbose_name = gettext_lazy("Jobs")
    is_jobs_engine = True  # and no package of a site that has the name
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        """Refuse to start where the console is meant, and a package of the site's has its name and comes before it.

        A site whose own app it is, and which does without the console, silences that.
        """
        for other in apps.get_app_configs():
            is_hidden = other.name == CONSOLE and not getattr(other, "is_jobs_console", False)
            if is_hidden and HIDDEN not in settings.SILENCED_SYSTEM_CHECKS:
                raise ImproperlyConfigured(
                    f"INSTALLED_APPS: {CONSOLE!r} is the site's own package in {other.path}, which hides the jobs"
                    f" console of that name: rename it, or, to do without the console, add {HIDDEN!r} to"
                    " SILENCED_SYSTEM_CHECKS."
                )
        super().import_models()

    def ready(self) -> None:
        """Find every app's job types, then give the queues they name to RQ."""
        from django.db.backends.signals import connection_created

        from handlers import admission, checks, commands, events, following, given_ids, patience, pools, told_hooks  # noqa: F401 - to register checks, the engine's own commands, and what a fork needs
        from handlers.models.sessions import look_for_pooler
        from handlers.registry import autodiscover, registry
        from handlers.rq_transport.connections import configure_queues
        from handlers.rq_transport.messages import RQTransport
        from handlers.troubles import troubles

        troubles.write = told_hooks.write
        connection_created.connect(patience.heed_limits)  # first: the next one asks the server
        connection_created.connect(look_for_pooler)
        given_ids.watch(self)
        autodiscover()
        if _keeps_tasks():
            from handlers.tasks import discovery

            discovery.autodiscover()
        registry.find_with(_find_rq)
        registry.add_queues(_adopted_queues())
        configure_queues()
        install_transport(RQTransport())
        if jobs_settings().eager:
            _run_eagerly(is_eager=True)
        setting_changed.connect(_heed_eager)


_usual: Transport | None = None  # while jobs run eagerly, the one that they do without


def _heed_eager(*, setting: str, **_: object) -> None:
    """Receive ``setting_changed``: a test has set ``JOBS``."""
    if setting != "JOBS":
        return
    is_eager = False
    with suppress(ImproperlyConfigured):  # whoever needs them says so
        is_eager = jobs_settings().eager
    if is_eager != (_usual is not None):
        _run_eagerly(is_eager=is_eager)


def _run_eagerly(*, is_eager: bool) -> None:
    global _usual  # noqa: PLW0603
    if is_eager:
        from handlers.in_process.eager import EagerTransport

        _usual = get_transport()
        install_transport(EagerTransport())
    elif _usual is not None:
        install_transport(_usual)
        _usual = None


def _keeps_tasks() -> bool:
    """Whether a backend of Django's Tasks makes jobs of them; processes that have none load nothing of it."""
    configured: dict[str, dict[str, Any]] = getattr(settings, "TASKS", None) or {}
    for params in configured.values():
        path = str(params.get("BACKEND", ""))
        if not path.startswith(("django.tasks.", "django_tasks.")):
            with suppress(ImportError):  # Django says so, to whoever uses a task
                if any(base.__module__ == "handlers.tasks.backend" for base in import_string(path).__mro__):
                    return True
    return False


def _find_rq(name: str) -> None:
    """A function's type that a call of RQ's made: see ``handlers.adoption``."""
    if name.startswith("rq."):
        from handlers.adoption.calls import find

        find(name)


def _adopted_queues() -> list[str]:
    """The queues of RQ_QUEUES whose jobs are durable ones, by the site's settings."""
    from django.conf import settings

    from handlers.conf import QUEUE_NAME, SYSTEM_QUEUE

    of_all = getattr(settings, "RQ", {})
    classes = {
        name: str(config.get("QUEUE_CLASS", of_all.get("QUEUE_CLASS", "")))
        for name, config in (getattr(settings, "RQ_QUEUES", None) or {}).items()
    }
    if "adoption" in str(of_all.get("SCHEDULER_CLASS", "")):
        classes |= dict.fromkeys(classes, "adoption")
    return [
        name for name, of in classes.items() if "adoption" in of and QUEUE_NAME.fullmatch(name) and name != SYSTEM_QUEUE
    ]
