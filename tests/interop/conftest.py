"""The laboratory of the tests with real peers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.netns import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Network namespaces and programs, gone after the test however it ends."""
    made = Lab()
    try:
        yield made
    finally:
        made.close()
