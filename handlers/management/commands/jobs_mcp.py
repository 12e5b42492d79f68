"""``manage.py jobs_mcp``: the read-only MCP server over the HTTP API, on stdin and stdout."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    """Serves until its stdin ends. Writes nothing else to stdout, which is the protocol's."""

    help = "Serve a read-only MCP server over the HTTP API, on stdin and stdout, for agents that help on call."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the API is. The token comes by the environment: a command line is seen by all of a host."""
        parser.add_argument(
            "--url", default=os.environ.get("JOBS_API_URL", ""), help="the API, ending in /api/v1 (JOBS_API_URL)"
        )

    def handle(self, *, url: str, **_: Any) -> None:
        """Serve."""
        try:
            from handlers.api.agents import Api, server
        except ImportError as error:
            raise CommandError(f'jobs_mcp needs the package mcp ({error}): pip install "jobsite[mcp]"') from error
        token = os.environ.get("JOBS_API_TOKEN", "")
        if not url or not token:
            raise CommandError("set JOBS_API_URL, such as https://jobs.example.com/api/v1, and JOBS_API_TOKEN")
        try:
            api = Api(url, token)
        except ValueError as error:
            raise CommandError(f"{error}") from error
        server(api).run("stdio")
