"""What the engine's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from handlers.transport import get_transport, install_transport
from tests.running import NotingTransport


@pytest.fixture
def noting() -> Iterator[NotingTransport]:
    """A transport that only takes notes, in the place of the real one."""
    before, transport = get_transport(), NotingTransport()
    install_transport(transport)
    yield transport
    install_transport(before)


@pytest.fixture
def late_locks(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Transactions that take SQLite's lock no earlier than they write, as with Django's own settings."""
    options = {name: value for name, value in connection.settings_dict["OPTIONS"].items() if name != "transaction_mode"}
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    yield
    connection.close()
