"""Key material of a live peer in Wireshark's files, written as SAs come up.

Whoever has these files can read the traffic: mode 0600, and only where the user asked for them. The keys of
an IKE SA are written as soon as they exist, so that one can see why a peer was refused; of those that never
came up only the last stay, because anybody may begin one.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sim.ike.events import ChildSaDown, ChildSaUp, Event, IkeKeysDerived, IkeSaUp, PathChanged
from sim.tunnels.keylog import KeyLog

KEPT_UNPROVEN = 1000
"""Rows of IKE SAs without an authenticated peer that stay at least; there are at most twice as many."""
_MODE = 0o600


class KeyFiles:
    """`esp_sa` and `ikev2_decryption_table` in a folder, begun anew. OSError when it cannot be written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._esp = _create(folder / "esp_sa")
        self._ike = _create(folder / "ikev2_decryption_table")
        self._living: dict[int, ChildSaUp] = {}
        self._unproven: dict[int, str] = {}

    def note(self, event: Event) -> None:
        """Write the keys that an event brings; those of SAs that are gone stay in the files only."""
        log, written = KeyLog(), ""
        if isinstance(event, IkeKeysDerived):
            log.ike_sa(event)
            self._unproven[event.ike_id] = log.ikev2_decryption_table()
        elif isinstance(event, IkeSaUp):
            self._unproven.pop(event.ike_id, None)
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
        if len(self._unproven) > 2 * KEPT_UNPROVEN:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Write the file anew, in one step, without the oldest of the SAs that never came up."""
        oldest = list(self._unproven)[:-KEPT_UNPROVEN]
        rows = {self._unproven.pop(ike_id) for ike_id in oldest}
        beside = _create(self._ike.with_suffix(".new"))
        with self._ike.open() as old, beside.open("a") as new:
            new.writelines(row for row in old if row not in rows)
        beside.replace(self._ike)


def _create(file: Path) -> Path:
    file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE))
    return file


def _append(file: Path, rows: str) -> None:
    if rows:
        with file.open("a") as stream:
            stream.write(rows)
