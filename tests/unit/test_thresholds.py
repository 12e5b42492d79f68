"""The times that tests put off."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

from handlers.rq_transport import slow_types
from tests.thresholds import NEVER_OVER, NEVER_SECONDS

ROOT = Path(__file__).parents[2]


def test_all_code_reads_them_in_their_module_so_that_one_patch_is_enough() -> None:
    copies = []
    for path in (path for folder in ("handlers", "dashboard", "jobsite") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                copies += [str(path) for each in node.names if f"{node.module}.{each.name}" in NEVER_OVER]
    assert copies == []


def test_no_function_keeps_one_as_its_default() -> None:
    kept = []
    for name in NEVER_OVER:
        module, _, constant = name.rpartition(".")
        tree = ast.parse(Path(str(import_module(module).__file__)).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.arguments):
                defaults = [each for each in (*node.defaults, *node.kw_defaults) if each is not None]
                kept += [name for each in defaults for at in ast.walk(each) if getattr(at, "id", "") == constant]
    assert kept == []


def test_none_is_over_in_a_test_that_does_not_ask_for_it() -> None:
    assert slow_types.SLOW_SECONDS == NEVER_SECONDS


@pytest.mark.usefixtures("usual_times")
def test_each_is_over_as_usual_in_a_test_that_does() -> None:
    assert slow_types.SLOW_SECONDS < 1
