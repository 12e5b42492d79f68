"""What a strict Content-Security-Policy asks of a page: nothing inline, nothing evaluated, nothing from elsewhere."""

from __future__ import annotations

import re

ALLOWED = {"'self'", "'none'"}
# What such a policy would not run, and a page should not try: scripts and styles in the page, and on* attributes.
INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)[^>]*>|<style\b|<[^>]+\s(?:style|on[a-z]+)=|[\"']\s*javascript:", re.IGNORECASE
)


def breaches(policy: str, html: str) -> list[str]:
    """What of the header is not strict, and what of the page it would not run."""
    told = {name: set(values) for name, *values in (part.split() for part in policy.split(";"))}
    found = [
        f"{name} is {' '.join(sorted(told.get(name, ())))}"
        for name, wanted in {
            "default-src": "'self'", "object-src": "'none'", "base-uri": "'none'", "frame-ancestors": "'none'",
        }.items()
        if told.get(name) != {wanted}
    ]  # fmt: skip
    allowed = {"img-src": ALLOWED | {"data:"}}  # the stock stylesheets draw icons so
    found += [f"{name} allows {values}" for name, values in told.items() if not values <= allowed.get(name, ALLOWED)]
    # Django's own JSON for its widgets is data, which no browser runs.
    return found + [inline for inline in INLINE.findall(html) if "application/json" not in inline]
