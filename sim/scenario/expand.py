"""The tunnels of a scenario as connections of both ends, which is all that the rest of the program knows.

Works on the text form, so that the result is what a file with these connections would load to.
"""

from __future__ import annotations

from typing import Any

from sim.ike.identity import ANY
from sim.scenario.errors import Path, ScenarioError
from sim.scenario.paths import responder_address
from sim.scenario.schema import Scenario, Tunnel, TunnelSide

_START_ACTION = {"at once": "start", "trap": "trap", "none": "none"}
_SHARED = (
    *("proposals", "mobike", "encap", "dpd_delay", "keep_alive", "retransmit", "return_routability"),
    "nat_traversal",
    *("unique", "childless", "keyingtries", "window", "reauth_time", "make_before_break"),
    *("rekey_time", "over_time", "rand_time", "fragmentation", "fragment_size"),
    *("ppk", "ppk_id", "ppk_required", "dscp"),
    *(
        "keepalive_policy",
        "keepalive_max",
        "radio_tail",
        "resumption",
        "qcd",
        "follow_redirects",
        "redirect_to",
        "redirect_when",
    ),
)
_SHARED_CHILD = (
    *("mode", "iptfs", "esp_proposals", "ah_proposals", "replay_window", "copy_df"),
    *("copy_dscp", "copy_ecn", "dscp_map", "outer_dscp", "outer_ttl", "flow_label"),
    *("df", "fragment", "icmp", "icmp_check", "mss_clamp", "tfc_padding"),
    *("shared_nat", "copy_dscp", "copy_ecn", "dscp_map", "outer_dscp", "outer_ttl", "flow_label"),
    *("df", "fragment", "icmp", "icmp_check", "mss_clamp"),
    *("close_action", "dpd_action", "rekey_time", "life_time", "rand_time"),
    *("rekey_bytes", "life_bytes", "rand_bytes", "rekey_packets", "life_packets", "rand_packets"),
    *("ipcomp", "per_cpu_sas"),
    *("priority", "populate_from_packet", "non_first_fragments_also"),
)
_MIRRORED = {
    "local_addr": "remote_addr",
    "remote_addr": "local_addr",
    "local_port": "remote_port",
    "remote_port": "local_port",
}
_OF_SHUNTS = ("mode", "priority")

Plain = dict[str, Any]
"""A part of a scenario as YAML has it."""


def expand(scenario: Scenario) -> Scenario:
    """The same scenario without shorthand; a scenario that has none is returned as it is.

    ScenarioError when a tunnel's initiator has no way to its responder.
    """
    if not scenario.tunnels:
        return scenario
    plain = scenario.plain()
    connections = plain["connections"]
    origin: dict[Path, Path] = {}
    for name, tunnel in scenario.tunnels.items():
        for node, connection in both_ends(scenario, name, tunnel).items():
            connections.setdefault(node, {})[name] = connection
            origin |= origins_of(name, tunnel, node)
    return scenario.rewritten(plain | {"tunnels": {}}, origin)


def origins_of(name: str, tunnel: Tunnel, node: str) -> dict[Path, Path]:
    """Where the parts of a connection that a tunnel has become stand in the file."""
    origin: dict[Path, Path] = {
        ("connections", node, name): ("tunnels", name),
        ("connections", node, name, "local_id"): _place_of_id(name, tunnel, node),
    }
    for child in tunnel.children:
        here: Path = ("connections", node, name, "children", child)
        there: Path = ("tunnels", name, "children", child)
        origin[here] = there
        for side, mirrored in (("local_ts", "remote_ts"), ("remote_ts", "local_ts")):
            own = side if node == tunnel.initiator else mirrored
            origin[*here, side] = *there, own
    return origin


def sides(tunnel: Tunnel) -> tuple[TunnelSide, TunnelSide]:
    """What initiator and responder believe, inherited settings filled in; a psk may still be missing."""
    auth = tunnel.auth
    initiator = TunnelSide.model_construct(
        psk=auth.initiator.psk or auth.psk,
        method=auth.initiator.method or auth.method,
        eap_id=auth.initiator.eap_id or auth.eap_id,
        password=auth.initiator.password or auth.password,
        local_id=auth.initiator.local_id or auth.local_id,
        remote_id=auth.initiator.remote_id or auth.remote_id,
    )
    responder = TunnelSide.model_construct(
        psk=auth.responder.psk or auth.psk,
        method=auth.responder.method or auth.method,
        eap_id=auth.responder.eap_id or auth.eap_id,
        password=auth.responder.password or auth.password,
        local_id=auth.responder.local_id or auth.remote_id,
        remote_id=auth.responder.remote_id or auth.local_id,
    )
    return initiator, responder


