"""Checks of Child SAs: how many there are, what they carried, and how well it was compressed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sim.scenario.schema import ChildCheck

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one condition holds, and what was found."""

    ok: bool
    detail: str


def child_check_name(check: ChildCheck) -> str:
    at = f" at {check.node}" if check.node else ""
    return f"child {_what(check)} of {check.connection}{at}"


def _what(check: ChildCheck) -> str:
    if check.cpu is None:
        return check.child
    return f"{check.child} ({'all CPUs' if check.cpu == 'all' else f'CPU {check.cpu}'})"


def child_verdicts(check: ChildCheck, connections: list[Row]) -> Iterator[Verdict]:
    """Each end's Child SAs against the check; one that asks for none is content without."""
    for row in connections:
        found = [child for child in row["children"] if _is_meant(check, child)]
        where = f"{row['node']}: {_what(check)}"
        if check.sas is not None:
            yield Verdict(len(found) == check.sas, f"{where}: {len(found)} installed")
        elif not found:
            yield Verdict(False, f"{where} is not installed")
        for child in found:
            yield from _of_one(check, where, child)


def _is_meant(check: ChildCheck, child: Row) -> bool:
    wanted = None if check.cpu == "all" else check.cpu
    fits = check.cpu is None or (child["per_cpu_sas"] and child["cpu"] == wanted)
    return bool(child["name"] == check.child and child["state"] == "installed" and fits)


def _of_one(check: ChildCheck, where: str, child: Row) -> Iterator[Verdict]:
    compression = child["ipcomp"] or {}
    found = {
        "packets_in": child["packets_in"],
        "packets_out": child["packets_out"],
        "ipcomp": child["ipcomp"] is not None,
        "compressed_in": compression.get("packets_in", 0),
        "compressed_out": compression.get("packets_out", 0),
    }
    for key, value in found.items():
        wanted = getattr(check, key)
        if wanted is not None:
            yield Verdict(value == wanted, f"{where}: {key} {_word(value)}")
    if check.min_ratio is not None:
        ratio = compression.get("ratio_out") or 1.0
        yield Verdict(ratio >= check.min_ratio, f"{where}: compressed {ratio:.2f} to 1")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
