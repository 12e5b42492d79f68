"""``manage.py jobs_openapi``: the OpenAPI document of the HTTP API, as the repository keeps it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    """Prints the document, for generators of clients that do not ask a running site."""

    help = "Print the OpenAPI 3.1 document of the HTTP API."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the API is."""
        parser.add_argument("--server", default="/api/v1", help="the path or URL of the API (/api/v1)")

    def handle(self, *, server: str, **_: Any) -> None:
        """Print it."""
        try:
            from handlers.api.document import as_text, document
            from handlers.api.site import api
        except ImportError as error:
            raise CommandError(f'The API needs django-ninja ({error}): pip install "jobsite[api]"') from error

        self.stdout.write(as_text(document(api, server)), ending="")
