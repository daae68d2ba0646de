"""Octets of tests and captures for replay have a row in a README that says where they come from."""

from __future__ import annotations

import hashlib
from pathlib import Path

DATA = Path(__file__).parent / "data"
CAPTURES = Path(__file__).parent.parent / "topologies" / "captures"


def test_every_file_or_folder_of_test_data_has_a_row() -> None:
    readme = (DATA / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    present = [entry.name for entry in DATA.iterdir() if entry.name not in {"README.md", "__pycache__"}]
    assert [name for name in present if not any(f"`{name}" in row for row in rows)] == []


def test_every_capture_for_replay_is_named_with_its_hash() -> None:
    """Reference results cite a recording by its hash: it must not change unnoticed."""
    readme = (CAPTURES / "README.md").read_text()
    files = [file for suffix in ("pcap", "pcapng") for file in CAPTURES.glob(f"*.{suffix}")]
    rows = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert rows
    assert [name for name, digest in rows.items() if f"`{name}`" not in readme or digest not in readme] == []
