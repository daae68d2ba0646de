"""Programs that are not ours and judge what we do: tshark, iproute2, nftables, strongSwan, OpenIKED."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_PLUGINS = ("/usr/lib/ipsec/plugins", "/usr/libexec/ipsec/plugins")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])  # Debian users lack sbin


def require(program: str) -> str:
    """The path of that program. Without it the test is skipped, or fails when REQUIRE_PEERS=1."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        _missing(f"{program} is not installed")
    return found


def require_plugin(name: str) -> None:
    """For tests of what strongSwan has in a package of its own."""
    if not any(Path(folder, f"libstrongswan-{name}.so").exists() for folder in _PLUGINS):
        _missing(f"strongSwan's plugin {name} is not installed")


def require_root() -> None:
    """For tests that make network namespaces."""
    if os.geteuid() != 0:
        _missing("network namespaces need root")


def require_known(machine: bool) -> None:
    """For tests that must know the numbers of system calls here."""
    if not machine:
        _missing("the system calls of this machine are not known")


def _missing(what: str) -> NoReturn:
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(f"{what}, and REQUIRE_PEERS=1 demands it")
    pytest.skip(what)
