"""Warnings of settings that are taken and then do nothing."""

from __future__ import annotations

from collections.abc import Iterator

from sim.ike.eap.names import PASSWORD_METHODS
from sim.ike.identity import ANY
from sim.scenario.errors import Path, Problem
from sim.scenario.expand import sides, user_of
from sim.scenario.schema import Scenario, Tunnel

Found = Iterator[tuple[Path, str]]
_WITH_PASSWORD = {"eap", *PASSWORD_METHODS}


def idle_settings(scenario: Scenario) -> list[Problem]:
    """What a scenario as it was written, with its tunnels, says in vain."""
    found = [*_certificates(scenario)]
    for name, tunnel in scenario.tunnels.items():
        found += [(("tunnels", name, *path), text) for path, text in _of_tunnel(tunnel)]
    return [scenario.problem(path, text) for path, text in found]


def _of_tunnel(tunnel: Tunnel) -> Found:
    methods = {side.method or "" for side in sides(tunnel)}
    for key, users in (("psk", {"psk"}), ("password", _WITH_PASSWORD)):
        if not methods & users:
            text = f"has no effect: neither end authenticates by {' or '.join(sorted(users))}"
            yield from ((path, text) for path in _written(tunnel, key))
    for name, child in tunnel.children.items():
        if child.per_cpu_sas != "no" and child.start == "none":
            text = "has no effect: the start action is none, so no packet may ask for an SA of its CPU"
            yield ("children", name, "per_cpu_sas"), text
    if tunnel.vips and not tunnel.pools:
        yield ("vips",), f"{tunnel.responder} has no `pools` for this tunnel, so it gives none"


def _written(tunnel: Tunnel, key: str) -> Iterator[Path]:
    """Where the file has this secret."""
    auth = tunnel.auth
    places = {(): auth, ("initiator",): auth.initiator, ("responder",): auth.responder}
    for path, model in places.items():
        if getattr(model, key) is not None:
            yield "auth", *path, key


def _certificates(scenario: Scenario) -> Found:
    nodes = {} if scenario.pki is None else scenario.pki.nodes
    for node, settings in nodes.items():
        if settings.fault == "other name" and not _is_named(scenario, node):
            text = f"has no effect: {node} has no `local_id`, so it goes by the name in its certificate"
            yield ("pki", "nodes", node, "fault"), text


def _is_named(scenario: Scenario, node: str) -> bool:
    """Whether the file says who a node is, or whom somebody expects."""
    own = scenario.connections.get(node, {}).values()
    if any(connection.local_id or connection.local.eap_id for connection in own):
        return True
    others = (each for name, each in scenario.connections.items() if name != node)
    if any(connection.remote_id not in (None, *ANY) for each in others for connection in each.values()):
        return True
    return any(_is_named_in(tunnel, node) for tunnel in scenario.tunnels.values())


def _is_named_in(tunnel: Tunnel, node: str) -> bool:
    initiator, responder = sides(tunnel)
    if node == tunnel.initiator:
        names = [initiator.local_id, responder.remote_id, user_of(tunnel)]
    elif node == tunnel.responder:
        names = [responder.local_id, initiator.remote_id]
    else:
        return False
    return any(name not in (None, *ANY) for name in names)
