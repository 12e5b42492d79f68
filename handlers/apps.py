"""The engine as a Django app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Label ``jobs``: tables are ``jobs_*``, permissions ``jobs.*``."""

    name = "handlers"
    label = "jobs"
    verbose_name = "Jobs"
    default_auto_field = "django.db.models.BigAutoField"
