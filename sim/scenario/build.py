"""From a scenario to a world that can run: nodes, links, routes, IPsec, traffic and events."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from operator import index
from typing import Any, SupportsIndex

from sim.ike.config import EndpointConfig
from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.icmp_filter import ERRORS
from sim.net.jitter import Exponential, Jitter, Normal, Uniform
from sim.net.link import LinkParams, QueueLimit, connect
from sim.net.nat import NatBox
from sim.net.node import IpNode
from sim.net.real_host import RealHost
from sim.net.router import Router
from sim.scenario import actions
from sim.scenario.authority import with_pki
from sim.scenario.callers import callers_of
from sim.scenario.clear import check_clear
from sim.scenario.configs import ConfigError, cpus_of, endpoint_config
from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.faults import faults_of
from sim.scenario.firewalls import firewall
from sim.scenario.flows import add_flows
from sim.scenario.idle import idle_settings
from sim.scenario.nats import add_rules, announced, nat_box
from sim.scenario.passing import begin_courses
from sim.scenario.reach import check_reachability
from sim.scenario.routes import Attachment, Prefix, RoutingNode, compute_routes, to_prefix
from sim.scenario.schema import (
    Connection,
    ConnectionChild,
    GatewayNode,
    HostNode,
    Link,
    NatNode,
    Node,
    Scenario,
)
from sim.scenario.schema import Jitter as JitterModel
from sim.scenario.schema_pools import pool_range
from sim.scenario.virtual import expect_addresses
from sim.scenario.weak import weak_suites
from sim.scenario.world import World
from sim.tunnels.stack import IpsecStack
from sim.units import NS_PER_S
from sim.wire.pmtu import PmtuRules
from sim.wire.selector import ANY_PORTS, Selector

_DEFAULT_PREFIXES = {4: (bytes(4), 0), 16: (bytes(16), 0)}


def build(scenario: Scenario, seed: int = 1, attached: Collection[str] = ()) -> World:
    """The world of a scenario at time 0, ready to run.

    The `attached` nodes are places for real hosts: their connections and flows are not ours to run, except
    that a real host answers pings. ScenarioError when traffic could never arrive, when a tunnel leaves out
    whose traffic it is for, or when a capture to replay cannot be read; TypeError or ValueError when the
    seed is no whole number from 0 on.
    """
    seed = _checked_seed(seed)
    world = World(expand(scenario), seed, Simulation(seed), attached=frozenset(attached))
    world.warnings += [*weak_suites(scenario), *idle_settings(scenario)]
    _add_nodes(world)
    _add_links(world)
    _add_routes(world)
    _add_stacks(world)
    world.expect(expect_addresses(world))
    add_flows(world)
    check_reachability(world)
    check_clear(world)
    for label in actions.initially_down(world.scenario.events, world.scenario.duration):
        world.ports[label].set_up(False)
    begin_courses(world, world.sim.now)
    actions.schedule(world, world.scenario.events)
    return world


def _checked_seed(seed: object) -> int:
    if not isinstance(seed, SupportsIndex) or isinstance(seed, bool):
        raise TypeError(f"seed={seed!r}: a seed is a whole number, such as seed=7")
    if index(seed) < 0:
        raise ValueError(f"seed={seed}: a seed is at least 0")
    return index(seed)


def _add_nodes(world: World) -> None:
    for name, model in world.scenario.nodes.items():
        kind = "real" if name in world.attached else model.kind
        node = world.nodes[name] = _NODES[kind](world.sim, name, model)
        node.on_drop = world.dropped
        _set_icmp(node, model)
        for interface, addresses in model.interfaces.items():
            port = world.ports[f"{name}:{interface}"] = node.add_port(interface)
            for text in addresses:
                own = ipaddress.ip_interface(text)
                port.add_address(own.ip.packed, own.network.prefixlen)
        if isinstance(node, NatBox) and isinstance(model, NatNode):
            add_rules(node, model)


def _set_icmp(node: IpNode, model: Node) -> None:
    kinds = {kind for given in model.drop_icmp for kind in (ERRORS if given == "errors" else (given,))}
    node.drop_icmp(frozenset(kinds))
    if isinstance(model, HostNode | GatewayNode):
        node.path_mtus.rules = PmtuRules(model.min_pmtu, model.pmtu_aging)


_NODES: dict[str, Callable[[Simulation, str, Any], IpNode]] = {
    "host": lambda sim, name, _: Host(sim, name),
    "router": lambda sim, name, _: Router(sim, name),
    "gateway": lambda sim, name, _: Router(sim, name),
    "nat": nat_box,
    "firewall": firewall,
    "real": lambda sim, name, model: RealHost(sim, name, forwarding=model.kind != "host"),
}


def _add_links(world: World) -> None:
    for link in world.scenario.links:
        a, b = (world.ports[end] for end in link.ends)
        connect(world.sim, a, b, _params(link, "up"), _params(link, "down"))


def _params(link: Link, way: str) -> LinkParams:
    queue = getattr(link.queue, way)
    delay = getattr(link.delay, way)
    jitter = _jitter(getattr(link.jitter, way), delay) if link.jitter else None
    return LinkParams(
        rate_bps=getattr(link.rate, way) if link.rate else None,
        delay_ns=0 if jitter and not isinstance(jitter, Exponential) else delay,
        jitter=jitter,
        reorder=link.reorder,
        loss=getattr(link.loss, way),
        queue=QueueLimit(packets=queue.packets, octets=queue.octets),
        mtu=link.mtu,
    )


def _jitter(model: JitterModel, delay: int) -> Jitter:
    """A distribution that spreads around the delay includes it; one that only adds comes on top."""
    if model.distribution == "exponential":
        return Exponential(model.scale)
    if model.distribution == "normal":
        return Normal(delay, model.scale)
    return Uniform(max(0, delay - model.scale), delay + model.scale)


def _add_routes(world: World) -> None:
    """Connected routes came with the addresses; here come computed, default and written ones."""
    scenario = world.scenario
    links = [(_attachment(link.ends[0]), _attachment(link.ends[1])) for link in scenario.links]
    nodes = [_routing_node(world, name, model) for name, model in scenario.nodes.items()]
    for name, (address, length), interface in compute_routes(nodes, links):
        world.nodes[name].add_route(address, length, world.ports[f"{name}:{interface}"])
    for routing, model in zip(nodes, scenario.nodes.values(), strict=True):
        node = world.nodes[routing.name]
        for metric, interface in enumerate(_default_interfaces(routing, model), 1):
            for prefix in _DEFAULT_PREFIXES.values():
                node.add_route(*prefix, node.ports[interface], metric)
        for prefix in routing.leased:  # a tunnel takes what goes there, whichever interface it is
            node.add_route(*prefix, next(iter(node.ports.values())), len(node.ports) + 1)
        for text, interface in model.routes.items():
            node.add_route(*to_prefix(text), node.ports[interface], -1)


def _attachment(end: str) -> Attachment:
    node, interface = end.split(":")
    return node, interface


def _default_interfaces(node: RoutingNode, model: Node) -> list[str]:
    """The interfaces of the default routes, best first; a router knows every prefix and needs none."""
    if isinstance(model, NatNode):
        return [model.outside]
    if model.kind == "gateway":
        return [
            name for name, prefixes in node.ports.items() if all(node.announces(p, name) for p in prefixes)
        ]
    return [] if model.kind in ("router", "firewall") else list(model.interfaces)


def _routing_node(world: World, name: str, model: Node) -> RoutingNode:
    ports = {
        interface: tuple(to_prefix(text) for text in addresses)
        for interface, addresses in model.interfaces.items()
    }
    announces = _announcer(model, world.scenario.connections.get(name, {}))
    elsewhere = announced(model) if isinstance(model, NatNode) else ()
    return RoutingNode(
        name,
        ports,
        announces,
        tuple(_leased(world.scenario, name)),
        model.kind != "host",
        tuple((interface, to_prefix(text)) for interface, text in elsewhere),
    )


def _leased(scenario: Scenario, node: str) -> Iterator[Prefix]:
    """The networks of the virtual IPs that a node leases."""
    connections = scenario.connections.get(node, {}).values()
    used = {name for connection in connections for name in connection.pools}
    for name, pool in scenario.pools.get(node, {}).items():
        if name in used:
            first, last = map(ipaddress.ip_address, pool_range(pool.addrs))
            for network in ipaddress.summarize_address_range(first, last):
                yield network.network_address.packed, network.prefixlen


def _announcer(model: Node, connections: Mapping[str, Connection]) -> Callable[[Prefix, str], bool]:
    if model.kind == "host":
        return lambda _prefix, _port: False
    if isinstance(model, NatNode):
        return lambda _prefix, port: port == model.outside
    protected = [ts for connection in connections.values() for ts in _local_selectors(connection.negotiated)]
    passing = [
        ts._replace(protocol=0, ports=ANY_PORTS)
        for connection in connections.values()
        for ts in _local_selectors(connection.shunts, "pass")
    ]

    def announces(prefix: Prefix, _port: str) -> bool:
        """Others know the way to what is not protected, and to what some packets pass by protection for."""
        network = _selector(prefix)
        return any(ts.intersect(network) for ts in passing) or not any(
            ts.contains(network) for ts in protected
        )

    return announces


def _local_selectors(children: Mapping[str, ConnectionChild], mode: str = "") -> Iterator[Selector]:
    for child in children.values():
        if mode in ("", child.mode):
            yield from child.local_ts


def _selector(prefix: Prefix) -> Selector:
    address, length = prefix
    return Selector.from_prefix(f"{ipaddress.ip_address(address)}/{length}")


def _config(scenario: Scenario, node: str, connections: Mapping[str, Connection]) -> EndpointConfig:
    try:
        pools, discards = scenario.pools.get(node), _discards(scenario, node)
        return endpoint_config(connections, pools, discards=discards, cpus=cpus_of(scenario, node))
    except ConfigError as error:
        raise ScenarioError([scenario.problem(("connections", node, *error.path), str(error))]) from None


def _discards(scenario: Scenario, node: str) -> bool:
    model = scenario.nodes[node]
    return isinstance(model, HostNode | GatewayNode) and model.default_policy == "discard"


def _add_stacks(world: World) -> None:
    scenario = with_pki(world.scenario, world.sim.rand)
    strict: dict[str, Mapping[str, Connection]] = {n: {} for n in scenario.nodes if _discards(scenario, n)}
    for name, connections in {**scenario.connections, **strict, **scenario.connections}.items():
        if name in world.attached:
            continue
        callers = callers_of(world, name) if connections else {}
        config = replace(_config(scenario, name, connections), epoch=scenario.date * NS_PER_S)
        stack = IpsecStack(
            world.nodes[name],
            config,
            world.observe,
            callers,
            world.trace,
            faults_of(world, name),
        )
        world.stacks[name] = stack
        world.sim.at(0, stack.start)
