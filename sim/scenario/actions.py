"""The `events:` of a scenario, scheduled: what happens to nodes while the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sim.net.nat import NatBox
from sim.net.port import Port
from sim.scenario.passing import note_courses
from sim.scenario.schema import DownEvent, DummyEvent, Event, MoveEvent, RebindEvent, SaEvent, UpEvent
from sim.scenario.world import World
from sim.tunnels.narrate import LogEntry
from sim.units import format_duration


def initially_down(events: tuple[Event, ...]) -> set[str]:
    """`node:iface` of every interface whose first event brings it up: it is down until then."""
    first: dict[str, bool] = {}
    for event in sorted(events, key=lambda event: event.at):
        for interface, up in switches(event):
            first.setdefault(f"{event.node}:{interface}", up)
    return {label for label, up in first.items() if up}


def schedule(world: World, events: tuple[Event, ...]) -> None:
    """Arrange for every event; those at one instant happen in the order of the file."""
    for event in events:
        world.sim.at(event.at, partial(_ACTIONS[type(event)], world, event))


def _move(world: World, event: MoveEvent, now: int) -> None:
    """Break before make; without a gap both happen at once, so that no instant is without an address."""
    old, new = (world.ports[f"{event.node}:{name}"] for name in (event.from_, event.to))
    if event.gap:
        pause = f", {event.to} is up after {format_duration(event.gap)}"
        old.set_up(False)
        world.sim.at(now + event.gap, partial(_come_up, world, new))
    else:
        pause = ""
        new.set_up(True)
        old.set_up(False)
    _log(world, event, now, f"{event.node} moves from {event.from_} to {event.to}{pause}")


def _come_up(world: World, port: Port, now: int) -> None:
    port.set_up(True)
    note_courses(world, now)


def _rebind(world: World, event: RebindEvent, now: int) -> None:
    node = world.nodes[event.node]
    assert isinstance(node, NatBox)
    node.nat.rebind(now)
    _log(world, event, now, f"{event.node} gives every mapping another external port")


def _up(world: World, event: UpEvent, now: int) -> None:
    world.ports[f"{event.node}:{event.interface}"].set_up(True)
    _log(world, event, now, f"{event.node}:{event.interface} comes up")


def _down(world: World, event: DownEvent, now: int) -> None:
    world.ports[f"{event.node}:{event.interface}"].set_up(False)
    _log(world, event, now, f"{event.node}:{event.interface} goes down")


def _command(world: World, event: SaEvent, now: int) -> None:
    stack = world.stacks[event.node]
    what = event.connection if event.child is None else f"{event.connection}/{event.child}"
    world.note(LogEntry(now, event.node, event.do, detail=f"{event.node} is told to {event.do} {what}"))
    stack.command(event.do, event.connection, event.child, now)


def _dummy(world: World, event: DummyEvent, now: int) -> None:
    left = world.stacks[event.node].send_dummies(event.connection, event.child, event.count, event.size, now)
    what = event.connection if event.child is None else f"{event.connection}/{event.child}"
    _log(world, event, now, f"{event.node} sends {left} dummy packets on {what}")


_ACTIONS: dict[type, Callable[[World, Any, int], None]] = {
    MoveEvent: _move,
    RebindEvent: _rebind,
    UpEvent: _up,
    DownEvent: _down,
    SaEvent: _command,
    DummyEvent: _dummy,
}


def switches(event: Event) -> tuple[tuple[str, bool], ...]:
    """The interfaces that an event switches, and to which state."""
    if isinstance(event, MoveEvent):
        return (event.from_, False), (event.to, True)
    if isinstance(event, UpEvent | DownEvent):
        return ((event.interface, isinstance(event, UpEvent)),)
    return ()


def _log(world: World, event: Event, now: int, detail: str) -> None:
    """Told when it is done."""
    note_courses(world, now)
    world.note(LogEntry(now, event.node, event.do, detail=detail))
