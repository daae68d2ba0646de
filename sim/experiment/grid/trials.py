"""The trials of a cell, run one after the other, and what their results say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sim.experiment.flows import outage_entries
from sim.experiment.grid import scene
from sim.experiment.grid.cell import NO_NAT, Cell, CellResult, Outcome, Terms, Trial
from sim.experiment.result import Result
from sim.experiment.run import run
from sim.scenario.load import load_plain
from sim.units import NS_PER_S

_NOTHING = Trial(Outcome.NOTHING)
REBIND: dict[str, Any] = {"do": "rebind"}
REBOOT: dict[str, Any] = {"do": "reboot", "gap": "1 s"}


def run_cell(cell: Cell, terms: Terms, seed: int, out: Path | None = None) -> CellResult:
    """All trials of one cell; with `out`, a folder for each with its capture and keys."""
    quiet = _run(scene.idle(cell, terms), seed, out, "idle")
    setup = _setup(quiet)
    rebind = reboot = _NOTHING
    if setup["up"] and cell.near != NO_NAT:
        rebind = _disturb(cell, terms, REBIND, seed, out, "rebind")
        reboot = _disturb(cell, terms, REBOOT, seed, out, "reboot")
    return CellResult(
        cell, idle=_idle(quiet) if setup["up"] else _NOTHING, rebind=rebind, reboot=reboot, **setup
    )


def _run(data: dict[str, Any], seed: int, out: Path | None, name: str) -> Result:
    return run(load_plain(data), seed, out=None if out is None else out / name, capture=out is not None)


def _setup(result: Result) -> dict[str, Any]:
    ends = {end["node"]: end for end in result.summary["connections"]}
    alice, moon = ends["alice"], ends.get("moon")
    up = alice["established_s"] is not None and moon is not None
    how = ("UDP" if alice["encap"] else "plain") if up else ""
    return {
        "up": up,
        "how": how,
        "seen": f"{moon['local']} - {moon['remote']}" if up and moon is not None else "",
        "reason": "" if up else _why_not(result, alice),
        "setup_ms": round(alice["established_s"] * 1000, 3) if up else 0.0,
    }


def _why_not(result: Result, alice: dict[str, Any]) -> str:
    return _dropped(result) or alice["explanation"] or alice["text"] or "never established"


def _idle(result: Result) -> Trial:
    flows = {flow["name"]: flow for flow in result.summary["flows"]}
    if flows["call"]["received"]:
        return Trial(Outcome.SURVIVED)
    again = flows["speak"]["received"]
    after = ", until the inside speaks again" if again else ", and stays so when the inside speaks"
    return Trial(Outcome.LOST, reason=f"not reached from outside{after}: {_dropped(result) or 'no answer'}")


def _dropped(result: Result) -> str:
    """What the boxes dropped, mostly."""
    drops = [drop for drop in result.summary["drops"] if drop["node"] in ("near", "far")]
    if not drops:
        return ""
    most = max(drops, key=lambda drop: drop["packets"])
    return f"{most['node']} box: {most['reason']}"


def _disturb(
    cell: Cell, terms: Terms, event: dict[str, Any], seed: int, out: Path | None, name: str
) -> Trial:
    result = _run(scene.disturbed(cell, terms, event), seed, out, name)
    outages = [
        outage
        for flow in result.summary["flows"]
        for outage in flow["outages"]
        if outage["to_s"] > terms.pace.event
    ]
    longest = max((outage["to_s"] - outage["from_s"] for outage in outages), default=0.0)
    last = max((outage["to_s"] for outage in outages), default=0.0)
    survived = last < terms.pace.end - 1
    return Trial(
        Outcome.SURVIVED if survived else Outcome.LOST,
        round(longest, 3),
        "" if survived else _why_lost(result, terms.pace.event),
    )


def _why_lost(result: Result, since_s: float) -> str:
    """What began it, and what became of the packets since."""
    drops = sorted(result.summary["drops"], key=lambda drop: drop["packets"])
    most = f"{drops[-1]['node']} drops: {drops[-1]['reason']}" if drops else "no packet comes back"
    return f"{_told(result, since_s)}; {most}"


def _told(result: Result, since_s: float) -> str:
    """What explains the last outage, in the words of a run."""
    found = [entry.detail for entry in outage_entries(result.world) if entry.at > since_s * NS_PER_S]
    return found[-1].split("; ", 1)[1] if found else ""