def both_ends(scenario: Scenario, name: str, tunnel: Tunnel) -> dict[str, Plain]:
    """A tunnel as the connections of its two nodes; ScenarioError when no way leads to the responder."""
    address = responder_address(scenario, tunnel.initiator, tunnel.responder)
    if address is None:
        place: Path = ("tunnels", name, "responder")
        text = f"no links lead there from {tunnel.initiator} without entering a NAT from outside"
        raise ScenarioError([scenario.problem(place, text)])
    plain = _plain(tunnel)
    shared = {key: plain[key] for key in _SHARED if key in plain}
    initiator, responder = (_plain(side) for side in sides(tunnel))
    methods = [{"auth": side.pop("method")} for side in (initiator, responder)]
    ids = _use_eap(tunnel, initiator, responder)
    initiator |= {"local": methods[0] | ids[0], "remote": methods[1]}
    responder |= {"local": methods[1], "remote": methods[0] | ids[1]}
    calling = {name: _initiator_child(child) for name, child in plain["children"].items()}
    waiting = {name: _responder_child(child) for name, child in plain["children"].items()}
    _use_second(tunnel, initiator, responder)
    initiator["vips"], responder["pools"] = plain["vips"], plain["pools"]
    return {
        tunnel.initiator: shared | initiator | {"remote_addrs": [address], "children": calling},
        tunnel.responder: shared | responder | {"children": waiting},
    }


def _place_of_id(name: str, tunnel: Tunnel, node: str) -> Path:
    """Where the file says who an end is."""
    role, shared = ("initiator", "local_id") if node == tunnel.initiator else ("responder", "remote_id")
    own = getattr(tunnel.auth, role).local_id is not None
    return ("tunnels", name, "auth", *((role, "local_id") if own else (shared,)))


def user_of(tunnel: Tunnel) -> str | None:
    """As whom the initiator authenticates by EAP."""
    initiator, _ = sides(tunnel)
    return initiator.eap_id or initiator.local_id


def _use_eap(tunnel: Tunnel, initiator: Plain, responder: Plain) -> tuple[Plain, Plain]:
    """`password` becomes the passwords of each end; what is left is whom it takes the initiator for."""
    user, ids = user_of(tunnel), []
    for side in (initiator, responder):
        eap_id, password = side.pop("eap_id", None), side.pop("password", None)
        name = user if eap_id in (None, *ANY) else eap_id
        if password is not None and name is not None:
            side["eap_secrets"] = {name: password}
        ids.append({} if eap_id is None else {"eap_id": eap_id})
    return ids[0], ids[1]


def _use_second(tunnel: Tunnel, initiator: Plain, responder: Plain) -> None:
    """The user's proof goes into what one end has to show, and the other end wants to see."""
    second = tunnel.auth.second
    if second is None:
        return
    round_ = {"auth": second.method, "id": second.id}
    initiator["local"] |= {"second": round_}
    responder["remote"] |= {"second": round_}
    password = _plain(tunnel)["auth"]["second"]["password"]
    for side in (initiator, responder):
        side["eap_secrets"] = side.get("eap_secrets", {}) | {second.id: password}


def _initiator_child(child: Plain) -> Plain:
    own = {"local_ts": child["local_ts"], "remote_ts": child["remote_ts"]}
    return {"start_action": _START_ACTION[child["start"]]} | _shared_child(child) | own


def _responder_child(child: Plain) -> Plain:
    """The mirror; it waits for the initiator."""
    mirrored = {"local_ts": child["remote_ts"], "remote_ts": child["local_ts"]}
    flags = child.get("populate_from_packet")
    if flags:
        mirrored["populate_from_packet"] = [_MIRRORED.get(flag, flag) for flag in flags]
    return _shared_child(child) | mirrored


def _shared_child(child: Plain) -> Plain:
    if child["mode"] in ("pass", "drop"):
        return {key: child[key] for key in _OF_SHUNTS} | {"start_action": "trap"}
    return {key: child[key] for key in _SHARED_CHILD if key in child}


def _plain(model: Tunnel | TunnelSide) -> Plain:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
