"""A single file that holds a result: written whole or not at all, and tried before the work that fills it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_writable(path: Path) -> None:
    """Make the folders above a file and see whether it could be written; OSError names the file."""
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        beside = _beside(path)
        beside.touch()
        beside.unlink()


def write_whole(path: Path, octets: bytes) -> None:
    """Beside the file, then renamed: never half of it. OSError names the file itself."""
    beside = _beside(path)
    with _naming(path):
        try:
            beside.write_bytes(octets)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
