"""The `events:` of a scenario, scheduled: what happens to nodes while the run goes on."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from sim.net.firewall import Firewall
from sim.net.gate import Rule
from sim.net.nat import NatBox
from sim.net.port import Port
from sim.scenario.conditions import watch_for
from sim.scenario.passing import note_courses
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
    RebootEvent,
    RedirectEvent,
    RetimeEvent,
    SaEvent,
    UnblockEvent,
    UpEvent,
)
from sim.scenario.world import World
from sim.tunnels.narrate import LogEntry
from sim.units import format_duration
from sim.wire.address import pack_address
from sim.wire.ip import Protocol

Switches = tuple[tuple[str, bool], ...]
"""Interfaces of the event's node, and whether each comes up."""

_PROTOCOLS: dict[str, int | None] = {
    "any": None,
    "icmp-errors": None,
    "udp": Protocol.UDP,
    "tcp": Protocol.TCP,
    "icmp": Protocol.ICMP,
    "esp": Protocol.ESP,
    "ah": Protocol.AH,
}


def initially_down(events: tuple[Event, ...], end: int) -> set[str]:
    """`node:iface` of every interface whose first event brings it up: it is down until then.

    When a condition comes true is not known beforehand: such an event counts where no event has a time.
    """
    first: dict[str, tuple[int, bool]] = {}
    for event in events:
        for at in event.begins(end)[:1] if event.when is None else (end,):
            for interface, up in switches(event):
                label = f"{event.node}:{interface}"
                if label not in first or at < first[label][0]:
                    first[label] = at, up
    return {label for label, (_, up) in first.items() if up}


def schedule(world: World, events: tuple[Event, ...]) -> None:
    """Arrange for every event; those at one instant happen in the order of the file."""
    for event in events:
        act = partial(_ACTIONS[type(event)], world, event)
        for at in event.begins(world.scenario.duration):
            world.sim.at(at, act)
        if event.when is not None:
            watch_for(world, event.when, event.after, event.times or 1, act)


def switches(event: Event) -> Switches:
    """The interfaces that an event switches at once, and to which state."""
    if isinstance(event, MoveEvent):
        return (event.from_, False), (event.to, True)
    if isinstance(event, UpEvent):
        return ((event.interface, True),)
    return ((event.interface, False),) if isinstance(event, DownEvent | FlapEvent) else ()


def _move(world: World, event: MoveEvent, now: int) -> None:
    """Without a gap both happen at once, so that no instant is without an address."""
    old, new = (world.ports[f"{event.node}:{name}"] for name in (event.from_, event.to))
    pause = ""
    if event.gap:
        pause = f", {event.to} is up after {format_duration(event.gap)}"
        old.set_up(False)
        world.sim.at(now + event.gap, partial(_switch, world, new, True))
    elif event.overlap:
        pause = f", {event.from_} goes down after {format_duration(event.overlap)}"
        new.set_up(True)
        world.sim.at(now + event.overlap, partial(_switch, world, old, False))
    else:
        new.set_up(True)
        old.set_up(False)
    _log(world, event, now, f"{event.node} moves from {event.from_} to {event.to}{pause}", switches(event))


def _switch(world: World, port: Port, up: bool, now: int) -> None:
    port.set_up(up)
    note_courses(world, port.node.name, now)


def _up(world: World, event: UpEvent, now: int) -> None:
    world.ports[f"{event.node}:{event.interface}"].set_up(True)
    _log(world, event, now, f"{event.node}:{event.interface} comes up", switches(event))


def _down(world: World, event: DownEvent, now: int) -> None:
    world.ports[f"{event.node}:{event.interface}"].set_up(False)
    _log(world, event, now, f"{event.node}:{event.interface} goes down", switches(event))


def _flap(world: World, event: FlapEvent, now: int) -> None:
    """One that goes down again while it is down comes up when the last of them is over."""
    label = f"{event.node}:{event.interface}"
    world.ports[label].set_up(False)
    _take(world, label, now + event.gap)
    world.sim.at(now + event.gap, partial(_flap_over, world, label))
    text = f"{label} goes down for {format_duration(event.gap)}"
    _log(world, event, now, text, switches(event))


def _flap_over(world: World, label: str, now: int) -> None:
    if world.away_until[label] <= now:
        _switch(world, world.ports[label], True, now)


def _take(world: World, what: str, until: int) -> None:
    """It is away until then, or longer if an earlier event says so."""
    world.away_until[what] = max(until, world.away_until.get(what, 0))


def _address(world: World, event: AddressEvent, now: int) -> None:
    """Nothing happens to an address that is there already, or is not there any more."""
    port = world.ports[f"{event.node}:{event.interface}"]
    own = ipaddress.ip_interface(event.address)
    address, length = own.ip.packed, own.network.prefixlen
    there = any(address == known for known, _ in port.addresses)
    if event.do == "add-address" and not there:
        port.add_address(address, length)
    elif event.do == "remove-address" and there:
        port.remove_address(address)
    verb = "has another address" if event.do == "add-address" else "loses the address"
    _log(world, event, now, f"{event.node}:{event.interface} {verb}: {event.address}")


