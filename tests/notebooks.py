"""Executes notebooks and leaves only what is the same each time.

    .venv/bin/python -m tests.notebooks

executes every notebook in place: do it when a change alters what they show, and read the difference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
KEPT_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
TIMEOUT_S = 120


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def execute(path: Path, folder: Path) -> Any:
    """The notebook at `path` with the outputs that it has now, run with `folder` as its working directory."""
    notebook = read(path)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    return cleaned(notebook)


def cleaned(notebook: Any) -> Any:
    """The notebook without what differs from machine to machine, cells numbered as they stand."""
    notebook.metadata = nbformat.from_dict(KEPT_METADATA)  # type: ignore[no-untyped-call]
    for index, cell in enumerate(notebook.cells):
        cell.id = f"cell-{index:02}"
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            output.pop("metadata", None)
            if output.output_type in ("display_data", "execute_result"):
                output.metadata = {}
    return notebook


def texts(notebook: Any) -> list[list[str]]:
    """What each code cell printed or showed, but for pictures, of which only the kind is told."""
    return [
        [text for output in cell.outputs for text in _texts(output)]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _texts(output: Any) -> list[str]:
    if output.output_type == "stream":
        return [output.text]
    if output.output_type == "error":
        return [output.ename]
    data = output.data
    return [kind if kind.startswith("image/") else data[kind] for kind in sorted(data)]


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(execute(path, FOLDER), path)  # type: ignore[no-untyped-call]
        print(f"{path.name}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
