"""The `traffic:` of a scenario as flows that are ready to start."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from sim.net.nat import NatBox
from sim.net.node import IpNode
from sim.net.port import Port
from sim.scenario.errors import ScenarioError
from sim.scenario.schema import CbrFlow, Flow, PingFlow, ReplayFlow, Scenario
from sim.scenario.virtual import expected_address, finder, virtual_target
from sim.scenario.world import World
from sim.traffic.cbr import ConstantRate
from sim.traffic.ping import Ping
from sim.traffic.replay import left_out, read_exchange, replay
from sim.traffic.source import Find, Pmtud, TrafficFlow
from sim.wire.address import pack_address
from sim.wire.buffer import WireError

_FIRST_PORT = 10_000
_FIRST_IDENTIFIER = 1


def add_flows(world: World) -> None:
    """Make every flow and arm its first packet.

    ScenarioError when a flow's ends have no IP version in common, or its capture cannot be replayed.
    """
    for index, model in enumerate(world.scenario.traffic):
        if not runs_here(model, world.scenario, world.attached):
            continue
        try:
            made = list(_MAKERS[type(model)](world, index, model))
        except (ValueError, OSError, WireError) as error:
            key = "file" if isinstance(model, ReplayFlow) else "to"
            raise ScenarioError([world.scenario.problem(("traffic", index, key), str(error))]) from None
        for flow in made:
            world.flows[flow.name] = flow
            flow.start()


def runs_here(model: Flow, scenario: Scenario, attached: Collection[str]) -> bool:
    """Whether a flow is simulated: its source is, and its packets are known where they arrive.

    A real host forgets whose packet it was. Only the answers to a ping tell it by themselves.
    """
    if model.from_ in attached:
        return False
    return isinstance(model, PingFlow) or not _meets_real_host(model, scenario, attached)


def _meets_real_host(model: Flow, scenario: Scenario, attached: Collection[str]) -> bool:
    """Whether a flow goes to a real host, or one that forwards may lie on its way."""
    return model.to.partition(":")[0] in attached or any(scenario.nodes[n].kind != "host" for n in attached)


def target_address(world: World, model: Flow) -> bytes:
    """Where a flow goes: the virtual IP that its target is expected to get, or an address that it has.

    That is the first one of the node or interface of an IP version that the source has. With IPv6 alone it
    may be what stands for an IPv4 one on the inside of the first NAT64 of the file.
    """
    virtual = virtual_target(world, model)
    if virtual is not None:
        return expected_address(world, *virtual)
    name, _, interface = model.to.partition(":")
    node, source = world.nodes[name], world.nodes[model.from_]
    ports = [node.ports[interface]] if interface else list(node.ports.values())
    families = {len(address) for port in source.ports.values() for address, _ in port.addresses}
    families |= set(map(len, world.expected_by(model.from_)))
    for port in ports:
        for address, _ in port.addresses:
            if len(address) in families:
                return address
    synthesised = _through_nat64(world, ports) if 16 in families else None
    if synthesised is not None:
        return synthesised
    raise ValueError(f"{model.from_} and {model.to} have no IP version in common")


def _through_nat64(world: World, ports: list[Port]) -> bytes | None:
    """What stands for the first IPv4 address of some interfaces on the inside of a NAT64."""
    boxes = (
        node.nat64 for node in world.nodes.values() if isinstance(node, NatBox) and node.nat64 is not None
    )
    ipv4 = (address for port in ports for address, _ in port.addresses if len(address) == 4)
    box, address = next(boxes, None), next(ipv4, None)
    return None if box is None or address is None else box.prefix.embed(address)


def _cbr(world: World, index: int, model: CbrFlow) -> Iterator[TrafficFlow]:
    source, target, dst = _ends(world, model)
    yield ConstantRate(
        world.sim,
        model.name,
        source,
        target,
        dst,
        find=_find(world, model),
        size=model.size,
        rate=model.rate,
        start=model.start,
        stop=model.stops_at(world.scenario.duration),
        port=_FIRST_PORT + index,
        pattern=model.pattern,
        tos=model.tos,
        pmtud=Pmtud(model.pmtud),
    )


def _ping(world: World, index: int, model: PingFlow) -> Iterator[TrafficFlow]:
    source, target, dst = _ends(world, model)
    yield Ping(
        world.sim,
        model.name,
        source,
        dst,
        target=target,
        find=_find(world, model),
        size=model.size,
        interval=model.interval,
        count=model.count,
        start=model.start,
        stop=world.scenario.duration,
        identifier=_FIRST_IDENTIFIER + index,
        pattern=model.pattern,
        tos=model.tos,
        pmtud=Pmtud(model.pmtud),
        anonymous=_meets_real_host(model, world.scenario, world.attached),
    )


def _replay(world: World, index: int, model: ReplayFlow) -> Iterator[TrafficFlow]:
    source, target, dst = _ends(world, model)
    client = None if model.client is None else pack_address(model.client)
    exchange = read_exchange(Path(world.scenario.capture_file(model)), client)
    if text := left_out(exchange):
        world.warnings.append(world.scenario.problem(("traffic", index, "file"), text))
    names = f"{model.name}.up", f"{model.name}.down"
    stop = world.scenario.duration
    find = _find(world, model)
    yield from replay(
        world.sim, names, exchange, source, target, dst, start=model.start, stop=stop, find=find
    )


def _find(world: World, model: Flow) -> Find | None:
    virtual = virtual_target(world, model)
    return None if virtual is None else finder(world, *virtual)


def _ends(world: World, model: Flow) -> tuple[IpNode, IpNode, bytes]:
    return world.nodes[model.from_], world.nodes[model.to.partition(":")[0]], target_address(world, model)


_MAKERS: dict[type, Callable[[World, int, Any], Iterator[TrafficFlow]]] = {
    CbrFlow: _cbr,
    PingFlow: _ping,
    ReplayFlow: _replay,
}
