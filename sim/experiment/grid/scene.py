"""The scenario of a cell: alice behind one box, moon and bob behind the other, a router between them.

    alice -- near -- core -- far -- moon -- bob

The far box has rules for UDP 500 and 4500, as whoever runs a gateway behind a NAT makes them. Access takes
10 ms each way at either side.
"""

from __future__ import annotations

from typing import Any

from sim.experiment.grid.cell import NO_NAT, Cell, Terms

_PUBLIC_ALICE, _PUBLIC_MOON = "203.0.113.10/24", "198.51.100.1/24"
_PACKET = {"kind": "cbr", "size": "100 B", "rate": "8 kbit/s", "start": "1 s"}


def idle(cell: Cell, terms: Terms) -> dict[str, Any]:
    """Set up, be silent, then bob calls alice, who speaks herself only later; no liveness checks."""
    call_at = 1 + terms.silence_s
    speak_at = call_at + terms.pace.speak
    calls = [
        {"name": "call", "kind": "ping", "from": "bob", "to": "alice", "start": f"{call_at} s", "count": 1},
        {"name": "speak", "kind": "ping", "from": "alice", "to": "bob", "start": f"{speak_at} s", "count": 5},
    ]
    return _scene(cell, terms, speak_at + 15, calls, [], liveness=0)


def disturbed(cell: Cell, terms: Terms, event: dict[str, Any]) -> dict[str, Any]:
    """Packets both ways, ten a second, while something happens to the near box."""
    pace = terms.pace
    flows = [
        {"name": "up", "from": "alice", "to": "bob", **_PACKET},
        {"name": "down", "from": "bob", "to": "alice", **_PACKET},
    ]
    events = [{"at": f"{pace.event} s", "node": "near", **event}]
    return _scene(cell, terms, pace.end, flows, events, liveness=pace.liveness)


def _scene(
    cell: Cell,
    terms: Terms,
    duration: float,
    traffic: list[dict[str, Any]],
    events: list[dict[str, Any]],
    *,
    liveness: float,
) -> dict[str, Any]:
    nodes, links = _network(cell, terms)
    tunnel = {
        "initiator": "alice",
        "responder": "moon",
        "auth": {"psk": "grid", "local_id": "alice", "remote_id": "moon"},
        "mobike": cell.mobike,
        "keep_alive": f"{terms.pace.keepalive if cell.keepalive else 0} s",
        "dpd_delay": f"{liveness} s",
        "children": {"net": {"remote_ts": ["10.1.0.0/16"], "dpd_action": "restart"}},
    }
    return {
        "name": f"grid-{cell.near}-{cell.far}",
        "duration": f"{duration} s",
        "nodes": nodes,
        "links": links,
        "tunnels": {"rw": tunnel},
        "traffic": traffic,
        "events": events,
    }


def _network(cell: Cell, terms: Terms) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    nodes: dict[str, Any] = {
        "core": {"kind": "router", "interfaces": {"near": "203.0.113.1/24", "far": "198.51.100.254/24"}},
        "bob": {"kind": "host", "interfaces": {"eth": "10.1.0.10/16"}},
    }
    links: list[dict[str, Any]] = [{"ends": ["moon:lan", "bob:eth"]}]
    for name, kind, changes, own, inner, outer, make in (
        ("near", cell.near, terms.near, "alice:wan", "192.168.1", _PUBLIC_ALICE, _host),
        ("far", cell.far, terms.far, "moon:wan", "172.16.0", _PUBLIC_MOON, _gateway),
    ):
        if kind == NO_NAT:
            make(nodes, outer)
            links.append({"ends": [own, f"core:{name}"], "delay": "10 ms"})
            continue
        make(nodes, f"{inner}.10/24")
        interfaces = {"lan": f"{inner}.1/24", "wan": outer}
        nodes[name] = {"kind": "nat", "preset": kind, "interfaces": interfaces, **changes}
        links.append({"ends": [own, f"{name}:lan"], "delay": "1 ms"})
        links.append({"ends": [f"{name}:wan", f"core:{name}"], "delay": "9 ms"})
    if cell.far != NO_NAT:
        nodes["far"]["forward"] = [
            {"protocol": "udp", "port": port, "to": "172.16.0.10"} for port in (500, 4500)
        ]
    return nodes, links


def _host(nodes: dict[str, Any], address: str) -> None:
    nodes["alice"] = {"kind": "host", "interfaces": {"wan": address}}


def _gateway(nodes: dict[str, Any], address: str) -> None:
    nodes["moon"] = {"kind": "gateway", "interfaces": {"wan": address, "lan": "10.1.0.1/16"}}
