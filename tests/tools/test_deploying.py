"""The files under deploy/: by the schemas of who reads them, and by what our commands and settings really take."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from django.core.management import get_commands, load_command_class

from tests.processes import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# Of what the files use, those that are of gunicorn, Python and the servers' images.
FOREIGN = {"FORWARDED_ALLOW_IPS", "PYTHONUNBUFFERED", "PATH", "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}

pytestmark = pytest.mark.once


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def manifests() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def containers() -> Iterator[dict[str, Any]]:
    for each in manifests():
        template = each.get("spec", {}).get("template")
        if template:
            yield from template["spec"]["containers"]


def commands() -> Iterator[list[str]]:
    """What is started, by each of the files."""
    yield from (service["command"] for service in compose()["services"].values() if "command" in service)
    yield from (container["args"] for container in containers() if "args" in container)
    for unit in UNITS:
        yield from (shlex.split(line) for line in re.findall(r"^Exec\w+=(.*)$", unit.read_text(), re.MULTILINE))
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    yield from (json.loads(line) for line in re.findall(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE))


def test_compose_reads_its_file() -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(compose(), schema)


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_reads_its_manifests(version: str) -> None:
    assert len(manifests()) == 8
    for each in manifests():
        kubernetes_validate.validate(each, version, strict=True)


def test_systemd_reads_its_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze") or pytest.fail("no systemd-analyze: apt install systemd")
    for unit in UNITS:
        # The one thing that is not on this machine.
        here = re.sub(r"/srv/jobsite/\.venv/bin/\w+", sys.executable, unit.read_text())
        (tmp_path / unit.name).write_text(here)
    units = [str(tmp_path / unit.name) for unit in UNITS]
    said = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if "jobs-" in line] == []
    assert said.returncode == 0


def test_what_they_start_is_there_and_takes_these_options() -> None:
    started = set()
    for command in commands():
        if "manage.py" in command:
            name, *options = command[command.index("manage.py") + 1 :]
            parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
            parser.parse_args(options)  # exits where it does not know one
            started.add(name)
        elif command[0].endswith("gunicorn"):
            _check_gunicorn(command[1:])
            started.add("gunicorn")
    assert started == {"worker", "scheduler", "migrate", "collectstatic", "gunicorn"}


def _check_gunicorn(options: list[str]) -> None:
    from gunicorn.config import Config  # type: ignore[import-untyped] # no hints

    found = Config().parser().parse_args(options)
    assert found.args == ["jobsite.wsgi"]


def test_they_set_only_what_the_docs_have() -> None:
    said = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE))
    used = set()
    for service in compose()["services"].values():
        used |= set(service.get("environment", {}))
    for unit in UNITS:
        used |= set(re.findall(r"\b([A-Z][A-Z_]+)=", unit.read_text()))
    used |= set(re.findall(r"\b([A-Z][A-Z_]+)=", (DEPLOY / "Dockerfile").read_text()))
    used |= {key for each in manifests() if each["kind"] == "ConfigMap" for key in each["data"]}
    assert {name for name in used if name.startswith(("JOBSITE_", "DJANGO_", "DATABASE_", "REDIS_"))} >= {
        "DATABASE_URL", "REDIS_URL", "DJANGO_SECRET_KEY", "DJANGO_ALLOWED_HOSTS", "JOBSITE_APPS", "JOBSITE_DATA",
    }  # fmt: skip
    ours = {name for name in used if re.match(r"(JOBSITE|DJANGO|DATABASE|REDIS)_", name)}
    assert ours - said == set()
    assert {name for name in used - ours if not name.startswith("PIP_")} <= FOREIGN


def test_what_the_image_copies_is_there_and_is_let_in() -> None:
    text, ignored = (DEPLOY / "Dockerfile").read_text(), (DEPLOY / "Dockerfile.dockerignore").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert set(copied) == {"requirements.txt", "manage.py", "handlers", "dashboard", "jobsite", "templates"}
    assert all((ROOT / name).exists() and f"!{name}" in ignored for name in copied)


def test_who_scales_asks_for_a_metric_that_there_is() -> None:
    from handlers.metrics import families

    scaled = [each for each in manifests() if each["kind"] == "HorizontalPodAutoscaler"]
    asked = [metric["external"]["metric"]["name"] for each in scaled for metric in each["spec"]["metrics"]]
    source = Path(families.__file__).read_text()
    assert asked == ["jobs_queue_oldest_wait_seconds"]
    assert "queue_oldest_wait_seconds" in source


def test_they_are_one_release() -> None:
    assert {container["image"] for container in containers()} == {"registry.example.com/jobsite:1"}
    probes = [
        container[probe]
        for container in containers()
        for probe in ("livenessProbe", "readinessProbe")
        if probe in container
    ]
    assert len(probes) == 6
