"""Whether the parts of a scenario fit together: every name is known, every check can be asked.

Addresses and links are looked at in `addressing`; what depends on routes, when the scenario is built.
"""

from __future__ import annotations

import difflib
import fnmatch
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping

from sim.ike.eap.names import METHODS, PASSWORD_METHODS, eap_problem
from sim.ike.identity import ANY
from sim.scenario.addressing import check_addresses, check_links, check_networks
from sim.scenario.errors import Path, Problem
from sim.scenario.expand import sides, user_of
from sim.scenario.firewalls import firewall_problems
from sim.scenario.nats import nat_problems
from sim.scenario.schema import (
    CbrFlow,
    Check,
    ChildCheck,
    ConnectionCheck,
    ConnectionChild,
    FirewallNode,
    FlowCheck,
    GatewayNode,
    HostNode,
    NatNode,
    Scenario,
    Tunnel,
    TunnelAuth,
    TunnelChild,
    record_names,
)
from sim.scenario.schema_events import (
    AddressEvent,
    BlockEvent,
    DownEvent,
    DummyEvent,
    Event,
    ExhaustEvent,
    FlapEvent,
    MoveEvent,
    RebindEvent,
    RedirectEvent,
    RetimeEvent,
    SaEvent,
    UnblockEvent,
    UpEvent,
)
from sim.scenario.schema_pools import pool_range
from sim.wire.selector import Selector

_NOBODY = "nobody is called like that: leave it out, or say it as the `remote_id` of the other end alone"
Found = Iterator[tuple[Path, str]]


def check_consistency(scenario: Scenario) -> list[Problem]:
    """Everything that does not fit, in the order of the file's sections."""
    found = [scenario.problem(path, text) for check in _CHECKS for path, text in check(scenario)]
    return list(dict.fromkeys(found))


def check_tunnels(scenario: Scenario) -> list[Problem]:
    """What does not fit of the tunnels of a scenario as it was written, before any `count` is carried out."""
    return list(dict.fromkeys(scenario.problem(path, text) for path, text in _tunnels(scenario)))


def _nodes(scenario: Scenario) -> Found:
    for name, model in scenario.nodes.items():
        for prefix, interface in model.routes.items():
            if interface not in model.interfaces:
                yield ("nodes", name, "routes", prefix), _unknown("interface", interface, model.interfaces)
        if isinstance(model, NatNode):
            yield from ((("nodes", name, *path), text) for path, text in nat_problems(model))
        if isinstance(model, FirewallNode):
            yield from ((("nodes", name, *path), text) for path, text in firewall_problems(model))


def _pki(scenario: Scenario) -> Found:
    for name in scenario.pki.nodes if scenario.pki is not None else ():
        if name not in scenario.nodes:
            yield ("pki", "nodes", name), _unknown("node", name, scenario.nodes)


def _tunnels(scenario: Scenario) -> Found:
    for name, tunnel in scenario.tunnels.items():
        ends = {"initiator": tunnel.initiator, "responder": tunnel.responder}
        for role, node in ends.items():
            yield from ((("tunnels", name, role), text) for text in _tunnel_end(scenario, node))
            if name in scenario.connections.get(node, {}):
                yield ("tunnels", name), f"{node} has a connection of that name already"
        for text in _pool_names(scenario, tunnel.responder, tunnel.pools):
            yield ("tunnels", name, "pools"), text
        if tunnel.initiator == tunnel.responder:
            yield ("tunnels", name, "responder"), "is the initiator itself"
        believed = sides(tunnel)
        methods = {side.method for side in believed}
        if "psk" in methods and any(side.psk is None for side in believed):
            yield ("tunnels", name, "auth"), "has no psk: write `auth: {psk: ...}`"
        for key in _nobody(tunnel.auth):
            yield ("tunnels", name, "auth", *key), _NOBODY
        for key, text in _eap(tunnel):
            yield ("tunnels", name, "auth", *key), text
        if tunnel.ppk is not None and methods & set(METHODS):
            yield ("tunnels", name, "ppk"), "is not supported together with EAP"
        if methods - {"psk", "null", "eap", *PASSWORD_METHODS} and scenario.pki is None:
            text = "authentication by public key needs certificates: write `pki: auto` beside `nodes`"
            yield ("tunnels", name, "auth", "method"), text


def _nobody(auth: TunnelAuth) -> Iterator[tuple[str, ...]]:
    """Where one end is said to be anybody; an end's `remote_id` may well be."""
    for role, side in (("initiator", auth.initiator), ("responder", auth.responder)):
        if side.local_id in ANY:
            yield role, "local_id"
    yield from ((key,) for key in ("local_id", "remote_id") if getattr(auth, key) in ANY)


