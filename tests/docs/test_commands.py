"""The commands that the documentation names: each is there, and takes the options that it is shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from django.apps import apps
from django.core import management
from django.core.management import BaseCommand, CommandError, find_commands, load_command_class

from tests.docs.pages import PAGES, ROOT, examples, spans

COMMAND = re.compile(r"manage\.py +([a-z_]+)([^#\n]*)")
MAKE = re.compile(r"^(?:[A-Z_]+=\S+ )*make ([a-z-]+)\b", re.MULTILINE)
PLACEHOLDER = re.compile(r"[|\[\]<>…]|\.\.\.|\b[A-Z]{3,}\b")  # what a reader fills in, or chooses from
DJANGO_RQ = {"rqworker", "rqstats", "rqscheduler", "rqenqueue", "rqsuspend", "rqresume"}

pytestmark = pytest.mark.once


def code(page: Path) -> str:
    """All that a reader may take for something to type."""
    blocks = [each.text.replace("\\\n", " ") for each in examples(page) if each.language != "python"]
    return "\n".join([*blocks, *spans(page)])


def commands(name: str) -> list[BaseCommand]:
    """All of this name: the project's own site has a ``run`` in the place of the engine's."""
    places = [("django.core", management.__path__[0])]
    places += [(app.name, str(Path(app.path) / "management")) for app in apps.get_app_configs()]
    return [load_command_class(app, name) for app, folder in places if name in find_commands(folder)]


def refusal(command: BaseCommand, name: str, words: list[str]) -> str:
    """What ``command`` says to ``words``; empty when it takes them."""
    try:
        command.create_parser("manage.py", name).parse_args(words)
    except CommandError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page: Path) -> None:
    for name, rest in COMMAND.findall(code(page)):
        if name in DJANGO_RQ:  # of a package that the site may not have installed as an app
            continue
        known = commands(name)
        assert known, f"{page.name}: there is no command {name!r}"
        words = shlex.split(re.split(r"&&|\|", rest)[0])
        if not words or PLACEHOLDER.search(rest):
            continue
        refused = [error for command in known if (error := refusal(command, name, words))]
        assert len(refused) < len(known), f"{page.name}: manage.py {name}{rest}: {refused}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(MAKE.findall(code(page))) <= targets
