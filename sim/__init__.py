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
    from sim.experiment.result import Result
    from sim.experiment.run import run
    from sim.scenario.build import build
    from sim.scenario.errors import ScenarioError
    from sim.scenario.expand import expand
    from sim.scenario.load import load
    from sim.scenario.schema import Scenario

__all__ = ["Result", "Scenario", "ScenarioError", "build", "expand", "load", "run"]

_HOME = {
    "Result": "sim.experiment.result",
    "Scenario": "sim.scenario.schema",
    "ScenarioError": "sim.scenario.errors",
    "build": "sim.scenario.build",
    "expand": "sim.scenario.expand",
    "load": "sim.scenario.load",
    "run": "sim.experiment.run",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