def _eap(tunnel: Tunnel) -> Iterator[tuple[tuple[str, ...], str]]:
    """What a tunnel lacks for EAP, or has for it in vain."""
    believed = sides(tunnel)
    initiator, responder = (side.method or "" for side in believed)
    text = eap_problem(initiator, responder)
    if tunnel.auth.second is not None and {initiator, responder} & set(METHODS):
        yield ("second",), "is not supported besides EAP in the first round"
    elif tunnel.auth.second is not None and tunnel.ppk is not None:
        yield ("second",), "is not supported with a ppk"
    if text:
        yield (), text
    elif responder in METHODS and initiator not in METHODS:
        yield (
            ("responder", "method"),
            "by EAP the initiator proves who it is; a responder does so only as well",
        )
    elif initiator in METHODS:
        if user_of(tunnel) in ANY:
            yield ("initiator", "eap_id"), "is whom the initiator authenticates as, who has a name"
        if user_of(tunnel) is None and initiator != "eap-tls":
            yield (), "has no eap_id: write as whom the initiator authenticates by EAP"
        if initiator in PASSWORD_METHODS and any(side.password is None for side in believed):
            yield (), "has no password: write `auth: {eap_id: carol, password: ...}`"
    elif any(side.eap_id or side.password for side in believed):
        yield (), "eap_id and password are for a method such as eap-mschapv2"


def _tunnel_end(scenario: Scenario, node: str) -> Iterator[str]:
    model = scenario.nodes.get(node)
    if model is None:
        yield _unknown("node", node, scenario.nodes)
    elif not isinstance(model, HostNode | GatewayNode):
        yield f"{node} is a {model.kind}: only a host or a gateway can be the end of a tunnel"


def _pools(scenario: Scenario) -> Found:
    """Pools belong to nodes that there are, and those of one node do not overlap."""
    for node, pools in scenario.pools.items():
        yield from ((("pools", node), text) for text in _tunnel_end(scenario, node))
        seen: dict[str, Selector] = {}
        for name, pool in pools.items():
            here = Selector(*pool_range(pool.addrs))
            for other, there in seen.items():
                if here.intersect(there) is not None:
                    yield (
                        ("pools", node, name, "addrs"),
                        f"{pool.addrs} overlaps {pools[other].addrs} of {other}",
                    )
            seen[name] = here


def _pool_names(scenario: Scenario, node: str, names: Iterable[str]) -> Iterator[str]:
    known = scenario.pools.get(node, {})
    yield from (_unknown(f"pool of {node}", name, known) for name in names if name not in known)


def _connections(scenario: Scenario) -> Found:
    for node, connections in scenario.connections.items():
        yield from ((("connections", node), text) for text in _tunnel_end(scenario, node))
        for name, connection in connections.items():
            place: Path = ("connections", node, name)
            if connection.local_id in ANY:
                yield (*place, "local_id"), _NOBODY
            for text in _pool_names(scenario, node, connection.pools):
                yield (*place, "pools"), text
            if connection.vips and not connection.remote_addrs:
                yield (*place, "vips"), "the connection has no `remote_addrs`, so there is nobody to ask"
            for child, model in connection.negotiated.items():
                if model.start_action != "none" and not connection.remote_addrs:
                    path = "connections", node, name, "children", child, "start_action"
                    yield path, "the connection has no `remote_addrs`, so there is nobody to call"


def _traffic(scenario: Scenario) -> Found:
    seen: set[str] = set()
    for index, flow in enumerate(scenario.traffic):
        path: Path = ("traffic", index)
        if flow.name in seen:
            yield (*path, "name"), f"another flow has the name {flow.name} already"
        seen.add(flow.name)
        yield from (((*path, "from"), text) for text in _target(scenario, flow.from_))
        yield from (((*path, "to"), text) for text in _target(scenario, flow.to))
        if flow.from_ == flow.to.partition(":")[0]:
            yield (*path, "to"), "is where the traffic comes from"
        if flow.start >= scenario.duration:
            yield (*path, "start"), "is not before the end of the run, so nothing would be sent"
        if isinstance(flow, CbrFlow) and flow.stop is not None and flow.stop > scenario.duration:
            yield (*path, "stop"), "is after the end of the run"


def _target(scenario: Scenario, target: str) -> Iterator[str]:
    node, colon, interface = target.partition(":")
    if node not in scenario.nodes:
        yield _unknown("node", node, scenario.nodes)
    elif colon and interface not in scenario.nodes[node].interfaces:
        yield _unknown(f"interface of {node}", interface, scenario.nodes[node].interfaces)


