"""The MCP server over the API, asked by the package's own client."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver.exceptions import ToolError
from pytest_django.live_server_helper import LiveServer

from handlers.api.agents import Api
from handlers.states import State
from tests.api.conftest import ROOT, Caller
from tests.console.factories import make_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


@pytest.fixture
def url(live_server: LiveServer) -> str:
    return f"{live_server.url}{ROOT}"


def ask(url: str, token: str, *calls: tuple[str, dict[str, Any]]) -> tuple[list[str], list[Any]]:
    """The names of the tools, and what each call answered."""
    command = StdioServerParameters(
        command=sys.executable,
        args=[str(settings.BASE_DIR / "manage.py"), "jobs_mcp"],
        env={**os.environ, "JOBS_API_URL": url, "JOBS_API_TOKEN": token, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )

    async def talk() -> tuple[list[str], list[Any]]:
        async with Client(command) as client:
            tools = await client.list_tools()
            assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.tools)
            return [tool.name for tool in tools.tools], [await client.call_tool(name, told) for name, told in calls]

    return anyio.run(talk)


def test_agent_finds_a_failed_job_and_reads_why(caller: Callable[..., Caller], url: str) -> None:
    job = make_job(State.FAILED)
    make_job(State.SUCCEEDED)
    token = caller("read").token
    assert token is not None
    names, answers = ask(
        url, token, ("search_jobs", {"q": "state:failed"}), ("show_job", {"job_id": job.pk}), ("queues", {}),
        ("stats", {}), ("failure_groups", {}), ("show_job", {"job_id": 999_999}), ("search_jobs", {"q": "colour:red"}),
    )  # fmt: skip
    assert names == ["search_jobs", "show_job", "failure_groups", "queues", "stats"]
    found, shown, queues, stats, groups, gone, wrong = answers
    assert [each["id"] for each in told(found)["jobs"]] == [job.pk]
    assert told(shown)["failed_attempts"][0]["exception"] == "httpx.ConnectError"
    assert "default" in [queue["name"] for queue in told(queues)["queues"]]
    assert told(stats)["states"]["failed"] == 1
    assert told(groups)["groups"] == []
    assert gone.is_error
    assert "no job 999999" in gone.content[0].text
    assert wrong.is_error
    assert "colour" in wrong.content[0].text


def told(answer: Any) -> Any:
    """What a tool answered."""
    assert not answer.is_error, answer
    return json.loads(answer.content[0].text)


def test_command_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS_API_TOKEN", raising=False)
    with pytest.raises(CommandError, match="JOBS_API_TOKEN"):
        call_command("jobs_mcp", url="https://jobs.example.com/api/v1")
    monkeypatch.setenv("JOBS_API_TOKEN", "jobs_x")
    with pytest.raises(CommandError, match="must begin with http"):
        call_command("jobs_mcp", url="file:///etc/passwd")


def test_token_that_no_header_can_hold_is_not_told() -> None:
    with pytest.raises(ValueError, match="no header can") as refused:
        Api("http://127.0.0.1:9/api/v1", "jobs_the\nsecret")
    assert "secret" not in str(refused.value)
    with pytest.raises(ToolError) as failed:  # what ends the line that a file was read from belongs to no token
        Api("http://127.0.0.1:9/api/v1", "jobs_the_secret\n").get("/stats")
    assert "secret" not in str(failed.value)
