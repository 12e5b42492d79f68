"""What the engine's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from handlers.transport import get_transport, install_transport
from tests.running import NotingTransport


@pytest.fixture
def noting() -> Iterator[NotingTransport]:
    """A transport that only takes notes, in the place of the real one."""
    before, transport = get_transport(), NotingTransport()
    install_transport(transport)
    yield transport
    install_transport(before)
