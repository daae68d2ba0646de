"""Key material of a live peer in Wireshark's files, written as SAs come up.

Whoever has these files can read the traffic: mode 0600, and only where the user asked for them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sim.ike.events import ChildSaDown, ChildSaUp, Event, IkeKeysDerived, PathChanged
from sim.tunnels.keylog import KeyLog

_MODE = 0o600


class KeyFiles:
    """`esp_sa` and `ikev2_decryption_table` in a folder, begun anew. OSError when it cannot be written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._esp = _create(folder / "esp_sa")
        self._ike = _create(folder / "ikev2_decryption_table")
        self._living: dict[int, ChildSaUp] = {}

    def note(self, event: Event) -> None:
        """Write the keys that an event brings; those of SAs that are gone stay in the files only."""
        log, written = KeyLog(), ""
        if isinstance(event, IkeKeysDerived):
            log.ike_sa(event)
        elif isinstance(event, ChildSaUp):
            self._living[event.spi_in] = event
            log.child_sa(event)
        elif isinstance(event, ChildSaDown):
            self._living.pop(event.spi_in, None)
        elif isinstance(event, PathChanged):
            for spi in event.spis_in:
                log.child_sa(self._living[spi])
                self._living[spi] = replace(self._living[spi], local=event.local)
            written = log.esp_sa()
            log.path(event)
        _append(self._ike, log.ikev2_decryption_table())
        _append(self._esp, log.esp_sa().removeprefix(written))


def _create(file: Path) -> Path:
    file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE))
    return file


def _append(file: Path, rows: str) -> None:
    if rows:
        with file.open("a") as stream:
            stream.write(rows)