def _rebind(world: World, event: RebindEvent, now: int) -> None:
    box = _box(world, event)
    if event.address is None:
        box.nat.rebind(now)
        _log(world, event, now, f"{event.node} gives every mapping another external port")
        return
    own, port = ipaddress.ip_interface(event.address), box.ports[box.outside]
    before = port.first_address(4)
    if before is not None and before != own.ip.packed:
        port.remove_address(before)
        port.add_address(own.ip.packed, own.network.prefixlen)
    _log(world, event, now, f"{event.node} has another external address: {own.ip}")


def _reboot(world: World, event: RebootEvent, now: int) -> None:
    """Off with all interfaces; what was in memory is gone. While it is away, it can be away for longer."""
    node = world.nodes[event.node]
    stack = world.stacks.get(event.node)
    ports = [port for port in node.ports.values() if port.link is not None and port.up]
    is_away = world.away_until.get(event.node, 0) > now
    _take(world, event.node, now + event.gap)
    if event.gap and not is_away:
        for port in ports:
            port.set_up(False)
    if isinstance(node, NatBox | Firewall):
        node.reboot()
    if stack is not None:
        stack.crash(now)
    if not is_away:
        world.sim.at(now + event.gap, partial(_come_back, world, event, ports))
    text = f"{event.node} restarts" + (f", and is away for {format_duration(event.gap)}" if event.gap else "")
    _log(world, event, now, text, tuple((port.name, False) for port in ports if event.gap))


def _come_back(world: World, event: RebootEvent, ports: list[Port], now: int) -> None:
    until = world.away_until[event.node]
    if until > now:
        world.sim.at(until, partial(_come_back, world, event, ports))
        return
    for port in ports:
        port.set_up(True)
    stack = world.stacks.get(event.node)
    if stack is not None:
        stack.set_out(now)
    note_courses(world, event.node, now)


def _retime(world: World, event: RetimeEvent, now: int) -> None:
    box = world.nodes[event.node]
    assert isinstance(box, NatBox | Firewall)
    box.configure(box.profile.override(event.timeouts()))
    changes = ", ".join(f"{key} {format_duration(value)}" for key, value in event.timeouts().items())
    _log(world, event, now, f"{event.node} has other timeouts: {changes}")


def _exhaust(world: World, event: ExhaustEvent, now: int) -> None:
    box = _box(world, event)
    box.nat.exhausted = True
    _take(world, f"{event.node} ports", now + event.gap if event.gap else sys.maxsize)
    if event.gap:
        world.sim.at(now + event.gap, partial(_restore, world, box))
    _log(world, event, now, f"{event.node} has no port left for new mappings")


def _restore(world: World, box: NatBox, now: int) -> None:
    if world.away_until[f"{box.name} ports"] <= now:
        box.nat.exhausted = False


def _block(world: World, event: BlockEvent, now: int) -> None:
    network = None
    if event.network is not None:
        prefix = ipaddress.ip_network(event.network)
        network = prefix.network_address.packed, prefix.prefixlen
    errors = event.protocol == "icmp-errors"
    world.nodes[event.node].block(
        event.rule, Rule(_PROTOCOLS[event.protocol], event.port, network, errors=errors)
    )
    port = "" if event.port is None else f" port {event.port}"
    where = "" if event.network is None else f" from and to {event.network}"
    _log(world, event, now, f"{event.node} drops {event.protocol}{port}{where} (rule {event.rule})")


def _unblock(world: World, event: UnblockEvent, now: int) -> None:
    world.nodes[event.node].unblock(event.rule)
    _log(world, event, now, f"{event.node} has the rule {event.rule} no longer")


def _command(world: World, event: SaEvent, now: int) -> None:
    stack = world.stacks[event.node]
    what = event.connection if event.child is None else f"{event.connection}/{event.child}"
    world.note(LogEntry(now, event.node, event.do, detail=f"{event.node} is told to {event.do} {what}"))
    stack.command(event.do, event.connection, event.child, now)


def _dummy(world: World, event: DummyEvent, now: int) -> None:
    left = world.stacks[event.node].send_dummies(event.connection, event.child, event.count, event.size, now)
    what = event.connection if event.child is None else f"{event.connection}/{event.child}"
    _log(world, event, now, f"{event.node} sends {left} dummy packets on {what}")


def _redirect(world: World, event: RedirectEvent, now: int) -> None:
    told = world.stacks[event.node].redirect(event.connection, pack_address(event.to), now)
    text = f"{event.node} sends {told} of its peers on {event.connection} to {event.to}"
    _log(world, event, now, text)


_ACTIONS: dict[type, Callable[[World, Any, int], None]] = {
    MoveEvent: _move,
    RebindEvent: _rebind,
    UpEvent: _up,
    DownEvent: _down,
    FlapEvent: _flap,
    AddressEvent: _address,
    RebootEvent: _reboot,
    RetimeEvent: _retime,
    ExhaustEvent: _exhaust,
    BlockEvent: _block,
    UnblockEvent: _unblock,
    SaEvent: _command,
    DummyEvent: _dummy,
    RedirectEvent: _redirect,
}


def _box(world: World, event: RebindEvent | ExhaustEvent) -> NatBox:
    node = world.nodes[event.node]
    assert isinstance(node, NatBox)
    return node


def _log(world: World, event: Event, now: int, detail: str, switched: Switches = ()) -> None:
    """Told when it is done."""
    note_courses(world, event.node, now)
    world.note(LogEntry(now, event.node, event.do, detail=detail, switched=switched))
