"""What is drawn once for all who are told the same: never for who is told something else."""

from __future__ import annotations

from typing import Any

import pytest
from django.template import Context
from django.test import Client
from django.utils import translation

from dashboard.kit.rendering import engine
from tests.console.test_navigation import nav_of


def drawn(**context: Any) -> str:
    return str(TEMPLATE.render(Context(context)))


TEMPLATE = engine().engine.from_string(
    "{% load console i18n %}{% drawfor a b|length %}{% translate 'Queues' %} {{ a }}{{ c }}{% enddrawfor %}"
)


def test_equal_values_are_drawn_once_and_others_anew() -> None:
    assert drawn(a="x", b=[1], c="first") == "Queues xfirst"
    assert drawn(a="x", b=[2], c="second") == "Queues xfirst"
    assert drawn(a="y", b=[2], c="second") == "Queues ysecond"
    assert drawn(a="x", b=[], c="third") == "Queues xthird"


def test_each_language_is_drawn_by_itself() -> None:
    assert drawn(a="z", b=[], c="") == "Queues z"
    with translation.override("fr"):
        assert drawn(a="z", b=[], c="") == "Files z"


def test_no_more_are_kept_than_so_many() -> None:
    template = engine().engine.from_string("{% load console %}{% drawfor a %}{{ a }}{% enddrawfor %}")
    node = template.nodelist[1]
    for number in range(node.MOST + 5):  # type: ignore[attr-defined]
        assert template.render(Context({"a": number})) == str(number)
    assert len(node.drawn) == 5  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_navigation_of_one_person_is_not_shown_to_another(superuser: Client, viewer: Client) -> None:
    for _ in range(2):
        assert "/admin/auth/user/" in nav_of(superuser, "/admin/queues/")
        assert "/admin/auth/user/" not in nav_of(viewer, "/admin/queues/")


@pytest.mark.django_db
def test_navigation_shows_ones_own_view_at_once_and_to_nobody_else(superuser: Client, viewer: Client) -> None:
    nav_of(superuser), nav_of(viewer)
    superuser.post("/admin/jobs/views/new/", {"name": "Mine alone", "query": "state=failed"})
    assert "Mine alone" in nav_of(superuser)
    assert "Mine alone" not in nav_of(viewer)
