"""The console while the database server is stopped: it says which database is away, and is back with it."""

from __future__ import annotations

from contextlib import closing
from html import unescape
from http.client import HTTPConnection, HTTPResponse

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from tests import relay
from tests.servers import free_port, web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis, pytest.mark.postgresql]


def test_console_names_the_database_whose_server_is_stopped_and_is_back_with_it(child_env: dict[str, str]) -> None:
    operator = Client()
    operator.force_login(User.objects.create_user("olga", is_staff=True, is_superuser=True))
    cookie = f"{settings.SESSION_COOKIE_NAME}={operator.cookies[settings.SESSION_COOKIE_NAME].value}"
    server, port = free_port(), free_port()

    def ask(path: str) -> tuple[HTTPResponse, str]:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as asked:
            asked.request("GET", path, headers={"Cookie": cookie})
            answer = asked.getresponse()
            return answer, unescape(answer.read().decode())

    gunicorn = ("gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "2", "jobsite.wsgi")
    with relay.running(connection.settings_dict, server) as before:
        child_env["DATABASE_URL"] = before.url
        with web(*gunicorn, port=port, env=child_env):
            assert ask("/admin/")[0].status == 200
            before.close()
            for path in ("/admin/", "/admin/jobs/jobrecord/?state=failed"):
                answer, html = ask(path)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                assert "The database “default” did not answer" in html
                assert f'href="{path}">Try again' in html
                assert not [part for part in (str(server), str(connection.settings_dict["NAME"])) if part in html]
            with relay.running(connection.settings_dict, server):
                assert ask("/admin/")[0].status == 200
