"""Octets in tests/data have a row in its README that says where they come from."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"


def test_every_file_or_folder_of_test_data_has_a_row() -> None:
    readme = (DATA / "README.md").read_text()
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    present = [entry.name for entry in DATA.iterdir() if entry.name not in {"README.md", "__pycache__"}]
    assert [name for name in present if not any(f"`{name}" in row for row in rows)] == []
