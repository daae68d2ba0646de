"""One cell of the grid: which boxes, with which settings, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sim.net.nat import NAT_PRESETS

NO_NAT = "none"
KINDS = (NO_NAT, *NAT_PRESETS)
"""What can stand in front of an end."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The initiator behind `near`, the responder behind `far`, whose rules lead IKE's ports to it."""

    near: str
    far: str
    keepalive: bool
    mobike: bool

    @property
    def settings(self) -> str:
        keepalive, mobike = ("on" if setting else "off" for setting in (self.keepalive, self.mobike))
        return f"keepalive {keepalive}, MOBIKE {mobike}"


@dataclass(frozen=True, slots=True)
class Pace:
    """When things happen, in s of a run; a grid that is compared with real boxes cannot wait so long.

    `keepalive` and `liveness` are intervals. The inside speaks `speak` after it was called in vain. Something
    happens to the near box at `event`, and what has not come back a second before `end` is lost.
    """

    keepalive: float = 20
    liveness: float = 10
    speak: float = 5
    event: float = 5
    end: float = 65


@dataclass(frozen=True, slots=True)
class Terms:
    """What a cell is tried on. `near` and `far` are keys of a topology that change these boxes' presets."""

    silence_s: float
    pace: Pace = Pace()
    near: Mapping[str, Any] = field(default_factory=dict)
    far: Mapping[str, Any] = field(default_factory=dict)


class Outcome(StrEnum):
    """What a trial showed."""

    SURVIVED = "survived"
    LOST = "lost"
    NOTHING = "nothing to try"
    """There is no box that could forget anything, or no tunnel."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How the tunnel took one thing; `outage_s` is 0 where nothing was lost. `reason` says why it was."""

    outcome: Outcome
    outage_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CellResult:
    """`up`: whether the tunnel came up; `how`: what carries ESP; `seen`: the ends as the responder has them.

    `idle`: whether the inside is reached after the silence. `rebind`, `reboot`: whether packets both ways go
    on once the near box has given its mappings other ports, or has restarted.
    """

    cell: Cell
    up: bool
    how: str
    seen: str
    reason: str
    setup_ms: float
    idle: Trial
    rebind: Trial
    reboot: Trial

    @property
    def trials(self) -> dict[str, Trial]:
        return {"idle": self.idle, "rebind": self.rebind, "reboot": self.reboot}

    @property
    def colour(self) -> str:
        """Green: all is well; yellow: it comes up, but does not take everything; red: it does not come up."""
        if not self.up:
            return "red"
        return "yellow" if any(trial.outcome is Outcome.LOST for trial in self.trials.values()) else "green"
