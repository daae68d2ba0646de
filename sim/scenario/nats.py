"""NAT boxes of a scenario: what their keys mean together, and the boxes made of them."""

from __future__ import annotations

import ipaddress
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields

from sim.net.engine import Simulation
from sim.net.nat import NAT_PRESETS, NatBox, NatProfile
from sim.net.nptv6 import PrefixPair
from sim.scenario.schema_network import ForwardRule, NatNode
from sim.wire.address import pack_address
from sim.wire.embedded import LENGTHS, Prefix64
from sim.wire.ip import Protocol

_PROFILE_KEYS = tuple(field.name for field in fields(NatProfile) if field.name in NatNode.model_fields)
_OF_BLOCKS = ("block_size", "blocks_per_subscriber")
_NOT_TRACKED = (
    *("mapping", "filtering", "pooling", "hairpinning", "refresh", "tcp_transitory_timeout"),
    "esp_in_udp_apart",
    *_OF_BLOCKS,
)
_PROTOCOLS = {"udp": Protocol.UDP, "tcp": Protocol.TCP}

Found = tuple[tuple[str | int, ...], str]
"""Where in the node something does not fit, and what."""


def profile_of(model: NatNode) -> NatProfile:
    """The preset with what differs from it; ValueError when that does not fit together."""
    chosen = {key: getattr(model, key) for key in _PROFILE_KEYS}
    return NAT_PRESETS[model.preset].override({key: v for key, v in chosen.items() if v is not None})


def nat_box(sim: Simulation, name: str, model: NatNode) -> NatBox:
    """The box, as yet without ports and rules."""
    return NatBox(sim, name, outside=model.outside, profile=profile_of(model))


def add_rules(box: NatBox, model: NatNode) -> None:
    """What leads inside unasked, and what becomes of IPv6; to be called when the box has its ports."""
    prefix = prefix64(model)
    if prefix is not None:
        box.translate_prefix(prefix)
    if model.nptv6:
        box.swap_prefixes(prefix_pairs(model))
    for internal, external in model.one_to_one.items():
        box.one_to_one(pack_address(internal), pack_address(external))
    for rule in model.forward:
        box.nat.forward(_PROTOCOLS[rule.protocol], rule.port, (pack_address(rule.to), inner_port(rule)))


def prefix64(model: NatNode) -> Prefix64 | None:
    """What stands for all of IPv4 on the inside of a NAT64."""
    if model.nat64 is None:
        return None
    network = ipaddress.ip_network(model.nat64)
    return Prefix64(network.network_address.packed, network.prefixlen)


def announced(model: NatNode) -> Iterator[tuple[str, str]]:
    """Interfaces and prefixes that lie there for others, though no address of the box does."""
    if model.nat64 is not None:
        yield from ((name, model.nat64) for name in model.interfaces if name != model.outside)
    yield from ((model.outside, outside) for outside in model.nptv6.values())


def prefix_pairs(model: NatNode) -> tuple[PrefixPair, ...]:
    """What NPTv6 swaps."""
    return tuple(_pair(*pair) for pair in model.nptv6.items())


def _pair(inside: str, outside: str) -> PrefixPair:
    one, other = ipaddress.ip_network(inside), ipaddress.ip_network(outside)
    return PrefixPair(one.network_address.packed, other.network_address.packed, one.prefixlen)


def inner_port(rule: ForwardRule) -> int:
    return rule.port if rule.to_port is None else rule.to_port


def nat_problems(model: NatNode) -> Iterator[Found]:
    """Everything in one NAT node that does not fit together."""
    yield from _outside(model)
    yield from _tracker(model)
    yield from _ports(model)
    yield from _one_to_one(model)
    yield from _forward(model)
    yield from _nat64(model)
    yield from _nptv6(model)


def _outside(model: NatNode) -> Iterator[Found]:
    if model.outside not in model.interfaces:
        yield (), f"a NAT needs an outside interface: name one `{model.outside}`, or write `outside: NAME`"
    elif not _external(model) and not (model.nptv6 and model.nat64 is None):
        yield (), f"the outside interface `{model.outside}` needs an IPv4 address"
    elif len(model.interfaces) == 1:
        yield (), "a NAT needs an interface besides its outside one"


