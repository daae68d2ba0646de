"""The chain of the bench in ns-3, compiled when Debian's libns3-dev and g++ are there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.bench.measure import INTERVAL_NS, Sample

SOURCE = Path(__file__).with_name("ns3_chain.cc")
PROGRAM = Path(__file__).parents[2] / "build" / "bench" / "ns3_chain"
MODULES = ["ns3-core", "ns3-network", "ns3-internet", "ns3-point-to-point", "ns3-applications"]


def build() -> str | None:
    """Compile it if need be; None when it is ready, else why it is not."""
    if PROGRAM.exists() and PROGRAM.stat().st_mtime > SOURCE.stat().st_mtime:
        return None
    if not (shutil.which("g++") and shutil.which("pkg-config")):
        return "g++ or pkg-config is not installed"
    libraries = subprocess.run(["pkg-config", "--libs-only-l", *MODULES], capture_output=True, text=True)
    if libraries.returncode:
        return "Debian's libns3-dev is not installed"
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    for standard in ("c++17", "c++20"):  # up to ns-3.4x the first, later the second
        command = [
            "g++",
            "-O2",
            f"-std={standard}",
            str(SOURCE),
            *libraries.stdout.split(),
            "-o",
            str(PROGRAM),
        ]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return None
    return f"g++ refused {SOURCE.name}; see with: {' '.join(command)}"


def run(packets: int) -> Sample:
    """One run of the compiled program."""
    command = [str(PROGRAM), str(packets), str(INTERVAL_NS / 1e9)]
    received, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return Sample(int(received), float(seconds))


def release() -> str:
    """The version that Debian's package is of."""
    return subprocess.run(
        ["pkg-config", "--modversion", "ns3-core"], capture_output=True, text=True
    ).stdout.strip()
