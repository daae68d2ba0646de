"""The laboratory of the tests with real peers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.netns import Lab
from tests.interop.scene import PATHS, ROLES, Path, Role


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Network namespaces and programs, gone after the test however it ends."""
    made = Lab()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> Role:
    """A test that asks for it runs in both."""
    found: Role = request.param
    return found


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Path:
    """A test that asks for it runs over each: no NAT, Linux's, and the simulated one."""
    found: Path = request.param
    return found
