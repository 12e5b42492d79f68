"""What a stored policy comes to: every wait, which types follow it, and what a change alters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.kit import catalogue
from dashboard.kit.charts import delay_plot
from dashboard.kit.differences import Difference, differences
from dashboard.kit.languages import in_language
from dashboard.kit.numbers import thousands
from dashboard.kit.text import inert
from handlers.models import AuditEntry, StoredPolicy
from handlers.policies import as_policy
from handlers.policy_edits import VERBS
from handlers.retries import RetryPolicy

WINDOW = 20_000  # of the audit's newest entries: what a policy's history is looked for in
MAX_CHANGES = 30  # shown


@dataclass(frozen=True)
class Change:
    """One entry of a policy's history."""

    at: datetime
    username: str
    did: str
    reason: str
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True)
class Preview:
    """A policy as it would be."""

    policy: RetryPolicy | None  # None: the row makes no policy, so the code's holds
    types: list[str]

    @property
    def first(self) -> list[str]:
        """The first of the types: as many as a sentence names."""
        return self.types[: catalogue.NAMED]

    @property
    def others(self) -> int:
        """How many types that leaves out."""
        return len(self.types) - len(self.first)

    @property
    def named(self) -> str:
        """The first of them, and how many there are beside."""
        names = ", ".join(self.first)
        if not self.others:
            return names
        return _("%(names)s and %(number)s more") % {"names": names, "number": thousands(self.others)}

    @property
    def words(self) -> str:
        """The policy in words."""
        if self.policy is None:
            return _("Its values are out of bounds, so the code's policies hold. Edit and save it.")
        text = in_language(self.policy.describe())
        return text[:1].upper() + text[1:]

    @property
    def delays(self) -> list[catalogue.Delay]:
        """The first waits, with their totals."""
        return catalogue.delays(self.policy) if self.policy else []

    @property
    def more(self) -> int:
        """How many waits are not shown."""
        return max(self.policy.max_attempts - 1 - catalogue.MAX_DELAYS, 0) if self.policy else 0

    @property
    def total(self) -> timedelta:
        """How long it takes from the first failure to the last attempt, at most."""
        if self.policy is None:
            return timedelta(0)
        return sum(self.policy.delays(self.policy.max_attempts), timedelta(0))

    @property
    def plot(self) -> SafeString:
        """The waits as a picture."""
        waits = [row.wait for row in self.delays]
        return delay_plot(waits, _("Waits before each retry, before jitter"))


def preview(stored: StoredPolicy, types: list[str]) -> Preview:
    """What ``stored`` comes to for ``types``. Which errors are retried is each type's own, and not shown."""
    try:
        return Preview(as_policy(stored, RetryPolicy()), types)
    except (ValueError, OverflowError):
        return Preview(None, types)


def history(policy_id: int) -> list[Change]:
    """The newest changes of a policy and of which types follow it, newest first."""
    newest = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    entries = AuditEntry.objects.filter(pk__gt=newest - WINDOW, verb__in=VERBS).order_by("-pk")[:500]
    ours = [entry for entry in entries if policy_id in _involved(entry.data)]
    return [change(entry) for entry in ours[:MAX_CHANGES]]


def change(entry: AuditEntry) -> Change:
    """An entry of the audit about policies, in words."""
    data = entry.data if isinstance(entry.data, dict) else {}
    before, after = data.get("before"), data.get("after")
    if entry.verb == "assign_policy":
        code = _("the code")
        did = f"{entry.target}: {before or code} → {after or code}"
        changed = []
    else:
        did = _("deleted") if entry.verb == "delete_policy" else _("changed") if before else _("created")
        changed = differences(before, after)
    return Change(entry.at, inert(entry.username), inert(did), inert(entry.reason), changed)


def _involved(data: Any) -> list[Any]:
    found = data.get("policies") if isinstance(data, dict) else None
    return found if isinstance(found, list) else []
