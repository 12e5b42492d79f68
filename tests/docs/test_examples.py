"""The examples of the documentation: each is run, a page's in their order, as one program."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from django.db import transaction
from django.test import TestCase

from handlers.registry import registry
from tests.docs import surroundings
from tests.docs.pages import PAGES, Example, examples

# Run by a test that does with them what their page says: in a project of its own, in processes, in a browser.
ELSEWHERE = {"testing.md": "tests/integration/test_testing_fixtures.py"}
WITH_PYTHON = [page for page in PAGES if any(each.language == "python" for each in examples(page))]


def python(page: Path) -> list[Example]:
    return [each for each in examples(page) if each.language == "python"]


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """The module that a page's examples are in. What they declare is forgotten after the test."""
    made = ModuleType(surroundings.MODULE)
    with pytest.MonkeyPatch.context() as patch, registry.isolated():
        for name in (surroundings.MODULE, "shop", "shop.jobs"):
            patch.setitem(sys.modules, name, made)
        if find_spec("django.tasks") is None:  # before Django 6 the package takes its place
            patch.setitem(sys.modules, "django.tasks", import_module("django_tasks"))
        yield made


@pytest.mark.django_db
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_examples_run(page: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction.atomic():
        modules = [module, *run(page, module, monkeypatch)]
        transaction.set_rollback(True)  # the page's own tests begin with no jobs
    for each in modules:
        run_tests(each)


def run(page: Path, module: ModuleType, patch: pytest.MonkeyPatch) -> list[ModuleType]:
    """The modules that are made beside ``module``: examples that are files of their own."""
    own: list[ModuleType] = []
    known = getattr(surroundings, page.stem.replace("-", "_").lower(), dict)
    vars(module).update(known())
    for example in python(page):
        # As many lines before it as on the page, so that a traceback has the page's own.
        code = compile("\n" * (example.line - 1) + example.text, str(page), "exec", dont_inherit=True)
        if example.not_run or page.name in ELSEWHERE:
            continue
        into = module
        if example.module:
            into = ModuleType(example.module)
            patch.setitem(sys.modules, example.module, into)
            own.append(into)
        try:
            exec(code, vars(into))  # noqa: S102 - our own pages
        except NameError as error:
            pytest.fail(
                f"{example.where}: {error}. Have the example define it, or tests/docs/surroundings.py, if any reader"
                " has such a thing; or mark what is no whole program: <!-- not run: why --> on the line before it."
            )
    return own


def run_tests(module: ModuleType) -> None:
    result = unittest.TestResult()
    for each in list(vars(module).values()):
        if isinstance(each, type) and issubclass(each, TestCase) and each.__module__ == module.__name__:
            unittest.defaultTestLoader.loadTestsFromTestCase(each).run(result)
    assert not [trace for _, trace in (*result.failures, *result.errors)]


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.once
def test_examples_that_run_elsewhere_have_their_test(name: str) -> None:
    root = PAGES[0].parent
    assert name in (root / ELSEWHERE[name]).read_text()
