"""strongSwan's swanctl.conf, read into this project's connections and written from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sim.scenario.errors import Problem
from sim.scenario.schema_pools import Pool
from sim.scenario.schema_tunnels import Connection
from sim.scenario.swanctl.certificates import Folders
from sim.scenario.swanctl.convert import Importer
from sim.scenario.swanctl.daemon import read_daemon
from sim.scenario.swanctl.syntax import parse

__all__ = ["SwanctlConfig", "read"]


@dataclass(frozen=True, slots=True)
class SwanctlConfig:
    """The connections and pools of a file by name, and what was ignored: it changes nothing on the wire."""

    connections: dict[str, Connection]
    pools: dict[str, Pool] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)


def read(path: Path) -> SwanctlConfig:
    """The connections of a swanctl.conf and what it includes; a strongswan.conf beside it is read too.

    Certificates and keys are read from the folders beside it (swanctl(8)). Missing keys have strongSwan's
    defaults. ScenarioError lists everything that is wrong or not supported,
    each with file and line.
    """
    daemon = read_daemon(path.parent / "strongswan.conf")
    importer = Importer(parse(path), daemon, Folders(path.parent))
    connections = importer.connections()
    return SwanctlConfig(connections, importer.pools, [*daemon.warnings, *importer.warnings])
