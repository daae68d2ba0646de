"""Network namespaces that a test makes, and that are gone afterwards, also when it fails.

What a killed run left behind is swept away by the next one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests import peers
from tests.interop.netns import sweep

_PREFIX = "sim"
_numbers = itertools.count()


@contextmanager
def namespace(label: str) -> Iterator[str]:
    """The name of a fresh network namespace with its loopback up; tests that run side by side get others."""
    ip = require()
    sweep(_PREFIX)
    name = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}-{label}"
    _run(ip, "netns", "add", name)
    try:
        _run(ip, "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _run(ip, "netns", "delete", name)


def require() -> str:
    """The path of `ip`; skips without it or without root."""
    peers.require_root()
    return peers.require("ip")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
