"""The alert rules, the dashboard and the page about them name what is really exposed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from tests import promtool

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NAME = re.compile(r"\bjobs_[a-z_]+")
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}

pytestmark = [pytest.mark.django_db, pytest.mark.once, pytest.mark.usefixtures("noting")]


@pytest.fixture
def exposed(settings: Any) -> dict[str, list[str]]:
    """The families, each with the names of its series."""
    settings.JOBS = settings.JOBS | {"METRICS_LOOPBACK": True}
    text = Client().get("/metrics").content.decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) > 20
    return {family.name: [family.name + suffix for suffix in SUFFIXES[family.type]] for family in families}


def program() -> str:
    return promtool.find() or promtool.install() or pytest.skip("no promtool: apt install prometheus")


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_files_name_what_is_exposed(exposed: dict[str, list[str]], name: str) -> None:
    named = set(NAME.findall((FOLDER / name).read_text()))
    assert named
    assert named <= {series for family in exposed.values() for series in family}


def test_page_tells_of_each_metric_and_of_no_other(exposed: dict[str, list[str]]) -> None:
    told = set(NAME.findall(PAGE.read_text()))
    assert {family for family, series in exposed.items() if not told & {family, *series}} == set()
    assert told <= {*exposed, *(series for family in exposed.values() for series in family)}


def test_page_tells_of_each_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    assert [name for name in alerts if f"`{name}`" not in PAGE.read_text()] == []


def test_rules_are_what_prometheus_reads_and_fire_as_they_should() -> None:
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run([program(), *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_asks_in_promql(tmp_path: Path) -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    variables = {"$__rate_interval": "5m", "$queue": ".*", "$type": ".*"}
    rules = []
    for number, expr in enumerate(asked):
        for variable, text in variables.items():
            expr = expr.replace(variable, text)  # noqa: PLW2901
        rules.append({"record": f"panel:{number}", "expr": expr})
    # JSON is YAML, too.
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [program(), "check", "rules", "panels.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
