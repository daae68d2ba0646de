"""Stateful firewalls of a scenario: what their keys mean together, and the boxes made of them."""

from __future__ import annotations

from collections.abc import Iterator

from sim.net.engine import Simulation
from sim.net.firewall import FIREWALL, Allow, Firewall
from sim.net.nat_profile import EspPassThrough, NatProfile
from sim.scenario.schema_network import AllowRule, FirewallNode
from sim.wire.address import pack_address
from sim.wire.ip import Protocol

_PROFILE_KEYS = (
    "filtering", "udp_timeout", "icmp_timeout", "tcp_timeout", "tcp_transitory_timeout", "refresh",
    "fragments", "esp_timeout",
)  # fmt: skip
_PROTOCOLS = {
    "udp": Protocol.UDP,
    "tcp": Protocol.TCP,
    "icmp": Protocol.ICMP,
    "esp": Protocol.ESP,
    "ah": Protocol.AH,
}

Found = tuple[tuple[str | int, ...], str]
"""Where in the node something does not fit, and what."""


def firewall(sim: Simulation, name: str, model: FirewallNode) -> Firewall:
    """The box, as yet without ports."""
    allow = tuple(map(_allow, model.allow))
    return Firewall(sim, name, outside=model.outside, profile=_profile(model), allow=allow)


def firewall_problems(model: FirewallNode) -> Iterator[Found]:
    """Everything in one firewall that does not fit together."""
    if model.outside not in model.interfaces:
        text = f"a firewall needs an outside interface: name one `{model.outside}`, or write `outside: NAME`"
        yield (), text
    elif len(model.interfaces) == 1:
        yield (), "a firewall needs an interface besides its outside one"
    if model.esp == "drop" and model.esp_timeout is not None:
        yield ("esp_timeout",), "`esp: drop` leaves nothing to time out"
    for at, rule in enumerate(model.allow):
        if rule.port is not None and rule.protocol not in ("udp", "tcp"):
            yield ("allow", at, "port"), f"{rule.protocol} has no ports"
        if model.esp == "drop" and rule.protocol in ("esp", "ah"):
            yield ("allow", at, "protocol"), "`esp: drop` lets neither ESP nor AH pass"


def _profile(model: FirewallNode) -> NatProfile:
    chosen = {key: getattr(model, key) for key in _PROFILE_KEYS}
    esp = EspPassThrough.NONE if model.esp == "drop" else EspPassThrough.SPI
    return FIREWALL.override({"esp": esp} | {key: v for key, v in chosen.items() if v is not None})


def _allow(rule: AllowRule) -> Allow:
    return Allow(_PROTOCOLS[rule.protocol], rule.port, None if rule.to is None else pack_address(rule.to))
