"""Ruff's banned-api refuses clock and entropy wherever time is `now` and randomness is `rand`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULED = ["units.py", *(f"{layer}/probe.py" for layer in ("wire", "crypto", "ike", "ipsec", "net", "tunnels"))]
EXEMPT = ["net/engine.py", "live/probe.py"]
BANNED = {
    "clock": "import time\n\nSTARTED_AT = time.monotonic_ns()\n",
    "clock-from": "from time import monotonic_ns\n\nSTARTED_AT = monotonic_ns()\n",
    "calendar": "import datetime\n\nTODAY = datetime.date.today()\n",
    "random": "import random\n\nROLL = random.random()\n",
    "secrets": "import secrets\n\nSPI = secrets.token_bytes(8)\n",
    "uuid": "import uuid\n\nNAME = uuid.uuid4()\n",
    "urandom": "import os\n\nSPI = os.urandom(8)\n",
    "urandom-from": "from os import urandom\n\nSPI = urandom(8)\n",
}


@pytest.mark.parametrize("source", BANNED.values(), ids=BANNED)
def test_clock_and_entropy_are_refused_in_every_ruled_module(source: str) -> None:
    assert {name for name in RULED if "TID251" in verdict(name, source)} == set(RULED)


@pytest.mark.parametrize("source", BANNED.values(), ids=BANNED)
def test_the_engine_and_the_real_world_may_use_them(source: str) -> None:
    assert [verdict(name, source) for name in EXEMPT] == ["", ""]


def test_a_pure_module_passes() -> None:
    """So that the refusals above are of the import, not of the probe."""
    assert verdict("wire/probe.py", "import struct\n\nHEAD = struct.Struct('>BBH')\n") == ""


def test_no_module_excuses_itself() -> None:
    excused = [file for file in (ROOT / "sim").rglob("*.py") if "TID251" in file.read_text()]
    assert not excused


def verdict(module: str, source: str) -> str:
    """What ruff, with the project's own settings, says about `source` in place of that module of sim."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        "TID251",
        "--quiet",
        "--output-format",
        "concise",
    ]
    place = ["--stdin-filename", str(ROOT / "sim" / module), "-"]
    done = subprocess.run([*command, *place], input=source, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout
