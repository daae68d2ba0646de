"""Writes files that hold secrets: readable by their owner alone, and complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PART = ".part"


def write_private(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write all files below a folder, which is made if need be, or none of them; their paths.

    OSError, with the name of the file, when one cannot be written.
    """
    paths = {folder / name: text for name, text in files.items()}
    parts = {path: path.with_name(path.name + _PART) for path in paths}
    try:
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(21, "Is a directory", str(path))
            _write(parts[path], text)
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            if part.parent.is_dir():
                part.unlink(missing_ok=True)
    return list(paths)


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text.encode())
