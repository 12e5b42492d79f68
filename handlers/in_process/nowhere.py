"""A transport without a queue server: the database knows what waits, and nobody is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from handlers.transport import LastWords, Message, ServerState


class Nowhere:
    """Takes each message and keeps none."""

    def publish(self, messages: Sequence[Message], *, wait: bool = True, front: bool = False) -> None:
        """Nobody is told."""

    def publish_delayed(self, messages: Sequence[Message], *, wait: bool = True) -> None:
        """Nobody is told."""

    def withdraw(self, messages: Sequence[Message]) -> None:
        """There is nothing to take back."""

    def missing(self, queue: str, messages: Sequence[Message]) -> list[Message]:
        """None: on no queue is where they belong."""
        return []

    def trouble(self) -> str:
        """None."""
        return ""

    def measure(self, queues: Sequence[str]) -> ServerState:
        """Nothing stands there."""
        return ServerState(0.0)

    def leave_last_words(self, worker: str, words: LastWords) -> None:
        """There is nobody whom they would tell anything."""

    def last_words(self, workers: Sequence[str]) -> Mapping[str, LastWords]:
        """None."""
        return {}
