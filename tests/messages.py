"""``make messages``: the catalogs of translations, read from code and templates and compiled, without GNU gettext.

``--check`` writes nothing: it says what is out of date, missing or wrong, and its exit status is then 1.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = {  # with their plural forms, as Django's own catalogs have them
    "de": "nplurals=2; plural=(n != 1);",
    "fr": "nplurals=2; plural=(n > 1);",
}
KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "worded": None,
    "nworded": (1, 2),
}
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}")
ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)
HEADER = re.compile(rb'^"([A-Z][\w-]+): [^"]*"\n', re.MULTILINE)


class Domain(NamedTuple):
    """One catalog per language. ``sources``: folders, and what their files' names end with."""

    app: str
    name: str
    sources: tuple[tuple[str, str], ...]

    def path(self, language: str, ending: str = "po") -> Path:
        """Where the catalog lies."""
        return ROOT / self.app / "locale" / language / "LC_MESSAGES" / f"{self.name}.{ending}"


DOMAINS = (
    Domain("dashboard", "django", (("dashboard", ".py"), ("templates/dashboard", ".html"))),
    Domain("dashboard", "djangojs", (("dashboard/static", ".js"),)),
    Domain("handlers", "django", (("handlers", ".py"),)),
)


def main(arguments: Sequence[str]) -> int:
    """Write the catalogs, or with ``--check`` say what is wrong with them."""
    only_check, problems = "--check" in arguments, []
    for domain in DOMAINS:
        found = template(domain)
        for language in LANGUAGES:
            there = read(domain, language)
            made = updated(found, there, language)
            text, compiled = as_po(made), as_mo(made)
            if only_check:
                problems += wrong(domain, language, made, text, compiled)
                continue
            path = domain.path(language)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
            domain.path(language, "mo").write_bytes(compiled)
            left = sum(not is_translated(message) for message in made if message.id)
            print(f"{path.relative_to(ROOT)}: {len(made)} messages, {left} without a translation")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def template(domain: Domain) -> Catalog:
    """All messages of the sources."""
    catalog = Catalog()
    for folder, ending in domain.sources:
        for path in sorted((ROOT / folder).rglob(f"*{ending}")):
            place = str(path.relative_to(ROOT))
            for line, ids, comments, context in messages(path):
                catalog.add(ids, locations=[(place, line)], auto_comments=comments, context=context)
    return catalog


def messages(path: Path) -> Iterator[tuple[int, str | tuple[str, ...], list[str], str | None]]:
    """What one file wants translated: its line, the message, what is said to translators, its context."""
    text = path.read_text()
    if path.suffix == ".html":
        # One pair of parentheses around all of it: what templatize makes is indented as no Python is.
        text = f"({templatize(text)}\n)"
    method = "javascript" if path.suffix == ".js" else "python"
    yield from extract(method, io.BytesIO(text.encode()), KEYWORDS, ["Translators:"], strip_comment_tags=True)


def read(domain: Domain, language: str) -> Catalog:
    """The catalog as it is kept; an empty one where there is none yet."""
    path = domain.path(language)
    if not path.exists():
        return Catalog(locale=language, header_comment=f"# {domain.app} in another language: {language}.", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def updated(found: Catalog, there: Catalog, language: str) -> Catalog:
    """The messages of ``found``, with what ``there`` says of them. What has changed is to be translated anew."""
    made = Catalog(locale=language, header_comment=there.header_comment, fuzzy=False)
    made.mime_headers = [("Plural-Forms", LANGUAGES[language])]
    kept = {(message.context, singular(message)): message for message in there if message.id}
    for message in found:
        if not message.id:
            continue
        old = kept.get((message.context, singular(message)))
        is_same = old is not None and old.pluralizable == message.pluralizable
        places = sorted({(path, 0) for path, _line in message.locations})
        made.add(
            message.id,
            old.string if old is not None and is_same else None,
            locations=places,
            flags=(old.flags if old is not None else set()) & {"fuzzy"} | (message.flags - {"fuzzy"}),
            auto_comments=message.auto_comments,
            user_comments=old.user_comments if old is not None else (),
            context=message.context,
        )
    return made


def as_po(catalog: Catalog) -> bytes:
    """The text that is kept: no line numbers and no dates, which would change with each edit of the code."""
    out = io.BytesIO()
    write_po(out, catalog, width=120, include_lineno=False, sort_by_file=True, ignore_obsolete=True)
    head, end, messages = out.getvalue().partition(b"\n\n")  # a message may have lines that look like a header's
    return HEADER.sub(_kept, head + b"\n") + end[1:] + messages


def _kept(line: re.Match[bytes]) -> bytes:
    return line[0] if line[1] in {b"Plural-Forms", b"Content-Type", b"Content-Transfer-Encoding"} else b""


def as_mo(catalog: Catalog) -> bytes:
    """What Django reads."""
    with io.BytesIO(as_po(catalog)) as file:
        kept = read_po(file, locale=catalog.locale)
    kept.creation_date = kept.revision_date = ALWAYS  # else that of this moment
    out = io.BytesIO()
    write_mo(out, kept)
    return out.getvalue()


def singular(message: Message) -> str:
    """The message's id, without its plural."""
    return message.id if isinstance(message.id, str) else message.id[0]


def forms_of(message: Message) -> list[str]:
    """The message's words in the other language, one for each plural form."""
    said = message.string
    return [said] if isinstance(said, str) else [form or "" for form in said or [""]]


def is_translated(message: Message) -> bool:
    """Whether each form has its words, and nobody is in doubt of them."""
    return all(forms_of(message)) and not message.fuzzy


def wrong(domain: Domain, language: str, made: Catalog, text: bytes, compiled: bytes) -> list[str]:
    """What is to be mended in one catalog, in words."""
    path = domain.path(language)
    place = path.relative_to(ROOT)
    said = []
    if not path.exists() or path.read_bytes() != text:
        said.append(f"{place} is out of date: make messages writes it")
    elif not (kept := domain.path(language, "mo")).exists() or kept.read_bytes() != compiled:
        said.append(f"{place} was compiled before it was edited: make messages compiles it")
    for message in made:
        if message.id:
            said += [f"{place}: {singular(message)!r}: {what}" for what in doubts(message, made.num_plurals)]
    return said


def doubts(message: Message, forms: int) -> list[str]:
    """What is wrong with one translation."""
    if not is_translated(message):
        return ["is not translated, or in doubt (fuzzy)"]
    ids = [message.id] if isinstance(message.id, str) else list(message.id)
    strings = forms_of(message)
    said = []
    if len(ids) > 1 and len(strings) != forms:
        said.append(f"has {len(strings)} forms, and the language {forms}")
    edges = _edges(ids[0])
    for place, string in enumerate(strings):
        # The form for one may say "one" in words, as the English one does.
        fitting = [placeholders(ids[-1]), *([placeholders(ids[0])] if place == 0 else [])]
        if placeholders(string) not in fitting:
            said.append(f"its placeholders differ in {string!r}")
        if _edges(string) != edges:
            said.append(f"begins or ends otherwise in {string!r}")
    return said


def placeholders(text: str) -> list[str]:
    """Those of %-formatting and of braces."""
    return sorted(PLACEHOLDER.findall(text))


def _edges(text: str) -> tuple[bool, bool]:
    return text[:1].isspace(), text[-1:].isspace()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
