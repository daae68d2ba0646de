"""The folder that a run leaves behind: complete files or none.

Everything is written beside its final name and renamed when the run has ended well.
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
        self._streams = ExitStack()

    def __enter__(self) -> OutputFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.close()
        for name in self._names:
            part = self._part(name)
            if kind is None:
                part.replace(self.path / name)
            else:
                part.unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO:
        """A new file; `name` may lie in a subfolder. It is closed with the folder."""
        self._names.append(name)
        part = self._part(name)
        part.parent.mkdir(parents=True, exist_ok=True)
        return self._streams.enter_context(part.open("wb"))

    def write(self, name: str, text: str) -> None:
        self.open(name).write(text.encode())

    def _part(self, name: str) -> Path:
        return self.path / (name + _PART)
