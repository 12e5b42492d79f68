"""How many jobs run at once, and start in a time, in words."""

from __future__ import annotations

from dashboard.kit.text import duration
from handlers.admission.terms import Terms

TIMES = {1: "second", 60: "minute", 3_600: "hour", 86_400: "day"}


def terms_in_words(terms: Terms) -> str:
    """Such as "at most 5 at once; at most 100 start in any minute"."""
    parts = [f"at most {terms.concurrency:,} at once"] if terms.concurrency else []
    if terms.rate:
        time = TIMES.get(terms.rate.seconds) or duration(terms.rate.seconds)
        parts.append(f"at most {terms.rate.starts:,} start in any {time}")
    return "; ".join(parts) or "any number"