def _tracker(model: NatNode) -> Iterator[Found]:
    """Keys that only a connection tracker has, or that it lacks."""
    if model.preset != "linux":
        if model.udp_stream_timeout is not None:
            yield ("udp_stream_timeout",), "only the preset linux tells streams from other UDP"
        if model.tcp_state_timeouts:
            yield ("tcp_state_timeouts",), "only the preset linux has Linux's states of TCP"
        return
    for key in _NOT_TRACKED:
        if getattr(model, key) is not None:
            text = "the preset linux tracks connections, from which this follows: choose another preset"
            yield (key,), text
    if model.port_assignment not in (None, "preserving", "random"):
        yield ("port_assignment",), "the preset linux has preserving and random ports"


def _ports(model: NatNode) -> Iterator[Found]:
    if model.port_assignment != "block":
        for key in _OF_BLOCKS:
            if getattr(model, key) is not None and model.preset != "linux":
                yield (key,), "only `port_assignment: block` has blocks of ports"
        return
    try:
        profile_of(model)
    except ValueError as error:
        yield ("block_size",), str(error)


def _one_to_one(model: NatNode) -> Iterator[Found]:
    for internal, external in model.one_to_one.items():
        if external not in _external(model):
            text = f"{external} is no address of the outside interface: add it to {model.outside}"
            yield ("one_to_one", internal), text
    for external, count in Counter(model.one_to_one.values()).items():
        if count > 1:
            yield ("one_to_one",), f"{external} stands for {count} addresses: it can stand for one"


def _forward(model: NatNode) -> Iterator[Found]:
    seen: set[tuple[str, int]] = set()
    led: set[tuple[str, str, int]] = set()
    for at, rule in enumerate(model.forward):
        outer, inner = (rule.protocol, rule.port), (rule.protocol, rule.to, inner_port(rule))
        if outer in seen:
            yield ("forward", at, "port"), f"{rule.protocol} port {rule.port} has a rule already"
        elif inner in led:
            yield ("forward", at, "to"), f"a rule leads to {rule.to} port {inner[2]} already"
        seen.add(outer)
        led.add(inner)
    if model.forward and set(_external(model)) <= set(model.one_to_one.values()):
        yield ("forward",), "no address of the outside interface is left for ports: all stand for one other"


def _nat64(model: NatNode) -> Iterator[Found]:
    if model.nat64 is None:
        return
    network = ipaddress.ip_network(model.nat64)
    if network.version == 4:
        yield ("nat64",), f"{network} is not an IPv6 prefix, such as 64:ff9b::/96"
    elif network.prefixlen not in LENGTHS:
        lengths = ", ".join(f"/{length}" for length in LENGTHS)
        yield (
            ("nat64",),
            f"IPv4 addresses lie in prefixes of {lengths} (RFC 6052 2.2), not /{network.prefixlen}",
        )
    elif network.network_address.packed[8]:
        yield ("nat64",), "bits 64 to 71 of the prefix must be zero (RFC 6052 2.2)"
    inner = [own for name, own in model.interfaces.items() if name != model.outside]
    for text in (address for own in inner for address in own if ":" in address):
        if network.version == 6 and ipaddress.ip_interface(text).network.overlaps(network):
            yield ("nat64",), f"{text} is of the inside: the prefix must belong to nobody (RFC 6052 2.2)"
    if not any(":" in address for own in inner for address in own):
        yield ("nat64",), "nothing inside has IPv6: give an interface inside an IPv6 address"


def _nptv6(model: NatNode) -> Iterator[Found]:
    prefixes = [ipaddress.ip_network(text) for pair in model.nptv6.items() for text in pair]
    for inside, outside in model.nptv6.items():
        one, other = ipaddress.ip_network(inside), ipaddress.ip_network(outside)
        if 4 in (one.version, other.version):
            yield ("nptv6", inside), "IPv6 prefixes alone can be swapped"
        elif one.prefixlen != other.prefixlen:
            yield ("nptv6", inside), f"{one} and {other} must be of one length"
        elif one.prefixlen > 64:
            yield ("nptv6", inside), f"prefixes longer than /64 are not swapped, and {one} is"
    if any(a.version == b.version and a.overlaps(b) for a, b in itertools.combinations(prefixes, 2)):
        yield ("nptv6",), "prefixes of NPTv6 must not overlap"
    if model.nptv6 and not any(":" in text for text in model.interfaces.get(model.outside, ())):
        yield ("nptv6",), f"the outside interface `{model.outside}` needs an IPv6 address"


def _external(model: NatNode) -> list[str]:
    addresses = [ipaddress.ip_interface(text).ip for text in model.interfaces.get(model.outside, ())]
    return [str(address) for address in addresses if address.version == 4]
