"""A Redis client that never uses a connection again on which an answer may still come.

Whatever interrupts a command half-way, such as a handler's timeout, a stop or Ctrl-C, leaves an answer behind that the
next command would take for its own. redis-py drops the connection when the reading itself is interrupted, not in
between, and Sentinel's connections not even then.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.connection import AbstractConnection
from redis.exceptions import ResponseError, WatchError
from redis.sentinel import SentinelConnectionPool


class WholeRedis(Redis):
    """The client. Commands take two more options.

    ``within``: seconds to wait for the answer, if not the usual time. ``then``: see ``exchange``.
    """

    def _send_command_parse_response(self, conn: Any, command_name: Any, *args: Any, **options: Any) -> Any:
        return exchange(self, conn, args, **options)

    def close(self) -> None:
        """Close every connection, those to Sentinels too."""
        super().close()
        if isinstance(self.connection_pool, SentinelConnectionPool):
            for sentinel in self.connection_pool.sentinel_manager.sentinels:
                sentinel.close()

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """redis-py's pipeline, as careful."""
        return _WholePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _WholePipeline(Pipeline):
    def _send_command_parse_response(self, conn: Any, command_name: Any, *args: Any, **options: Any) -> Any:
        return exchange(self, conn, args, **options)

    def _execute_transaction(self, connection: Any, commands: Any, raise_on_error: Any) -> Any:
        try:
            return super()._execute_transaction(connection, commands, raise_on_error)
        except (ResponseError, WatchError):  # all answers were read
            raise
        except BaseException:
            connection.disconnect()
            raise

    def _execute_pipeline(self, connection: Any, commands: Any, raise_on_error: Any) -> Any:
        try:
            return super()._execute_pipeline(connection, commands, raise_on_error)  # type: ignore[no-untyped-call]
        except ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise


def exchange(
    client: Redis, connection: Any, command: Any, *, within: float | None = None, then: Any = None, **options: Any
) -> Any:
    """Send a command and read its answer, over a connection that is dropped unless the answer was read.

    ``then``: another one, sent together with it; both answers are returned.
    """
    try:
        send(connection, command)
        if then is not None:
            send(connection, then)
        if within is not None:
            answer = connection.read_response(timeout=within)
        else:
            answer = client.parse_response(connection, command[0], **options)
        return answer if then is None else (answer, connection.read_response())
    except ResponseError:
        if then is not None:
            connection.disconnect()
        raise
    except BaseException:
        connection.disconnect()
        raise


def send(connection: Any, command: Any) -> None:
    """Send a command. A connection that is none any more asks Sentinel first where the master is by now."""
    if not connection.is_connected:
        connection.connect()  # redis-py would connect to where it was
    connection.send_command(*command)


class _WholeGreeting:
    """Mixed into a connection: what interrupts its greeting closes it, or it would count as connected."""

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        try:
            super().connect_check_health(*args, **options)  # type: ignore[misc]
        except BaseException:
            self.disconnect()  # type: ignore[attr-defined]
            raise


@cache
def _whole(connection_class: type[AbstractConnection]) -> type[AbstractConnection]:
    return type(f"Whole{connection_class.__name__}", (_WholeGreeting, connection_class), {})


def whole(client: Redis) -> WholeRedis:
    """The same client, as careful as this module says; it takes over the pool of ``client``."""
    pool = client.connection_pool
    pool.connection_class = _whole(pool.connection_class)
    if isinstance(pool, SentinelConnectionPool):
        manager = pool.sentinel_manager
        manager.sentinels = [whole(sentinel) for sentinel in manager.sentinels]
    client.auto_close_connection_pool = False
    taken: WholeRedis = WholeRedis.from_pool(pool)  # type: ignore[assignment]
    return taken
