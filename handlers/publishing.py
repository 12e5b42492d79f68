"""Telling the transport, after the commit and never instead of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from handlers import tracing
from handlers.exceptions import TransportUnavailable
from handlers.transport import Message, get_transport

logger = logging.getLogger(__name__)


def publish(messages: Sequence[Message], *, wait: bool = True, front: bool = False) -> bool:
    """Hand committed messages to the transport now; never raises.

    False when it is away: recovery publishes them later. A message that it cannot take at all is logged and left.
    Without ``wait`` the transport may find out only with a later call, and recovery does what is left to do.
    ``front``: at the heads of their queues.
    """
    if messages and tracing.is_on():
        with tracing.sending(messages):
            return _publish(messages, wait=wait, front=front)
    return _publish(messages, wait=wait, front=front)


def _publish(messages: Sequence[Message], *, wait: bool, front: bool) -> bool:
    try:
        if queued := [message for message in messages if message.run_at is None]:
            get_transport().publish(queued, wait=wait, front=front)
        if delayed := [message for message in messages if message.run_at is not None]:
            get_transport().publish_delayed(delayed, wait=wait)
    except TransportUnavailable as error:
        level = logging.WARNING if error.is_news else logging.DEBUG  # once in an outage, not once for each job
        logger.log(level, "%d jobs are recorded but not yet published, recovery will do it: %s", len(messages), error)
        return False
    except Exception as error:
        # Committed work must not fail for this, and one damaged message must not hold the others.
        if len(messages) > 1:
            sent = [
                _publish([message], wait=True, front=front) for message in (reversed(messages) if front else messages)
            ]
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

    However many calls a transaction makes, what survives its savepoints goes out in one batch, with the last call's
    hook. Each call leaves a hook of its own and touches none that stands already: where a test runs hooks before any
    commit (``captureOnCommitCallbacks``), each is a piece of work by itself.
    """
    if not messages and not stale:
        return
    connection = connections[using]
    if not connection.in_atomic_block:
        if connection.get_autocommit():
            _send(messages, stale)
        # Else the caller commits by hand and Django cannot tell us when: recovery publishes.
        return
    hooks = connection.run_on_commit
    savepoints, latest = next((hook[:2] for hook in reversed(hooks) if isinstance(hook[1], _Parcel)), (None, None))
    batch = _Batch(connection) if latest is None else cast("_Parcel", latest).batch
    connection.on_commit(_Parcel(batch, messages, stale), robust=True)
    # Django drops the hooks of a savepoint that rolls back, with it perhaps the last one, on which the earlier ones
    # rely. Where that could happen to it alone, one more stands behind it that falls only with all of them.
    if savepoints is not None and any(
        savepoint not in savepoints for savepoint in connection.savepoint_ids if savepoint
    ):
        hooks.append((savepoints, _Parcel(batch), True))  # type: ignore[arg-type] # its stubs still describe a pair


def publish_first_on_commit(messages: Sequence[Message], *, using: str) -> None:
    """Publish at the heads of their queues once the transaction on ``using`` commits: their turn had come before."""
    if messages:
        transaction.on_commit(lambda: publish(messages, wait=False, front=True), using=using, robust=True)


def _send(messages: Sequence[Message], stale: Sequence[Message]) -> None:
    if messages:
        publish(messages, wait=False)  # what is lost now recovery finds; no caller waits for that
    if stale:
        withdraw(stale)


class _Batch:
    """What one transaction publishes, gathered from its hooks by the last of them."""

    last: _Parcel

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.messages: list[Message] = []
        self.stale: list[Message] = []

    def send(self) -> None:
        messages, stale, self.messages, self.stale = self.messages, self.stale, [], []
        _send(messages, stale)


class _Parcel:
    """The part of a batch that stands or falls with one call's savepoints; called as its hook."""

    def __init__(self, batch: _Batch, messages: Sequence[Message] = (), stale: Sequence[Message] = ()) -> None:
        self.__qualname__ = "publish"  # Django names a robust hook that raised, and must not stumble over ours
        self.batch, self.messages, self.stale = batch, messages, stale
        batch.last = self

    def __call__(self) -> None:
        batch = self.batch
        batch.messages += self.messages
        batch.stale += self.stale
        self.messages = self.stale = ()  # a test case's hooks stay listed, and may be run once more
        if batch.last is self or batch.connection.in_atomic_block:  # in a transaction: a test runs some of the hooks
            batch.send()
