"""The notebooks that are shipped: they run, show what they showed when they were committed, and stay light.

That each cell runs is nbmake's test of the same files; these say what else must hold.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests import notebooks

FILES = sorted(notebooks.FOLDER.glob("*.ipynb"))
ROOT = notebooks.FOLDER.parent
MAX_OCTETS = 1_500_000

each = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@each
@pytest.mark.slow  # a kernel is started and a dozen scenarios run
def test_committed_outputs_are_what_the_notebook_shows_today(path: Path, tmp_path: Path) -> None:
    """After a change that is meant to alter them: `python -m tests.notebooks`."""
    (tmp_path / "topologies").symlink_to(ROOT / "topologies")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    committed = notebooks.texts(notebooks.read(path))
    assert notebooks.texts(notebooks.execute(path, folder)) == committed


@each
def test_every_cell_was_executed_in_order(path: Path) -> None:
    counts = [cell["execution_count"] for cell in cells(path) if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


@each
def test_no_output_is_an_error_or_a_warning(path: Path) -> None:
    outputs = [output for cell in cells(path) for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@each
def test_nothing_of_a_machine_is_in_the_file(path: Path) -> None:
    text = path.read_text()
    assert len(text) < MAX_OCTETS
    assert not [
        word for word in (str(ROOT), str(Path.home()) + "/", "site-packages", "/tmp/") if word in text
    ]
    assert json.loads(text)["metadata"] == notebooks.KEPT_METADATA
    assert all(cell["metadata"] == {} for cell in cells(path))


@each
def test_notebooks_are_thin(path: Path) -> None:
    """They call the package; a class or a function belongs into it."""
    for cell in cells(path):
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            defined = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            assert not [node for node in ast.walk(tree) if isinstance(node, defined)]


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    return found
