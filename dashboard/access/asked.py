"""What a person asked for when nobody was signed in. The pages carry it: no session, no address and no log holds it."""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import urlsplit

from django.contrib.admin import AdminSite
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, get_script_prefix, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import ngettext

from dashboard.kit.drafts import DRAFT
from dashboard.kit.text import in_words

FIELD = "_asked"
LONGEST = 500_000  # characters that are carried; a longer form is lost, and the page says so
# Fields that nobody typed.
UNTYPED = {
    "form_key",
    "expect",
    "index",
    "action",
    "select_across",
    "shown",
    "confirmed",
    "post",
    "next",
    "version",
    "do",
}
# The pages that show a form as it was sent, and do nothing yet. So do the pages of users and groups.
DRAFTS = {
    "enqueue_one", "jobsite_jobs_jobrecord_edit", "bulk_new", "retry_policy_new", "retry_policy", "recurring_new",
    "recurring_edit", "recurring_backfill", "client_new", "limit",
}  # fmt: skip


class Asked(NamedTuple):
    """A form that was sent: its address, its fields, and the page that it stood on."""

    path: str
    fields: list[tuple[str, str]]  # empty: there were none, or they were too long
    page: str

    @property
    def text(self) -> str:
        """What ``read`` reads."""
        return json.dumps(self)

    @property
    def typed(self) -> list[tuple[str, str]]:
        """What a person may have typed into it."""
        return [
            (name, value) for name, value in self.fields if value and not name.startswith("_") and name not in UNTYPED
        ]


def of(site: AdminSite, request: HttpRequest) -> Asked:
    """What ``request`` asks for. Passwords are not carried: whoever comes next at this browser shall not find one."""
    path = request.get_full_path()
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        if "password" not in name and name not in ("csrfmiddlewaretoken", DRAFT)
        for value in values
    ]
    referer = urlsplit(request.headers.get("Referer", ""))
    page = (
        f"{referer.path}{'?' if referer.query else ''}{referer.query}" if referer.netloc == request.get_host() else ""
    )
    if not _match(site, page):
        page = path if shows_drafts(site, path) else reverse("admin:index", current_app=site.name)
    found = Asked(path, fields, page)
    return found if len(found.text) <= LONGEST else found._replace(fields=[])


def read(site: AdminSite, text: str) -> Asked | None:
    """What ``text`` says was asked for; None where it is none of this console's forms."""
    try:
        path, fields, page = json.loads(text)
        found = Asked(str(path), [(str(name), str(value)) for name, value in fields], str(page))
    except (ValueError, TypeError, RecursionError):
        return None
    return found if _match(site, found.path) and _match(site, found.page) else None


def words(site: AdminSite, wanted: Asked) -> str:
    """What the button was that sent it: ``Retry job 7``, ``Pause queue mail``, ``Delete, 2 ticked``."""
    match = _match(site, wanted.path)
    if match is None or match.url_name is None:
        return ""
    if action := dict(wanted.fields).get("action"):
        ticked = sum(name == ACTION_CHECKBOX_NAME for name, _value in wanted.fields)
        words = ngettext("%(verb)s, %(number)d ticked", "%(verb)s, %(number)d ticked", ticked)
        return words % {"verb": in_words(action), "number": ticked}
    named = [
        f"{name.removesuffix('_id')} {value}" if name.endswith("_id") else str(value)
        for name, value in match.kwargs.items()
        if name != "what"
    ]
    return " ".join([in_words(match.url_name.removeprefix("jobsite_jobs_jobrecord_")), *named])


def shows_drafts(site: AdminSite, path: str) -> bool:
    """Whether the page at ``path`` shows a form as it was sent without doing anything."""
    match = _match(site, path)
    if match is None or match.url_name is None:
        return False
    drafting = [model._meta for model, admin in site._registry.items() if getattr(admin, "shows_drafts", False)]
    people = {f"{meta.app_label}_{meta.model_name}_{end}" for meta in drafting for end in ("add", "change")}
    return match.url_name in DRAFTS | people


def _match(site: AdminSite, url: str) -> ResolverMatch | None:
    """The console's page at ``url``; None: there is none."""
    prefix = get_script_prefix()
    if not url.startswith(prefix) or not url_has_allowed_host_and_scheme(url, allowed_hosts=None):
        return None
    try:
        match = resolve(f"/{urlsplit(url).path[len(prefix) :]}")
    except (Resolver404, ValueError):
        return None
    return match if match.namespace == site.name else None
