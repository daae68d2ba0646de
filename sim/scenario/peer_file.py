"""The connections of one host, for a live peer: own file, swanctl.conf, or a node of a scenario."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from sim.net.engine import Simulation
from sim.scenario import swanctl
from sim.scenario.authority import PKI_SEED, with_pki
from sim.scenario.configs import cpus_of
from sim.scenario.errors import Path, Problem, ScenarioError, dotted
from sim.scenario.expand import expand
from sim.scenario.explain import explain
from sim.scenario.load import load_text, read_octets
from sim.scenario.pem_files import inline_files
from sim.scenario.schema_network import Cpus
from sim.scenario.schema_pools import Pool
from sim.scenario.schema_tunnels import Connection
from sim.scenario.schema_types import FrozenDict, Model, Table
from sim.scenario.source import Source, YamlReader
from sim.scenario.weak import weak_connections, weak_suites


class PeerSettings(NamedTuple):
    """What a file says of one host: connections and pools by name, and warnings."""

    connections: Mapping[str, Connection]
    warnings: list[Problem]
    pools: Mapping[str, Pool]
    cpus: int = 1


_SECTION = re.compile(rb"^\s*(connections|secrets)\s*\{", re.MULTILINE)


class PeerFile(Model):
    """`connections:`, and perhaps `pools:`, as `validate --expand` shows them for one node."""

    connections: Annotated[Table[Connection], Field(min_length=1)]
    pools: Table[Pool] = Field(default_factory=FrozenDict)
    cpus: Cpus = 1


def read_peer(path: str | FilePath, node: str | None = None) -> PeerSettings:
    """The connections of a file, by name, and warnings: of what has no effect, and of weak algorithms.

    A file named `.conf`, or with a section `connections {`, is strongSwan's. With `nodes:` in it the file is
    a scenario, and `node` says whose connections are wanted. ScenarioError lists everything that is wrong,
    each with its line.
    """
    octets, file = read_octets(path), str(path)
    if file.endswith(".conf") or _SECTION.search(octets):
        if node is not None:
            raise ScenarioError([Problem(f"--node {node}", "", f"{file} is of one host")])
        imported = swanctl.read(FilePath(path))
        if not imported.connections:
            raise ScenarioError([Problem(f"{file}:1", "connections", "has none: there is nobody to talk to")])
        return PeerSettings(imported.connections, imported.warnings, imported.pools)
    return _of_yaml(octets, file, node)


def _of_yaml(octets: bytes, file: str, node: str | None) -> PeerSettings:
    reader = YamlReader(file)
    data = reader.read(octets)
    if not isinstance(data, dict):
        raise ScenarioError([Problem(f"{file}:1", "", "is no mapping: it starts with `connections:`")])
    if "nodes" in data:
        return _of_node(octets, file, node)
    if node is not None:
        raise ScenarioError([Problem(f"--node {node}", "", f"{file} is of one host: it has no `nodes:`")])
    problems = list(reader.problems)
    problems += inline_files(data, Source(file, reader.lines))
    shapes: dict[int, type] = {}
    try:
        found = PeerFile.model_validate(data, context=shapes)
    except ValidationError as error:
        problems += explain(error, data, shapes, Source(file, reader.lines))
    if problems:
        raise ScenarioError(problems)
    source = Source(file, reader.lines)

    def locate(path: Path, text: str) -> Problem:
        return Problem(source.where(path), dotted(path), text)

    missing = [
        locate(("connections", name, "pools"), f"there is no pool `{pool}`")
        for name, connection in found.connections.items()
        for pool in connection.pools
        if pool not in found.pools
    ]
    if missing:
        raise ScenarioError(missing)
    weak = weak_connections(found.connections, ("connections",), locate)
    return PeerSettings(found.connections, weak, found.pools, found.cpus)


def _of_node(octets: bytes, file: str, node: str | None) -> PeerSettings:
    scenario = load_text(octets, file)
    connections = with_pki(expand(scenario), Simulation(PKI_SEED).rand).connections
    if node is None or node not in connections:
        what = "" if node is None else f"{node} has no connections; "
        where = "--node" if node is None else f"--node {node}"
        raise ScenarioError([Problem(where, "", f"{what}choose one of {', '.join(connections) or 'none'}")])
    pools, cpus = scenario.pools.get(node, {}), cpus_of(scenario, node)
    return PeerSettings(connections[node], weak_suites(scenario, node), pools, cpus)
