"""Why a flow stood still: the event that can have caused an outage, or else what became of its packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from sim.experiment.black_hole import silence
from sim.net.link import LOST
from sim.scenario.world import World
from sim.traffic.outages import NEVER, Outage
from sim.traffic.record import Drop, FlowRecord
from sim.tunnels.narrate import ANSWERS_STOLEN, LogEntry
from sim.units import NS_PER_S

_SWITCHING = ("move", "up", "down", "flap")
_ANYWHERE = ("rebind", "reboot", "retime", "exhaust", "block", "add-address", "remove-address")
"""They can stop a flow wherever it meets the node."""
_ACTIONS = (*_SWITCHING, *_ANYWHERE)
_SA_EVENTS = ("ike down", "child down", "child failed", ANSWERS_STOLEN)
_PATH_EVENTS = ("path changed",)
_PLACES = 3
"""So many places where packets were dropped are told."""


def explain(world: World, name: str, outage: Outage) -> str:
    """The nearest event that can have caused an outage of a flow, in words.

    It concerns an interface, NAT or connection on the flow's way, and happened before the network dropped
    the first packet of the outage, but not so long before the last arrival that a packet sent afterwards had
    arrived. What the scenario does comes before what an SA suffers from it, and that before a change of the
    addresses that an SA uses. A link's own loss has no cause.
    """
    record = world.flows[name].record
    drops = record.drops(outage)
    caused = [drop for drop in drops if drop.reason != LOST]
    if caused or not drops:
        since, until = _since(record, outage), min((drop.at for drop in caused), default=outage.to_at)
        entries = [entry for entry in world.log if since <= entry.at <= until]
        near = [*concerning(world, name, entries), *_changes_of_path(world, name, entries)]
        for words in (_ACTIONS, _SA_EVENTS, _PATH_EVENTS):
            causes = [entry for entry in near if entry.event in words]
            if causes:
                cause = max(causes, key=lambda entry: entry.at)
                return f"at {cause.at / NS_PER_S:.3f} s {cause.detail}"
    return f"no event explains it: {_places(drops)}{silence(world, drops)}"


def concerning(world: World, name: str, entries: Iterable[LogEntry] | None = None) -> Iterator[LogEntry]:
    """The events, or those of `entries`, that can make a flow stand still, because they happen on its way."""
    first_at = world.flows[name].record.sent_at[0]
    for entry in world.log if entries is None else entries:
        if entry.event in _ACTIONS and (entry.at >= first_at or _still_holds(world, entry, first_at)):
            if _is_met(world, name, entry):
                yield entry
        elif entry.event in _SA_EVENTS and _carries(world, name, entry):
            yield entry


def _changes_of_path(world: World, name: str, entries: list[LogEntry]) -> Iterator[LogEntry]:
    """The events by which SAs of a flow went to other addresses, mostly to keep it going."""
    return (e for e in entries if e.event in _PATH_EVENTS and _carries(world, name, e))


def _carries(world: World, name: str, entry: LogEntry) -> bool:
    """Whether the connection of a row has the flow, before or afterwards."""
    before, after = world.courses.around(name, entry.at)
    return (entry.node, entry.connection) in before.connections | after.connections


def _is_met(world: World, name: str, entry: LogEntry) -> bool:
    before, after = world.courses.around(name, entry.at)
    if entry.event in _ANYWHERE:
        return any(port.startswith(f"{entry.node}:") for port in before.ports | after.ports)
    gone, come = _switched(entry, up=False), _switched(entry, up=True)
    return bool(gone & before.ports) or (bool(come & after.ports) and before != after)


def _still_holds(world: World, entry: LogEntry, at: int) -> bool:
    """Whether an interface that went down before the flow began was still down then."""
    gone = _switched(entry, up=False)
    later = (other for other in world.log if entry.at < other.at <= at and other.event in _ACTIONS)
    return bool(gone.difference(*(_switched(other, up=True) for other in later)))


def _switched(entry: LogEntry, *, up: bool) -> set[str]:
    """The interfaces that the event of a row brings up, or takes down."""
    return {f"{entry.node}:{name}" for name, goes_up in entry.switched if goes_up == up}


def _since(record: FlowRecord, outage: Outage) -> int:
    """Before this, no event can have begun the outage: a packet sent after it has arrived."""
    arrivals = np.array(record.received_at, np.int64)
    if not np.any((arrivals != NEVER) & (arrivals <= outage.from_at)):
        return 0
    return outage.from_at - int(record.latencies().max())


def _places(drops: list[Drop]) -> str:
    if not drops:
        return "see the drops"
    counts = Counter((drop.node, drop.reason) for drop in drops).most_common(_PLACES)
    return ", ".join(f"{count} dropped at {node} ({reason})" for (node, reason), count in counts)
