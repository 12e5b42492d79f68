"""The console's navigation: every page that a person may see, in groups, with the trouble that each leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.kit import trouble
from dashboard.views.saved import in_navigation

FOLDED_COOKIE = "console_nav"  # console.js sets it to "folded", so that no page unfolds before one's eyes

# What belongs together, by the names of pages and models. What is in none of these comes after, by its app.
GROUPS = (
    ("", ("overview", "JobRecord", "failures", "bulk", "recurring", "workflows", "sagas")),
    (gettext_lazy("Capacity"), ("queues", "workers", "job_types", "foreign")),
    (gettext_lazy("Rules"), ("limits", "retry_policies", "alerts")),
    (gettext_lazy("Access"), ("AuditEntry", "User", "Group", "clients")),
)


class Link(NamedTuple):
    """One entry. ``name``: of the page or model."""

    name: str
    words: str
    url: str
    is_current: bool
    mark: trouble.Mark | None = None
    leads_to_jobs: bool = False  # to the list of all of them

    @property
    def mark_id(self) -> str:
        """The element that holds the mark, which live pages fetch anew."""
        return f"mark-{slugify(self.name).replace('_', '-')}"


class Group(NamedTuple):
    """Entries that belong together; without a title those that everybody needs."""

    title: str
    links: tuple[Link, ...]


class Navigation(NamedTuple):
    """All of it. False where there is none, because nobody is signed in."""

    groups: tuple[Group, ...]
    here: str = ""  # the entry that one is at
    is_folded: bool = False
    fails: bool = False  # something does now

    def __bool__(self) -> bool:
        return bool(self.groups)

    @property
    def jobs_url(self) -> str:
        """Of the job list, for a search from wherever one is; empty: one is there, or may not see it."""
        links = (link for group in self.groups for link in group.links if link.leads_to_jobs)
        return next((link.url for link in links if not link.is_current), "")


def navigation(request: HttpRequest, home: str, apps: Iterable[Mapping[str, Any]]) -> Navigation:
    """What ``apps``, the admin's own list of what this person may see, and the start page at ``home`` come to."""
    marks = trouble.marks(request)
    jobs = reverse("admin:jobsite_jobs_jobrecord_changelist", current_app=getattr(request, "current_app", None))
    links = {"overview": Link("overview", _("Overview"), home, request.path == home)}
    others: dict[str, list[Link]] = {}
    grouped = {name for _title, names in GROUPS for name in names}
    for app in apps:
        for model in app["models"]:
            if not (url := model.get("admin_url")):
                continue
            name = model["object_name"]
            is_current = request.path.startswith(url)
            link = Link(name, str(model["name"]), url, is_current, marks.get(name), url == jobs)
            if name in grouped and name not in links:
                links[name] = link
            else:
                others.setdefault(str(app["name"]), []).append(link)
    groups = [Group(str(title), tuple(links[name] for name in names if name in links)) for title, names in GROUPS]
    if "JobRecord" in links and (some := in_navigation(request)):
        views = [Link(f"view-{entry.view.pk}", entry.name, entry.url, entry.is_current) for entry in some]
        groups.insert(1, Group(_("Views"), tuple(views)))
    groups += [Group(name, tuple(some)) for name, some in others.items()]
    here = next((link.words for group in groups for link in group.links if link.is_current), "")
    return Navigation(
        tuple(group for group in groups if group.links),
        here,
        request.COOKIES.get(FOLDED_COOKIE) == "folded",
        trouble.fails(request),
    )