def _events(scenario: Scenario) -> Found:
    for index, event in enumerate(scenario.events):
        path: Path = ("events", index)
        if event.at is not None and event.at >= scenario.duration:
            yield (*path, "at"), "is not before the end of the run, so it would never happen"
        if event.spread:
            yield (*path, "spread"), f"has no effect: {event.node} is one node, without `count`"
        if event.when is not None:
            condition = ConnectionCheck(connection=event.when.connection, node=event.when.node)
            yield from (((*path, "when", key), text) for key, text in _connection_check(scenario, condition))
        if event.node not in scenario.nodes:
            yield (*path, "node"), _unknown("node", event.node, scenario.nodes)
        else:
            yield from (((*path, key), text) for key, text in _event(scenario, event))


def _event(scenario: Scenario, event: Event) -> Iterator[tuple[str, str]]:
    """What is wrong with an event of a node that there is."""
    model = scenario.nodes[event.node]
    if isinstance(event, RebindEvent | ExhaustEvent) and not isinstance(model, NatNode):
        yield "node", f"{event.node} is a {model.kind}: only a NAT has mappings"
    if isinstance(event, RebindEvent) and event.address is not None and isinstance(model, NatNode):
        yield from (("address", text) for text in _leased(scenario, event.node, model, event.address))
    if isinstance(event, RetimeEvent) and not isinstance(model, NatNode | FirewallNode):
        yield "node", f"{event.node} is a {model.kind}: only a NAT and a firewall have timeouts"
    if isinstance(event, SaEvent | DummyEvent | RedirectEvent):
        yield from _commanded(scenario, event)
    for key, interface in _named(event).items():
        if interface not in model.interfaces:
            yield key, _unknown(f"interface of {event.node}", interface, model.interfaces)
    if isinstance(event, MoveEvent) and event.from_ == event.to:
        yield "to", "is where the node is already"
    if isinstance(event, UnblockEvent):
        rules = [e.rule for e in scenario.events if isinstance(e, BlockEvent) and e.node == event.node]
        if event.rule not in rules:
            yield "rule", _unknown(f"rule of {event.node}", event.rule, rules)
    streams = isinstance(event, RetimeEvent) and event.udp_stream_timeout is not None
    if streams and getattr(model, "preset", "") != "linux":
        yield "udp_stream_timeout", "only the preset linux tells streams from other UDP"


def _leased(scenario: Scenario, node: str, model: NatNode, address: str) -> Iterator[str]:
    """What is wrong with another outside address of a NAT, for which nobody else has a route."""
    own = ipaddress.ip_interface(address)
    networks = [ipaddress.ip_interface(text).network for text in model.interfaces.get(model.outside, ())]
    if own.network not in networks:
        yield f"{own} is in no network of {node}:{model.outside}: nobody would find it there"
    for name, other in scenario.nodes.items():
        owned = (ipaddress.ip_interface(text).ip for texts in other.interfaces.values() for text in texts)
        if name != node and own.ip in owned:
            yield f"{own.ip} is an address of {name}"


def _faults(scenario: Scenario) -> Found:
    """Before tunnels are expanded: whoever has a connection or is the end of a tunnel can have faults."""
    ends: dict[str, set[str]] = {node: set(own) for node, own in scenario.connections.items()}
    for name, tunnel in scenario.tunnels.items():
        for node in (tunnel.initiator, tunnel.responder):
            ends.setdefault(node, set()).add(name)
    for index, fault in enumerate(scenario.faults):
        path: Path = ("faults", index)
        if fault.node not in scenario.nodes:
            yield (*path, "node"), _unknown("node", fault.node, scenario.nodes)
        elif fault.node not in ends:
            yield (*path, "node"), f"{fault.node} has no tunnel and no connection, so it sends no IKE message"
        elif fault.connection is not None and fault.connection not in ends[fault.node]:
            yield (*path, "connection"), _unknown("connection", fault.connection, ends[fault.node])


def _named(event: Event) -> dict[str, str]:
    """Which key names which interface."""
    if isinstance(event, MoveEvent):
        return {"from": event.from_, "to": event.to}
    if isinstance(event, UpEvent | DownEvent | FlapEvent | AddressEvent):
        return {"interface": event.interface}
    return {}


