"""`ipsec-sim emulate` in another process, for as long as a test needs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.live import namespaces

COMMAND = [sys.executable, "-m", "sim.cli", "emulate"]
_DIES_WITH_US = ["setpriv", "--pdeathsig", "TERM"]


class Emulation:
    """A run in another process; `summary` and `status` when it has ended."""

    summary: dict[str, Any]
    status: int


@contextmanager
def emulation(
    topology: Path, *attach: str, overrides: tuple[str, ...] = (), out: Path | None = None
) -> Iterator[Emulation]:
    """Emulates while the block runs, then stops it as Ctrl-C does; `out` gets its files."""
    namespaces.require()
    words = [*(f"--attach={one}" for one in attach), *(f"--set={one}" for one in overrides)]
    words += [] if out is None else [f"--out={out}"]
    process = subprocess.Popen(
        [*_DIES_WITH_US, *COMMAND, str(topology), "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run = Emulation()
    try:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(len(attach) + 1)]
        assert said[-1].startswith("running for"), "".join(said)
        yield run
        process.send_signal(signal.SIGINT)
        said_at_end, _ = process.communicate(timeout=60)
        run.status, run.summary = process.returncode, json.loads(said_at_end)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)
