"""What ``make messages`` reads and refuses."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from tests import messages

TEMPLATE = """
{% load i18n %}
  <p title="{% translate "One" %}">{% blocktranslate trimmed with name=it.name %}
      Two of {{ name }},
    in one line
  {% endblocktranslate %}</p>
    <b>{% blocktranslate count number=3 %}{{ number }} job{% plural %}{{ number }} jobs{% endblocktranslate %}</b>
  {% if x == _("Three's") %}{% endif %}
"""
SCRIPT = 'const say = gettext("Four"); other(ngettext("%s job", "%s jobs", 3));'
CODE = (
    'worded("%(a)s: no", a=1), nworded("one", "%(count)s", 2), pgettext("verb", "Open"), _(\n    "in "\n    "parts"\n)'
)


@pytest.mark.once
def test_messages_are_read_from_templates_scripts_and_code(tmp_path: Path) -> None:
    found = {}
    for name, text in {"a.html": TEMPLATE, "b.js": SCRIPT, "c.py": CODE}.items():
        (tmp_path / name).write_text(text)
        found[name] = [message for _line, message, _comments, _context in messages.messages(tmp_path / name)]
    assert found == {
        "a.html": ["One", "Two of %(name)s, in one line", ("%(number)s job", "%(number)s jobs"), "Three's"],
        "b.js": ["Four", ("%s job", "%s jobs")],
        "c.py": ["%(a)s: no", ("one", "%(count)s"), "Open", "in parts"],
    }


@pytest.mark.once
@pytest.mark.parametrize(
    ("id", "string", "said"),
    [
        ("%(a)s of %(b)s", "von %(b)s %(a)s", ""),
        ("%(a)s of %(b)s", "%(a)s", "placeholders differ"),
        (("one job", "%(n)s jobs"), ("ein Job", "%(n)s Jobs"), ""),
        (("one job", "%(n)s jobs"), ("%(n)s Job", "ein Job"), "placeholders differ"),
        (("%(n)s job", "%(n)s jobs"), ("%(n)s Job",), "has 1 forms"),
        (" and", "und", "begins or ends otherwise"),
        ("Untold", "", "is not translated"),
    ],
)
def test_doubts_name_what_is_wrong(id: str, string: str, said: str) -> None:  # noqa: A002
    found = messages.doubts(Message(id, string), 2)
    assert found == [] if not said else said in found[0]


@pytest.mark.once
def test_changed_message_is_to_be_translated_anew() -> None:
    there = Catalog(locale="de")
    there.add("Old", "Alt")
    there.add("Same", "Gleich")
    found = Catalog()
    for each in ("New", "Same"):
        found.add(each)
    made = messages.updated(found, there, "de")
    assert {message.id: messages.is_translated(message) for message in made if message.id} == {
        "New": False,
        "Same": True,
    }


@pytest.mark.once
def test_message_that_looks_like_a_header_stays_whole() -> None:
    there = Catalog(locale="fr")
    long = f"Keys: {'search, ' * 20}retry."
    there.add(long, f"Touches: {'chercher, ' * 20}relancer.")
    with io.BytesIO(messages.as_po(there)) as file:
        assert [message.id for message in read_po(file, locale="fr") if message.id] == [long]
