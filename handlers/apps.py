"""The engine as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Label ``jobsite_jobs``, which no site has by chance: so begin permissions; tables are ``jobs_*``."""

    name = "handlers"
    label = "jobsite_jobs"
    verbose_name = "Jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Find every app's job types, then give the queues they name to RQ."""
        from django.db.backends.signals import connection_created

        from handlers import admission, checks, commands, following, patience, pools  # noqa: F401 - to register checks, the engine's own commands, and what a fork needs
        from handlers.models.sessions import look_for_pooler
        from handlers.registry import autodiscover
        from handlers.rq_transport.connections import configure_queues
        from handlers.rq_transport.messages import RQTransport
        from handlers.transport import install_transport

        connection_created.connect(patience.heed_limits)  # first: the next one asks the server
        connection_created.connect(look_for_pooler)
        autodiscover()
        configure_queues()
        install_transport(RQTransport())
