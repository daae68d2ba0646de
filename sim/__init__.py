"""A deterministic network simulator with a complete IKEv2 and ESP stack.

    import sim
    result = sim.run("topologies/site-to-site.yaml", seed=7)
    result.summary

Names are loaded when they are first used, so that `import sim` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.experiment import plots
    from sim.experiment.grid.study import grid
    from sim.experiment.interval import interval
    from sim.experiment.keepalive import keepalive_cost
    from sim.experiment.overhead import byte_map, overhead
    from sim.experiment.packet_map import packet_map
    from sim.experiment.packets import packets
    from sim.experiment.result import Result
    from sim.experiment.run import run
    from sim.experiment.sweep import sweep
    from sim.scenario.build import build
    from sim.scenario.errors import ScenarioError
    from sim.scenario.expand import expand
    from sim.scenario.load import load
    from sim.scenario.schema import Scenario

__all__ = [
    "Result", "Scenario", "ScenarioError", "build", "byte_map", "expand", "grid", "interval",
    "keepalive_cost", "load", "overhead", "packet_map", "packets", "plots", "run", "sweep",
]  # fmt: skip

_HOME = {
    "Result": "sim.experiment.result",
    "Scenario": "sim.scenario.schema",
    "ScenarioError": "sim.scenario.errors",
    "build": "sim.scenario.build",
    "byte_map": "sim.experiment.overhead",
    "expand": "sim.scenario.expand",
    "grid": "sim.experiment.grid.study",
    "keepalive_cost": "sim.experiment.keepalive",
    "load": "sim.scenario.load",
    "overhead": "sim.experiment.overhead",
    "packet_map": "sim.experiment.packet_map",
    "packets": "sim.experiment.packets",
    "interval": "sim.experiment.interval",
    "run": "sim.experiment.run",
    "sweep": "sim.experiment.sweep",
}
_MODULES = {"plots": "sim.experiment.plots"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        value: object = importlib.import_module(_MODULES[name])
    elif name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
