"""The scenario: what a YAML file in `topologies/` says, validated and in plain numbers.

Times are ns, rates bit/s, sizes octets, ratios 0 to 1, traffic selectors `Selector`. Nothing here
changes after loading. The models of the parts are in `schema_network`, `schema_tunnels`, `schema_traffic`,
`schema_events` and `schema_faults`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import Field, PrivateAttr
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from sim.ike.config import DEFAULT_EPOCH
from sim.scenario.crowds import Crowds
from sim.scenario.errors import Path, Problem, ScenarioError, dotted
from sim.scenario.schema_events import Event
from sim.scenario.schema_faults import Fault
from sim.scenario.schema_network import (
    FirewallNode,
    GatewayNode,
    HostNode,
    Jitter,
    Link,
    NatNode,
    Node,
    Queue,
    RouterNode,
)
from sim.scenario.schema_pki import Pki, PkiNode
from sim.scenario.schema_pools import Pool
from sim.scenario.schema_traffic import (
    CbrFlow,
    Check,
    ChildCheck,
    ConnectionCheck,
    Flow,
    FlowCheck,
    PingFlow,
    ReplayFlow,
    record_names,
)
from sim.scenario.schema_tunnels import (
    Connection,
    ConnectionChild,
    Tunnel,
    TunnelAuth,
    TunnelChild,
    TunnelSide,
)
from sim.scenario.schema_types import MAX_DURATION, Date, Directed, Duration, FrozenDict, Many, Model, Table
from sim.scenario.source import Source
from sim.units import NS_PER_S, format_duration

__all__ = [
    "CbrFlow", "Check", "ChildCheck", "Connection", "ConnectionCheck", "ConnectionChild", "Directed",
    "Event", "Fault", "FirewallNode", "Flow", "FlowCheck", "GatewayNode", "HostNode", "Jitter", "Link",
    "NatNode", "Node", "PingFlow", "Pki", "PkiNode", "Pool", "Queue", "ReplayFlow", "RouterNode",
    "Scenario", "Tunnel", "TunnelAuth", "TunnelChild", "TunnelSide", "json_schema", "record_names",
]  # fmt: skip


class Scenario(Model):
    """One scenario. Two with the same content are equal and have the same hash, however they are written."""

    name: str
    duration: Annotated[Duration, Field(gt=0)]
    nodes: Annotated[Table[Node], Field(min_length=1)]
    links: Many[Link] = ()
    date: Date = DEFAULT_EPOCH // NS_PER_S
    """What time it is at the start: certificates have calendar dates."""
    pki: Pki | None = None
    """Makes certificates for the nodes that authenticate by public key; `auto` is all defaults."""
    tunnels: Table[Tunnel] = Field(default_factory=FrozenDict)
    connections: Table[Table[Connection]] = Field(default_factory=FrozenDict)
    """Node to connection name to connection; `expand` moves `tunnels` here."""
    pools: Table[Table[Pool]] = Field(default_factory=FrozenDict)
    """Node to pool name to virtual IPs, for the connections and tunnels that name the pool."""
    traffic: Many[Flow] = ()
    events: Many[Event] = ()
    faults: Many[Fault] = ()
    checks: Many[Check] = ()
    capture: Many[str] = ("*:*",)
    """Patterns of `node:interface`: what is recorded."""

    _source: Source = PrivateAttr(default_factory=Source)
    _crowds: Crowds = PrivateAttr(default_factory=Crowds)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the content, replayed captures included, in hexadecimal."""
        content = [self.plain(), self._source.digests]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """The content as YAML or JSON has it; it loads to an equal scenario."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def rewritten(self, plain: dict[str, Any], origin: dict[Path, Path]) -> Scenario:
        """The scenario of `plain`, as coming from the same file; `origin` says where new keys come from."""
        scenario = Scenario.model_validate(plain)
        scenario._source = self._source.derive(origin)
        scenario._crowds = self._crowds
        return scenario

    def multiplied(self, plain: dict[str, Any], moved: dict[Path, Path], crowds: Crowds) -> Scenario:
        """The scenario of `plain`, which has so many of what this one has once; see `multiply`."""
        scenario = Scenario.model_validate(plain)
        scenario._source = replace(self._source, moved=moved)
        scenario._crowds = crowds
        return scenario

    @property
    def crowds(self) -> Crowds:
        """Which nodes and flows come from one entry with a `count`."""
        return self._crowds

    def lasting(self, duration: int) -> Scenario:
        """The same scenario with another duration (ns); what lies beyond it does not happen."""
        if duration <= 0:
            text = f"{format_duration(duration)} is no duration: a run lasts longer than 0 s"
            raise ScenarioError([Problem("until", "", text)])
        if duration > MAX_DURATION:
            text = f"{format_duration(duration)} is too long: at most {format_duration(MAX_DURATION)}"
            raise ScenarioError([Problem("until", "", text)])
        return self.rewritten(self.plain() | {"duration": format_duration(duration)}, {})

    def where(self, path: Path) -> str:
        """`file:line` of a setting, or of the closest thing around it that the file mentions."""
        return self._source.where(path)

    def problem(self, path: Path, text: str) -> Problem:
        """For a ScenarioError: what is wrong with the setting at `path`, such as `("traffic", 0, "to")`.

        A part of a connection that was made from a tunnel is called as the tunnel does.
        """
        return Problem(self.where(path), dotted(self._source.written(path)), text)

    def capture_file(self, flow: ReplayFlow) -> FilePath:
        """Where the capture of a replay lies: beside the scenario's file unless absolute."""
        return self._source.beside(flow.file)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scenario) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario's file, for editors."""
    schema = Scenario.model_json_schema(mode="validation", schema_generator=_SchemaGenerator)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


class _SchemaGenerator(GenerateJsonSchema):
    """Shows defaults as text with units, as a file has them."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        bare = schema["cls"].model_construct()
        defaults = bare.model_dump(mode="json", by_alias=True, exclude_none=True) or {}
        for key, value in result.get("properties", {}).items():
            value.pop("default", None)
            if key in defaults and key not in result.get("required", ()):
                value["default"] = defaults[key]
        return result
