"""What a scenario does with the nodes that a `count` has made: flows, events, faults, checks, captures.

Each is there once for each client, in the order of the clients, where the file has it once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sim.scenario.crowds import member, members
from sim.scenario.errors import Path
from sim.scenario.schema import Event, Scenario
from sim.scenario.schema_events import DownEvent, FlapEvent, UpEvent
from sim.units import format_duration

Plain = dict[str, Any]
Complain = Callable[[Path, str], None]
_CLIENTS = "is {} nodes: leave it out, or name one of them, such as {}"


class Uses(NamedTuple):
    """The scenario as it was written, how often nodes and interfaces are there, and steps of addresses."""

    scenario: Scenario
    counts: dict[str, int]
    ports: dict[tuple[str, str], int]
    shifts: dict[tuple[str, str], int]


def multiply_uses(uses: Uses, plain: Plain, moved: dict[Path, Path], complain: Complain) -> dict[str, str]:
    """Rewrites the sections of `plain`; the entry of each flow. `moved` learns where all of it stands."""
    flows: dict[str, str] = {}
    for section, copies in (
        ("traffic", _flow), ("events", _event), ("faults", _fault), ("checks", _check),
    ):  # fmt: skip
        made: list[Plain] = []
        for index, item in enumerate(plain[section]):
            for each in copies(uses, index, item, complain):
                moved[section, len(made)] = section, index
                made.append(each)
                if section == "traffic" and each["name"] != item["name"]:
                    flows[each["name"]] = item["name"]
        plain[section] = made
    plain["capture"] = [_pattern(uses, pattern) for pattern in plain["capture"]]
    return flows


def _flow(uses: Uses, index: int, flow: Plain, complain: Complain) -> Iterator[Plain]:
    """One flow of each client, at the rate of the file."""
    target, _, interface = flow["to"].partition(":")
    counts = [uses.counts.get(node, 1) for node in (flow["from"], target)]
    if min(counts) > 1 and counts[0] != counts[1]:
        text = f"is {counts[1]} nodes, and {counts[0]} send: both counts must be equal, or one of them 1"
        complain(("traffic", index, "to"), text)
        return
    for number in range(1, max(counts) + 1):
        name = member(flow["name"], number) if max(counts) > 1 else flow["name"]
        ends = {"from": _own(uses, flow["from"], number), "to": _own(uses, target, number)}
        if interface:
            many = (target, interface) in uses.ports
            ends["to"] += f":{member(interface, number) if many else interface}"
        yield flow | ends | {"name": name}


def _event(uses: Uses, index: int, event: Plain, complain: Complain) -> Iterator[Plain]:
    """To each client, all at once or one after the other; a condition is then about the same client."""
    model, node = uses.scenario.events[index], event["node"]
    count = uses.counts.get(node, 1)
    if count == 1:
        yield from _of_one(uses, index, event, complain)
        return
    for number, own in enumerate(members(node, count), 1):
        changed = event | {"node": own} | _timing(model, model.spread * (number - 1) // count)
        if model.when is not None:
            changed["when"] = _condition(event, node, own)
        if "address" in event:
            interface = event.get("interface", getattr(uses.scenario.nodes[node], "outside", ""))
            by = uses.shifts.get((node, interface), 0) * (number - 1)
            changed["address"] = _shifted(event["address"], by)
        changed.pop("spread", None)
        yield changed


def _of_one(uses: Uses, index: int, event: Plain, complain: Complain) -> Iterator[Plain]:
    """An event of a node that is there once; an interface of it may be there for each client."""
    model = uses.scenario.events[index]
    client = "" if model.when is None else model.when.node or ""
    if client in uses.counts:
        complain(("events", index, "when", "node"), _CLIENTS.format(uses.counts[client], member(client, 1)))
    for key in ("from", "to", "interface"):
        name = str(event.get(key, ""))
        many = uses.ports.get((event["node"], name))
        if many is None:
            continue
        if isinstance(model, UpEvent | DownEvent | FlapEvent):
            yield from (event | {key: own} for own in members(name, many))
            return
        complain(("events", index, key), f"is {many} interfaces: name one of them, such as {member(name, 1)}")
    yield event


def _timing(event: Event, later: int) -> Plain:
    if not later:
        return {}
    if event.at is not None:
        return {"at": format_duration(event.at + later)}
    return {"after": format_duration(event.after + later)}


def _condition(event: Plain, node: str, own: str) -> Plain:
    condition: Plain = event["when"]
    return condition | {"node": own} if condition.get("node", node) == node else condition


def _shifted(address: str, by: int) -> str:
    own = ipaddress.ip_interface(address)
    return f"{own.ip + by}/{own.network.prefixlen}"


def _fault(uses: Uses, index: int, fault: Plain, complain: Complain) -> Iterator[Plain]:
    yield from _for_each(uses, fault)


def _check(uses: Uses, index: int, check: Plain, complain: Complain) -> Iterator[Plain]:
    if "flow" not in check:
        yield from _for_each(uses, check)
        return
    name, dot, way = check["flow"].partition(".")
    flow = next((flow for flow in uses.scenario.traffic if flow.name == name), None)
    ends = () if flow is None else (flow.from_, flow.to.partition(":")[0])
    count = max((uses.counts.get(node, 1) for node in ends), default=1)
    names = members(name, count) if count > 1 else [name]
    yield from (check | {"flow": own + dot + way} for own in names)


def _for_each(uses: Uses, item: Plain) -> Iterator[Plain]:
    node = item.get("node", "")
    if node not in uses.counts:
        yield item
        return
    yield from (item | {"node": own} for own in members(node, uses.counts[node]))


def _own(uses: Uses, node: str, number: int) -> str:
    return member(node, number) if node in uses.counts else node


def _pattern(uses: Uses, pattern: str) -> str:
    """What is said of an entry is said of all that it has become."""
    node, colon, interface = pattern.partition(":")
    if (node, interface) in uses.ports:
        interface = f"{interface}-*"
    return (
        f"{node}-*{colon}{interface}"
        if node in uses.counts
        else pattern
        if not colon
        else f"{node}:{interface}"
    )
