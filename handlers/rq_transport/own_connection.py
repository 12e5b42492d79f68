"""A thread's own connection to Redis, over which it publishes: the shortest way there is."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from redis import Redis
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from handlers.rq_transport.availability import is_away, outages_noted
from handlers.rq_transport.clients import exchange, send
from handlers.rq_transport.connections import redis_connection

Again = Callable[[Redis], object]

logger = logging.getLogger(__name__)

# A connection over which Redis answered what was sent this short while ago is alive: no need to wait and see.
ALIVE_SECONDS = 0.1


class OwnRedis(Redis):
    """A client of one thread and one connection: redis-py's pool, locks and metrics cost more than a small command."""

    _owed: Again | None = None  # the answer to a script is still to come; this does the same again, and waits
    _sent_at = 0.0  # the last command
    _answered_at = 0.0  # when the last command that was answered had been sent
    _outages = 0  # that had been noted when it connected

    # Whatever interrupts one of these, such as a handler's timeout, disconnects: the answer that it did not wait for
    # must not be taken for the next command's.

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and read its answer; a connection that went stale is tried once more, as everywhere."""
        self._read_owed()
        if self._outages != (noted := outages_noted()):
            self._own.disconnect()  # it may lead to a server that is still frozen, and no longer the master
            self._outages = noted

        def once() -> Any:
            self._sent_at = time.monotonic()
            answer = exchange(self, self._own, args, **options)
            self._answered_at = self._sent_at
            return answer

        return self._own.retry.call_with_retry(once, lambda _: None)

    def post(self, call: tuple[Any, ...], again: Again) -> None:
        """Call a script whose answer is read before the next command is sent; ``again`` calls it too, and waits.

        That is done after a pause, when nobody knows whether the connection still lives, when the connection breaks,
        and when the answer turns out to be an error. So it must do no harm if Redis runs the script twice.
        """
        self._read_owed()
        if time.monotonic() - self._answered_at > ALIVE_SECONDS:
            again(self)
            return
        try:
            self._owed = again
            self._sent_at = time.monotonic()
            send(self._own, call)
        except BaseException as error:
            self._forget_owed()
            if not isinstance(error, RedisConnectionError):
                raise
            again(self)

    def close(self) -> None:
        """Return the connection to the pool, where nobody may find an answer that is not theirs."""
        if self._owed is not None:
            self._forget_owed()
        super().close()

    def open(self) -> None:
        """Take its connection from the pool, and connect. Raises what redis-py raises."""
        self._outages = outages_noted()
        self.connection = self.connection_pool.get_connection()

    @property
    def _own(self) -> Connection:
        return self.connection  # type: ignore[return-value]

    def _read_owed(self) -> None:
        """Read the answer that is still to come. Raises redis-py's errors, when Redis is away."""
        if (again := self._owed) is None:
            return
        try:
            self.parse_response(self._own, "EVALSHA")  # type: ignore[no-untyped-call]
            self._answered_at = self._sent_at
            self._owed = None
            return
        except ResponseError:
            self._owed = None
        except RedisConnectionError:
            self._forget_owed()
        except BaseException:
            self._forget_owed()
            raise
        try:
            again(self)
        except RedisError as error:
            # While Redis is away, the next command need not try. Else it was something about this script's call, and
            # whoever sends the next command must not suffer for it.
            away = is_away(error)
            why = "what was published did not arrive, recovery will publish it again: %s"
            logger.log(logging.WARNING if away else logging.ERROR, why, error)
            if away:
                raise

    def _forget_owed(self) -> None:
        self._own.disconnect()  # first: interrupted in between, it is done once more and not forgotten
        self._owed = None


_clients: WeakSet[OwnRedis] = WeakSet()  # of the threads that live
_lock = threading.Lock()  # of these
_thread = threading.local()  # ``client``, made from the process's ``shared`` one


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)  # a thread that stayed behind in the parent may hold it


def own_connection() -> Redis:
    """This thread's client, of one connection from the pool of ``redis_connection``, while there is plenty of room.

    Raises TransportUnavailable when no Redis is configured, and what redis-py raises when it cannot connect.
    """
    shared = redis_connection()
    if getattr(_thread, "shared", None) is not shared:  # after a fork, or a change of the settings
        pool = shared.connection_pool
        with _lock:
            taken = sum(client.connection_pool is pool for client in list(_clients))
            if taken * 2 >= getattr(pool, "max_connections", 0):
                return shared  # more threads than places: half of these stay free for everybody
            opened = OwnRedis(connection_pool=pool)
            _clients.add(opened)
        opened.open()  # not under the lock: in an outage each thread would wait for all before it
        _thread.client, _thread.shared = opened, shared
    client: OwnRedis = _thread.client
    return client
