"""When a failed job runs again. Pure: no clock and no randomness; the caller passes the draw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from typing import Literal, Protocol, get_args, runtime_checkable

from handlers.exceptions import GiveUp, InvalidJob, RetryAfter
from handlers.wording import Figures, worded

OnExhausted = Literal["fail", "delete"]

LONGEST_DELAY = timedelta(days=365)  # what no delay exceeds, however a backoff grows


@runtime_checkable
class Backoff(Protocol):
    """How long to wait after a failure. Write your own as a frozen dataclass with these two methods."""

    def after(self, failures: int) -> timedelta:
        """The wait after failure number ``failures`` (1 is the first).

        The policy bounds it; an OverflowError stands for the longest wait.
        """
        ...

    def __str__(self) -> str:
        """The backoff in a few words, for the console."""
        ...


@dataclass(frozen=True, slots=True)
class FixedBackoff:
    """The same ``delay`` (a non-negative timedelta) after every failure. Raises InvalidJob for another value."""

    delay: timedelta

    def __post_init__(self) -> None:
        _check_duration("FixedBackoff", "delay", self.delay)

    def after(self, failures: int) -> timedelta:
        """The wait after failure number ``failures``."""
        return self.delay

    def __str__(self) -> str:
        return worded("always %(time)s", time=in_words(self.delay))


@dataclass(frozen=True, slots=True)
class LinearBackoff:
    """``step`` (a non-negative timedelta) times the number of failures. Raises InvalidJob for another value."""

    step: timedelta

    def __post_init__(self) -> None:
        _check_duration("LinearBackoff", "step", self.step)

    def after(self, failures: int) -> timedelta:
        """The wait after failure number ``failures``."""
        return self.step * failures

    def __str__(self) -> str:
        return worded("linear, by %(time)s", time=in_words(self.step))


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """``base`` (a non-negative timedelta), then ``factor`` (1 or more) times longer after each further failure.

    Raises InvalidJob for other values.
    """

    base: timedelta
    factor: float = 2

    def __post_init__(self) -> None:
        _check_duration("ExponentialBackoff", "base", self.base)
        if not _is_number(self.factor) or not 1 <= self.factor < float("inf"):
            raise InvalidJob("ExponentialBackoff: factor must be a number, 1 or more, such as factor=2", field="factor")

    def after(self, failures: int) -> timedelta:
        """The wait after failure number ``failures``."""
        # float: a power of whole numbers would compute millions of digits before it overflows.
        return self.base * float(self.factor) ** (failures - 1)

    def __str__(self) -> str:
        times = Figures(f"{self.factor:g}")
        return worded("exponential, from %(time)s, times %(factor)s", time=in_words(self.base), factor=times)


@dataclass(frozen=True, slots=True)
class PolynomialBackoff:
    """Hangfire's: ``(n - 1)^4 + 15 + 15 n`` seconds after failure number n: 30 s at first, 71 min after the ninth.

    Hangfire adds a random 0 to 29 seconds times n (``DefaultDelayInSecondsByAttemptFunc`` in its
    ``AutomaticRetryAttribute.cs``). Here the curve is the middle of that, and the randomness is the policy's
    ``jitter``: a share of the delay, which also spreads a crowd after the later failures.
    """

    def after(self, failures: int) -> timedelta:
        """The wait after failure number ``failures``."""
        return timedelta(seconds=(failures - 1) ** 4 + 15 + 15 * failures)

    def __str__(self) -> str:
        return worded("polynomial")


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the job again after ``delay``."""

    delay: timedelta
    reason: str  # in words, for the history


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Do not run the job again by itself: it ends failed, or deleted."""

    outcome: OnExhausted
    reason: str  # in words, for the history


Decision = Retry | Exhausted


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What to do after a failed attempt. Values that do not fit raise InvalidJob here, at the declaration.

    ``max_attempts``: total runs allowed, 1 or more; 1 means no retry.
    ``backoff``: how the delay grows. ``max_delay``: its cap, a non-negative timedelta, or None for a year.
    ``jitter``: 0 to 1, the largest share of the delay that is taken off at random. Taken off and not added, so that the
    cap is kept, and a crowd that waits at the cap is spread as well.
    ``retry_on``: exception classes to retry on; the default, ``(Exception,)``, matches every error, ``SystemExit`` and
    the like too. ``give_up_on``: classes never to retry on; it goes before ``retry_on``.
    ``on_exhausted``: ``"fail"`` or ``"delete"``, what a job becomes when ``max_attempts`` is used up. A job that gives
    up, or fails with an error that is not retried, always ends failed: that is news, and someone should see it.
    """

    max_attempts: int = 10
    backoff: Backoff = PolynomialBackoff()
    max_delay: timedelta | None = None
    jitter: float = 0.2
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()
    on_exhausted: OnExhausted = "fail"

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or isinstance(self.max_attempts, bool) or self.max_attempts < 1:
            raise InvalidJob(
                "RetryPolicy: max_attempts must be a whole number, 1 or more (1 means no retry)", field="max_attempts"
            )
        if isinstance(self.backoff, type) or not isinstance(self.backoff, Backoff):
            raise InvalidJob(
                "RetryPolicy: backoff must be an instance with an after(failures) method,"
                " such as FixedBackoff(timedelta(seconds=30)) or PolynomialBackoff()",
                field="backoff",
            )
        if self.max_delay is not None:
            _check_duration("RetryPolicy", "max_delay", self.max_delay)
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise InvalidJob("RetryPolicy: jitter must be a share of the delay, 0 to 1, such as 0.2", field="jitter")
        _check_classes("retry_on", self.retry_on)
        _check_classes("give_up_on", self.give_up_on)
        if self.on_exhausted not in get_args(OnExhausted):
            raise InvalidJob('RetryPolicy: on_exhausted must be "fail" or "delete"', field="on_exhausted")

    def decide(self, *, failures: int, error: BaseException, draw: float) -> Decision:
        """What follows failure number ``failures`` (this one included, from 1) with ``error``.

        ``draw``: a random number, 0 up to but not including 1. ``GiveUp`` ends the retries. ``RetryAfter`` goes before
        ``retry_on`` and ``give_up_on``, and names its own delay, which is neither jittered nor capped by ``max_delay``.
        """
        if isinstance(error, GiveUp):
            return Exhausted("fail", f"gave up: {_text(error.reason)}")
        failed = f"attempt failed with {type(error).__name__[:100]}"
        if not isinstance(error, RetryAfter):
            if isinstance(error, self.give_up_on):
                return Exhausted("fail", f"{failed}, on which the retry policy gives up")
            if Exception not in self.retry_on and not isinstance(error, self.retry_on):
                return Exhausted("fail", f"{failed}, on which the retry policy does not retry")
        if failures >= self.max_attempts:
            return Exhausted(self.on_exhausted, f"{failed}; {self._all_attempts()} used up")
        if isinstance(error, RetryAfter):
            delay = min(error.delay, LONGEST_DELAY)
            asked = "asked to be retried: "
        else:
            delay = self._delay(failures) * (1 - self.jitter * min(max(draw, 0.0), 1.0))
            asked = ""
        return Retry(delay, f"{failed}; {asked}retry {failures} of {self.max_attempts - 1} in {in_words(delay)}")

    def delays(self, limit: int = 100) -> list[timedelta]:
        """The delays before each retry, without jitter; the first ``limit`` of them."""
        return [self._delay(n) for n in range(1, min(self.max_attempts, limit + 1))]

    def describe(self) -> str:
        """The policy in words, in one line."""
        if self.max_attempts == 1:
            parts = [worded("1 attempt, no retry")]
        else:
            backoff = str(self.backoff)
            parts = [
                worded("%(number)s attempts", number=self.max_attempts),
                worded("backoff %(backoff)s", backoff=backoff),
            ]
            if self.max_delay is not None:
                parts.append(worded("at most %(time)s", time=in_words(self.max_delay)))
            if self.jitter:
                parts.append(worded("up to %(share)s %% less at random", share=Figures(f"{self.jitter * 100:g}")))
            if Exception not in self.retry_on:
                parts.append(worded("only on %(names)s", names=_names(self.retry_on)))
            if self.give_up_on:
                parts.append(worded("never on %(names)s", names=_names(self.give_up_on)))
        parts.append(worded("then failed") if self.on_exhausted == "fail" else worded("then deleted"))
        return reduce(lambda before, part: worded("%(before)s, %(next)s", before=before, next=part), parts)

    def _delay(self, failures: int) -> timedelta:
        cap = LONGEST_DELAY if self.max_delay is None else min(self.max_delay, LONGEST_DELAY)
        try:
            return min(max(self.backoff.after(failures), timedelta(0)), cap)
        except OverflowError:
            return cap

    def _all_attempts(self) -> str:
        return "the only attempt is" if self.max_attempts == 1 else f"all {self.max_attempts} attempts are"


def in_words(duration: timedelta) -> Figures:
    """``duration``, not negative, as people read it, in its two largest units: "1 min 34 s", "2 h", "0.5 s"."""
    seconds = duration.total_seconds()
    if seconds < 10:
        return Figures(f"{round(seconds, 1):g} s")
    rest = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, unit))
    return Figures(" ".join(f"{count} {unit}" for count, unit in parts[:2] if count))


def _check_duration(owner: str, field: str, value: object) -> None:
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise InvalidJob(
            f"{owner}: {field} must be a timedelta that is not negative, such as timedelta(seconds=30)", field=field
        )


def _check_classes(field: str, value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(c, type) and issubclass(c, BaseException) for c in value):
        raise InvalidJob(
            f"RetryPolicy: {field} must be a tuple of exception classes, such as {field}=(ValueError,)", field=field
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(classes: tuple[type[BaseException], ...]) -> str:
    return " or ".join(c.__name__ for c in classes) or "nothing"


def _text(value: object) -> str:
    """``value`` as bounded text; a handler's object may be huge, or refuse to be printed."""
    try:
        return str(value)[:300]
    except Exception:  # noqa: BLE001 - its own __str__ may raise anything
        return "(a reason that cannot be shown)"
