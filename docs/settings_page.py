"""docs/settings.md, made from the code as the site is built: what ``JOBS`` takes, and what checks say."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = Path(__file__).parent
CHECKS = ("handlers", "dashboard")
NOT_GUIDES = {"settings.md", "install.md", "changelog.md", "index.md"}
COMMENT = re.compile(r"^    (\w+): [^#\n]*#\s*(.+)$", re.MULTILINE)
CLASSES = {"Error": "error", "Warning": "warning", "CheckWarning": "warning"}

HEAD = """# Settings

Made from the code as this site is built.

## `JOBS`

One dict in a site's settings. Each key has a default; what does not fit is `jobs.E005`, and nothing starts with it.

| key | default | what it is | read on |
|---|---|---|---|
"""
CONSOLE = """
## The console's

| setting | default | what it is |
|---|---|---|
| `CONSOLE_ENVIRONMENT` | none | a word on the console's badge, such as `staging` |
| `CONSOLE_IDLE_MINUTES` | none | after which whoever did nothing is signed out: [install.md](install.md#signing-in) |
| `CONSOLE_LOCKOUTS` | none | dotted path of who knows who is locked out: [install.md](install.md#signing-in) |
| `CONSOLE_SLOW_ALL` | 3 | exports and exact counts at once, of all people: [search](console/jobs.md#how-far-it-looks) |
| `CONSOLE_SLOW_EACH` | 2 | the same, of one person |
| `CONSOLE_STATEMENT_SECONDS` | 2 | after which a page's read is broken off |
| `CONSOLE_TRUSTED_PROXIES` | none | whose `X-Forwarded-For` is believed: [install.md](install.md#behind-a-proxy) |

The project's own site takes its settings from the environment: [deploy.md](deploy.md#the-environment).

## Checks

What `manage.py check` says, in its words; `…` stands for what is yours. Those of the database are asked by `migrate`
and `check --database default`, those that are for production by `check --deploy`. In short they are in
[install.md](install.md#settings).

| id | what it says | how to mend it |
|---|---|---|
"""


class Check(NamedTuple):
    """One message of a system check."""

    id: str
    level: str
    text: str
    hint: str


def keys() -> Iterator[str]:
    """A row for each key of JOBS."""
    from handlers import conf

    known = conf.JobsSettings()
    said = dict(COMMENT.findall(inspect.getsource(conf.JobsSettings)))
    for each in fields(conf.JobsSettings):
        name, value = each.name.upper(), getattr(known, each.name)
        words = said.get(each.name, "")
        if most := conf.MOST.get(each.name):
            words += f"; at most {most:,}"
        yield f"| `{name}` | {default(value)} | {escaped(words)} | {', '.join(guides(name))} |"


def default(value: Any) -> str:
    """A default as a person would write it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = list(value) if isinstance(value, tuple) else value
        return f"`{str(shown).replace('.0', '')}`" if shown != "" else "none"
    return f"{value:,g}" if value < 10_000 else f"{value:,}"


def guides(name: str) -> list[str]:
    """The pages that say more of a key."""
    mention = re.compile(rf"`(?:JOBS\[\"{name}\"\][^`]*|{name})`|JOBS\[\"{name}\"\]|\"{name}\":")
    pages = sorted(path for path in DOCS.glob("*.md") if path.name not in NOT_GUIDES)
    return [f"[{path.stem}]({path.name})" for path in pages if mention.search(path.read_text())]


def checks() -> list[Check]:
    """What the checks of the engine and the console may say, by id."""
    found = []
    for app in CHECKS:
        tree = ast.parse((ROOT / app / "checks.py").read_text())
        constants = {**assigned(tree.body), **imported(tree)}
        for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
            names = constants | assigned(list(ast.walk(function)))
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                level = CLASSES.get(getattr(call.func, "id", ""))
                options = {option.arg: option.value for option in call.keywords}
                if level and "id" in options:
                    text = words(call.args[0], names)
                    found.append(Check(words(options["id"], names), level, text, words(options.get("hint"), names)))
    return sorted(found)


def assigned(nodes: list[Any]) -> dict[str, list[Any]]:
    """What each name may stand for."""
    known: dict[str, list[Any]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known.setdefault(node.targets[0].id, []).append(node.value)
    return known


def imported(tree: ast.Module) -> dict[str, list[Any]]:
    """The same for texts that a module imports."""
    known: dict[str, list[Any]] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(CHECKS):
            module = __import__(node.module, fromlist=["_"])
            values = {each.asname or each.name: getattr(module, each.name, None) for each in node.names}
            known |= {name: [ast.Constant(value)] for name, value in values.items() if isinstance(value, str)}
    return known


def words(node: Any, names: dict[str, list[Any]]) -> str:
    """The text of an expression, with … for what only a site knows."""
    match node:
        case None:
            return ""
        case ast.Constant(value=str(text)):
            return re.sub(r"%[sr]", "…", text)
        case ast.JoinedStr(values=parts):
            return "".join(words(part, names) for part in parts)
        case ast.BinOp(left=left, op=ast.Mod()):
            return words(left, names)
        case ast.Name(id=name) if name in names:
            return " / ".join(dict.fromkeys(words(each, {}) for each in names[name]))
        case ast.FormattedValue(value=ast.Name(id=name)) if len(names.get(name, ())) == 1:
            return words(names[name][0], {})
        case _:
            return "…"


def escaped(text: str) -> str:
    """Text for a cell of a table; what is code stays code."""
    return "`".join(part if i % 2 else re.sub(r"([*_<\[|])", r"\\\1", part) for i, part in enumerate(text.split("`")))


def page() -> str:
    """The whole page."""
    rows = [f"| `{each.id}` | {escaped(each.text)} | {escaped(each.hint)} |" for each in checks()]
    return HEAD + "\n".join(keys()) + "\n" + CONSOLE + "\n".join(rows) + "\n"
