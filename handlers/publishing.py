"""Telling the transport, after the commit and never instead of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import cast

from django.db import connections, transaction

from handlers.exceptions import TransportUnavailable
from handlers.transport import Message, get_transport

logger = logging.getLogger(__name__)


def publish(messages: Sequence[Message], *, wait: bool = True) -> bool:
    """Hand committed messages to the transport now; never raises.

    False when it is away: recovery publishes them later. A message that it cannot take at all is logged and left.
    Without ``wait`` the transport may find out only with a later call, and recovery does what is left to do.
    """
    try:
        if queued := [message for message in messages if message.run_at is None]:
            get_transport().publish(queued, wait=wait)
        if delayed := [message for message in messages if message.run_at is not None]:
            get_transport().publish_delayed(delayed, wait=wait)
    except TransportUnavailable as error:
        logger.warning("%d jobs are recorded but not yet published, recovery will do it: %s", len(messages), error)
        return False
    except Exception as error:
        # Committed work must not fail for this, and one damaged message must not hold the others.
        if len(messages) > 1:
            sent = [publish([message]) for message in messages]
            return all(sent)
        logger.exception("job %d cannot be published: %s", messages[0].job_id, type(error).__name__)
    return True


def withdraw(messages: Sequence[Message]) -> None:
    """Take back what can no longer change anything. Best effort: what stays is refused at the claim."""
    try:
        get_transport().withdraw(messages)
    except TransportUnavailable as error:
        logger.debug("%d outdated messages stay in the queues: %s", len(messages), error)
    except Exception:
        logger.exception("%d outdated messages cannot be withdrawn", len(messages))


def publish_on_commit(messages: Sequence[Message], *, using: str, stale: Sequence[Message] = ()) -> None:
    """Publish once the transaction on ``using`` commits; at once when there is none.

    However many calls a transaction makes, what survives its savepoints goes out in one batch.
    """
    if not messages and not stale:
        return
    connection = connections[using]
    if not connection.in_atomic_block:
        if connection.get_autocommit():
            _send(messages, stale)
        # Else the caller commits by hand and Django cannot tell us when: recovery publishes.
        return
    # Django drops the hooks of a savepoint that rolls back. So each call's messages ride on a hook of their own
    # (or on the latest one, when the savepoints are the same), which fills a batch that a last hook, bound to no
    # savepoint, sends. That last hook is moved to the end each time, for it must run after all that fill it.
    hooks = connection.run_on_commit
    at = next((i for i in range(len(hooks) - 1, -1, -1) if _is_open(hooks[i][1])), None)
    batch = _Batch() if at is None else cast("_Batch", hooks.pop(at)[1])
    if at is not None and 0 < at == len(hooks) and hooks[-1][0] == set(connection.savepoint_ids):
        latest = hooks[-1][1]
        if isinstance(latest, _Fill):
            latest.add(messages, stale)
            hooks.append(_last(batch))  # type: ignore[arg-type]
            return
    transaction.on_commit(_Fill(batch, messages, stale), using=using, robust=True)
    connection.run_on_commit.append(_last(batch))  # type: ignore[arg-type]


def _is_open(hook: object) -> bool:
    """Whether it is a batch still to be sent; a test case may run its hooks early, and they stay listed then."""
    return isinstance(hook, _Batch) and not hook.is_sent


def _last(batch: _Batch) -> tuple[set[str], Callable[[], None], bool]:
    """A hook of no savepoint, robust, as Django keeps it (its stubs still describe a pair)."""
    return set(), batch, True


def _send(messages: Sequence[Message], stale: Sequence[Message]) -> None:
    if messages:
        publish(messages, wait=False)  # what is lost now recovery finds; no caller waits for that
    if stale:
        withdraw(stale)


class _Parcel:
    """Messages to publish and messages to withdraw."""

    def __init__(self, messages: Sequence[Message] = (), stale: Sequence[Message] = ()) -> None:
        self.__qualname__ = "publish"  # Django names a robust hook that raised, and must not stumble over ours
        self.messages, self.stale = list(messages), list(stale)

    def add(self, messages: Sequence[Message], stale: Sequence[Message]) -> None:
        self.messages.extend(messages)
        self.stale.extend(stale)


class _Batch(_Parcel):
    """What one transaction publishes; called as its last hook."""

    is_sent = False

    def __call__(self) -> None:
        self.is_sent = True
        _send(self.messages, self.stale)


class _Fill(_Parcel):
    """The part of a batch that stands or falls with one savepoint."""

    def __init__(self, batch: _Batch, messages: Sequence[Message], stale: Sequence[Message]) -> None:
        super().__init__(messages, stale)
        self.batch = batch

    def __call__(self) -> None:
        self.batch.add(self.messages, self.stale)
