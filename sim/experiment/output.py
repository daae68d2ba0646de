"""The folder that a run leaves behind: the complete files of one run, or none.

Everything is written beside its final name and renamed when the run has ended well. Until then an older run
in the same folder stays as it was. One run at a time writes into a folder: it holds a lock on the folder
itself, which ends with its process. The manifest goes first and comes back last, so a folder that has one
holds the files of one run even when the machine stopped in between. What a killed process has left beside the
final names is replaced by the next run; a folder that was made for a run that does not end well is removed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

MANIFEST = "manifest.json"
_PART = ".part"
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class OutputFolder:
    """A context manager around the files of one run; leaving it by an exception removes what was begun.

    Entering raises OSError when the folder cannot be made, or another run is writing into it.
    """

    def __init__(self, path: str | Path) -> None:
        if path == "":
            raise FileNotFoundError(errno.ENOENT, "an empty name is no folder; the current one is `.`", "out")
        self.path = Path(path)
        self._names: list[str] = []
        self._discarded: list[Path] = []
        self._made: list[Path] = []  # folders, the innermost last
        self._streams = ExitStack()
        self._lock = ExitStack()

    def __enter__(self) -> OutputFolder:
        try:
            self._make(self.path)
        except BaseException:
            self._unmake()
            raise
        self._lock.enter_context(_locked(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            try:
                self._streams.close()  # a full disk shows here at the latest
                if kind is None:
                    self._keep()
            finally:
                for name in self._names:
                    self._part(name).unlink(missing_ok=True)
                self._unmake()

    def open(self, name: str) -> BinaryIO:
        """A new file; `name` may lie in a subfolder. It is closed with the folder."""
        self._names.append(name)
        part = self._part(name)
        self._make(part.parent)
        return self._streams.enter_context(part.open("wb"))

    def write(self, name: str, text: str) -> None:
        self.open(name).write(text.encode())

    def discard(self, name: str) -> None:
        """Remove what an older run has left under this name."""
        self._discarded += [self.path / name, self._part(name)]

    def _keep(self) -> None:
        with _uninterrupted():
            for path in (self.path / MANIFEST, *self._discarded):
                path.unlink(missing_ok=True)
            for name in sorted(self._names, key=lambda name: name == MANIFEST):
                self._part(name).replace(self.path / name)

    def _make(self, folder: Path) -> None:
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            self._made.append(missing)
            missing.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)  # says what else is there under this name

    def _unmake(self) -> None:
        """Remove the folders that were made here, if nothing is in them."""
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()

    def _part(self, name: str) -> Path:
        return self.path / (name + _PART)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone in a folder. Where its file system knows no locks, nobody is refused."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _lock(handle):
            text = "another run is writing into this folder: wait for its end, or choose another"
            raise BlockingIOError(errno.EWOULDBLOCK, text, str(folder))
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """False when somebody else has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL):
            raise
    return True


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the files of a run have all taken the places of an older one's.

    Only the main thread is ever interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number)) for number in _STOPPING
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