def _commanded(scenario: Scenario, event: SaEvent | DummyEvent | RedirectEvent) -> Iterator[tuple[str, str]]:
    """What is wrong with the connection or the Child SA that a command names."""
    tunnels = {
        name: tunnel.children
        for name, tunnel in scenario.tunnels.items()
        if event.node in (tunnel.initiator, tunnel.responder)
    }
    own = {name: conn.children for name, conn in scenario.connections.get(event.node, {}).items()}
    known: dict[str, Mapping[str, TunnelChild] | Mapping[str, ConnectionChild]] = {**tunnels, **own}
    if event.connection not in known:
        yield "connection", _unknown(f"connection of {event.node}", event.connection, known)
    elif isinstance(event, RedirectEvent):
        tunnel = scenario.tunnels.get(event.connection)
        if tunnel is not None and event.node == tunnel.initiator:
            yield "do", f"{event.node} calls by this connection: who is called sends its peers elsewhere"
    elif event.child is not None and event.child not in known[event.connection]:
        yield "child", _unknown(f"child of {event.connection}", event.child, known[event.connection])
    elif isinstance(event, DummyEvent):
        if any(model.ah_proposals for model in _children_of(known[event.connection], event.child)):
            yield "do", "dummy packets hide among those of ESP: AH has none (RFC 4303 2.6)"
    elif event.do in ("initiate", "reauthenticate") and _only_answers(scenario, event):
        yield "do", f"{event.node} only answers this connection: it knows no address to call"


def _children_of(
    children: Mapping[str, TunnelChild] | Mapping[str, ConnectionChild], name: str | None
) -> list[TunnelChild | ConnectionChild]:
    return list(children.values()) if name is None else [children[name]]


def _only_answers(scenario: Scenario, event: SaEvent) -> bool:
    tunnel = scenario.tunnels.get(event.connection)
    if tunnel is not None:
        return event.node != tunnel.initiator
    return not scenario.connections[event.node][event.connection].remote_addrs


def _checks(scenario: Scenario) -> Found:
    for index, check in enumerate(scenario.checks):
        ask: Callable[[Scenario, Check], Iterator[tuple[str, str]]] = _ASK[type(check)]
        yield from ((("checks", index, key), text) for key, text in ask(scenario, check))


def _connection_check(scenario: Scenario, check: ConnectionCheck) -> Iterator[tuple[str, str]]:
    nodes = {node for node, own in scenario.connections.items() if check.connection in own}
    tunnel = scenario.tunnels.get(check.connection)
    if tunnel is not None:
        nodes |= {tunnel.initiator, tunnel.responder}
    if not nodes:
        known = {*scenario.tunnels, *(name for own in scenario.connections.values() for name in own)}
        yield "connection", _unknown("tunnel or connection", check.connection, sorted(known))
    elif check.node is not None and check.node not in nodes:
        yield "node", f"{check.node} has no connection {check.connection}"
    if check.by is not None and check.by > scenario.duration:
        yield "by", "is after the end of the run"
    if check.reason is not None and check.is_ == "established":
        yield "reason", "a connection that is established has no reason for its end: say `is: failed`"


def _child_check(scenario: Scenario, check: ChildCheck) -> Iterator[tuple[str, str]]:
    connection = ConnectionCheck(connection=check.connection, node=check.node)
    found = list(_connection_check(scenario, connection))
    yield from found
    if found:
        return
    tunnel = scenario.tunnels.get(check.connection)
    own = (connections.get(check.connection) for connections in scenario.connections.values())
    known = set(tunnel.children if tunnel is not None else ())
    known |= {name for conn in own if conn is not None for name in conn.children}
    if check.child not in known:
        yield "child", _unknown(f"child of {check.connection}", check.child, sorted(known))


def _flow_check(scenario: Scenario, check: FlowCheck) -> Iterator[tuple[str, str]]:
    known = [name for flow in scenario.traffic for name in record_names(flow)]
    if check.flow not in known:
        yield "flow", _unknown("flow", check.flow, known)


def _capture(scenario: Scenario) -> Found:
    ends = [f"{node}:{name}" for node, model in scenario.nodes.items() for name in model.interfaces]
    for index, pattern in enumerate(scenario.capture):
        if not fnmatch.filter(ends, pattern):
            yield ("capture", index), f"no interface matches {pattern!r}: write node:interface, or a pattern"


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(names) or 'none'}"
    return f"there is no {kind} `{name}`; {hint}"


_ASK: dict[type, Callable[..., Iterator[tuple[str, str]]]] = {
    ConnectionCheck: _connection_check,
    FlowCheck: _flow_check,
    ChildCheck: _child_check,
}
_CHECKS: tuple[Callable[[Scenario], Found], ...] = (
    check_addresses,
    _nodes,
    check_links,
    check_networks,
    _pki,
    _pools,
    _tunnels,
    _connections,
    _traffic,
    _events,
    _faults,
    _checks,
    _capture,
)
