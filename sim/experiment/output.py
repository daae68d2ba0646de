"""The folder that a run leaves behind: complete files or none.

Everything is written beside its final name and renamed when the run has ended well. Until then an older run
in the same folder stays as it was.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

_PART = ".part"


class OutputFolder:
    """A context manager around the files of one run; leaving it by an exception removes what was begun."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._names: list[str] = []
        self._discarded: list[str] = []
        self._streams = ExitStack()

    def __enter__(self) -> OutputFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._streams.close()  # a full disk shows here at the latest
            if kind is None:
                self._keep()
        finally:
            for name in self._names:
                self._part(name).unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO:
        """A new file; `name` may lie in a subfolder. It is closed with the folder."""
        self._names.append(name)
        part = self._part(name)
        part.parent.mkdir(parents=True, exist_ok=True)
        return self._streams.enter_context(part.open("wb"))

    def write(self, name: str, text: str) -> None:
        self.open(name).write(text.encode())

    def discard(self, name: str) -> None:
        """Remove what an older run has left under this name."""
        self._discarded.append(name)

    def _keep(self) -> None:
        for name in self._names:
            self._part(name).replace(self.path / name)
        for name in self._discarded:
            (self.path / name).unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        return self.path / (name + _PART)
