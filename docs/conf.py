"""How the documentation is built: ``make docs``. Pages are Markdown, which a repository's viewer shows as well."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django  # noqa: E402 - it needs to know where its settings are
import settings_page  # noqa: E402

django.setup()

project = "Jobsite"
html_title = "Jobsite"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "_site"]
html_theme = "furo"
html_static_path = ["_site"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
pygments_style, pygments_dark_style = "tango", "native"

myst_heading_anchors = 4  # by GitHub's rule, so that a link works there too
myst_enable_extensions = ["attrs_block"]
# A comment that is an example's mark is for the tests (tests/docs); Markdown leaves it out of the page anyway.

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"

# What a reader's browser would ask other hosts for: nothing, so that the pages work where there is no way out.
FOREIGN = re.compile(
    r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//'
    r'|<link(?=[^>]*rel="(?:stylesheet|preload|preconnect|icon))[^>]*href="(?:https?:)?//'
)
FOREIGN_STYLE = re.compile(r"(?:@import|url\()\s*[\"']?(?:https?:)?//")


def nothing_from_elsewhere(app: Sphinx, error: Exception | None) -> None:
    """Fail the build where a page or a style sheet loads something from another host."""
    from sphinx.errors import ExtensionError

    if error is not None:
        return
    for kind, pattern in (("*.html", FOREIGN), ("*.css", FOREIGN_STYLE)):
        for path in Path(app.outdir).rglob(kind):
            if found := pattern.search(path.read_text()):
                raise ExtensionError(f"{path.name} loads something from another host: {found.group(0)}")


def make_settings(app: Sphinx) -> None:
    """Write the page of settings, which is in no commit, before pages are read."""
    (HERE / "settings.md").write_text(settings_page.page())


def name_folders(app: Sphinx, page: Any) -> None:
    """What leads to a folder of the repository, where pages are read there, is on the site its name without a link."""
    from sphinx.addnodes import pending_xref

    for node in list(page.findall(pending_xref)):
        if node.get("reftype") == "myst" and (HERE / node["reftarget"]).is_dir():
            node.replace_self(node.children)


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.connect("doctree-read", name_folders)
    app.connect("builder-inited", make_settings)
    app.connect("build-finished", nothing_from_elsewhere)
    return {"parallel_read_safe": True}
