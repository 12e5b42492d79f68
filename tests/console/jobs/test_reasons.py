"""Why a job moved, in the reader's language: the engine's own reasons are known again, whatever fills them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dashboard.jobs.reasons import in_language
from handlers import GiveUp, RetryAfter, RetryPolicy
from handlers.lifecycle.claims import EXPIRED
from handlers.workflows.gates import reason as of_gate


@pytest.fixture(autouse=True)
def _marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language in which everything is loud."""
    monkeypatch.setattr("dashboard.jobs.reasons.gettext", lambda text: f"<{text}>")


def decided(error: BaseException, failures: int = 1, **policy: object) -> str:
    """What a policy says of a failure."""
    return RetryPolicy(**policy).decide(failures=failures, error=error, draw=0.5).reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reason",
    [
        decided(ValueError("no")),
        decided(ValueError("no"), failures=3, max_attempts=4) + ", by policy slow one",
        decided(RetryAfter(timedelta(seconds=90))),
        decided(GiveUp("the card\nis gone; retry 2 of 3")),
        decided(ValueError("no"), failures=9, max_attempts=2),
        decided(ValueError("no"), max_attempts=1),
        decided(ValueError("no"), give_up_on=(ValueError,)),
        decided(ValueError("no"), retry_on=(KeyError,)),
        EXPIRED.reason,
        of_gate("success", "all", 7, 1, is_open=True),
        of_gate("ended", "all", 7, 1_500, is_open=True),
        "worker lost while running it (2 of 3)",
        "moved from queue mail to slow: too full",
    ],
)
def test_the_engines_own_are_told_in_the_readers_language(reason: str) -> None:
    told = in_language(reason)
    assert told.startswith("<")
    assert "%(" not in told
    assert told.strip("<>") == reason


def test_what_people_and_apps_say_stays() -> None:
    for said in ("the bank is back", "retried, because the bank is back", "job 7 of the bank", "", "100 %(name)s"):
        assert in_language(said) == said
