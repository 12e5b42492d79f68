"""The Content-Security-Policy of every page: nothing inline, nothing evaluated, nothing from elsewhere."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.browser.pages import every_page, furnish, refused_pages

pytestmark = [pytest.mark.once, pytest.mark.redis, pytest.mark.django_db(transaction=True)]

ALLOWED = {"'self'", "'none'"}
# What such a policy would not run, and a page should not try: scripts and styles in the page, and on* attributes.
INLINE = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>|<style\b|<[^>]+\s(?:style|on[a-z]+)=", re.IGNORECASE)


def test_every_page_has_a_strict_policy_and_nothing_inline(client: Client) -> None:
    client.force_login(User.objects.create_superuser("admin", password="secret"))
    furnish()
    for url in [*every_page(), *refused_pages(), "/admin/login/", "/admin/not-a-page/"]:
        response = client.get(url)
        policy = {
            name: set(values)
            for name, *values in (part.split() for part in response.headers["Content-Security-Policy"].split(";"))
        }
        assert policy["default-src"] == {"'self'"}, url
        assert policy.pop("img-src", ALLOWED) <= ALLOWED | {"data:"}, url  # the stock stylesheets draw icons so
        assert all(values <= ALLOWED for values in policy.values()), (url, policy)
        assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == {"'none'"}, url
        content = b"".join(response) if response.streaming else response.content
        # Django's own JSON for its widgets is data, which no browser runs.
        found = [match for match in INLINE.findall(content) if b"application/json" not in match]
        assert not found, (url, found)
