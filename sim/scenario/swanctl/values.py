"""Values of swanctl.conf(5) in its own notations: times, yes and no, lists, addresses, selectors, actions."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Literal

from sim.scenario.selectors import parse_selector
from sim.units import NS_PER_S
from sim.wire.selector import Selector

_TRUE = {"yes", "true", "enabled", "1"}
_FALSE = {"no", "false", "disabled", "0"}
_TIME = re.compile(r"([0-9]+) *([smhd]?)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SELECTOR = re.compile(r"(?P<addresses>[^\[]*)(?:\[(?P<protocol>[^/\]]*)(?:/(?P<ports>[^\]]*))?\])?")
_ACTIONS: dict[str, Literal["none", "trap", "start"]] = {
    "none": "none",
    "clear": "none",
    "trap": "trap",
    "route": "trap",
    "start": "start",
    "restart": "start",
}


def parse_list(text: str) -> list[str]:
    """The items between commas; empty ones do not count."""
    return [item.strip() for item in text.split(",") if item.strip()]


def parse_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither yes nor no")
    return word in _TRUE


def parse_per_cpu_sas(text: str) -> Literal["no", "yes", "encap"]:
    if text.lower() == "encap":
        return "encap"
    return "yes" if parse_bool(text) else "no"


def parse_time(text: str) -> int:
    """Seconds, or with s, m, h or d behind, in ns."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time: write whole seconds, or a number and s, m, h or d")
    return int(found[1]) * _SECONDS[found[2].lower()] * NS_PER_S


def parse_send_cert(text: str) -> Literal["always", "ifasked", "never"]:
    word = text.lower()
    for known in ("always", "ifasked", "never"):
        if word == known or (word in _TRUE and known == "always") or (word in _FALSE and known == "never"):
            return known
    raise ValueError(f"{text!r} is not supported: write always, ifasked or never")


def parse_revocation(text: str) -> Literal["strict", "ifuri", "relaxed"]:
    word = text.lower()
    for known in ("strict", "ifuri", "relaxed"):
        if word == known:
            return known
    raise ValueError(f"{text!r} is not supported: write strict, ifuri or relaxed")


def parse_number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def parse_tfc_padding(text: str) -> str:
    """Octets, or the longest that the path takes; as this project writes it."""
    return "mtu" if text.strip().lower() == "mtu" else f"{parse_number(text)} B"


def parse_dscp(text: str) -> int:
    """Six binary digits."""
    if not re.fullmatch(r"0b[01]{1,6}|[01]{1,6}", text):
        raise ValueError(f"{text!r} is no DSCP: write six binary digits")
    return int(text.removeprefix("0b"), 2)


_MULTIPLES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_octets(text: str) -> int:
    """A number of octets, or with k, m or g behind, which are powers of 1024."""
    found = re.fullmatch(r"([0-9]+) *([kmg]?)b?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no number of octets: write digits, and k, m or g behind them")
    return int(found[1]) * _MULTIPLES[found[2].lower()]


def parse_mode(text: str) -> Literal["tunnel", "transport", "iptfs", "pass", "drop"]:
    modes: dict[str, Literal["tunnel", "transport", "iptfs", "pass", "drop"]] = {
        "tunnel": "tunnel",
        "transport": "transport",
        "iptfs": "iptfs",
        "pass": "pass",
        "drop": "drop",
    }
    mode = modes.get(text.lower())
    if mode is None:
        raise ValueError(f"{text!r} is not supported: the modes are {', '.join(modes)}")
    return mode


def parse_action(text: str) -> Literal["none", "trap", "start"]:
    action = _ACTIONS.get(text.lower())
    if action is None:
        raise ValueError(f"{text!r} is not supported: the actions are none, trap and start")
    return action


def one_of(*words: str) -> Callable[[str], str]:
    """A parser of these words alone."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text.lower()

    return parse


def parse_tries(text: str) -> int:
    """`keyingtries`: a number, or %forever, which is 0."""
    return 0 if text.lower() == "%forever" else parse_number(text)


def parse_fragmentation(text: str) -> Literal["yes", "accept", "force", "no"]:
    word = text.lower()
    if word == "accept":
        return "accept"
    if word == "force":
        return "force"
    return "yes" if parse_bool(text) else "no"


def parse_addresses(text: str) -> tuple[str, ...]:
    """Single addresses; () for any."""
    items = parse_list(text)
    if items == ["%any"]:
        return ()
    return tuple(map(_address, items))


def parse_vips(text: str) -> tuple[str, ...]:
    """Addresses to ask for; 0.0.0.0 and :: are any."""
    any_of = {"%any": "0.0.0.0", "%any4": "0.0.0.0", "%any6": "::"}
    return tuple(_unspecific(any_of.get(item, item)) for item in parse_list(text))


def parse_servers(text: str) -> tuple[str, ...]:
    return tuple(map(_unspecific, parse_list(text)))


def _unspecific(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no address") from None


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not supported: write single addresses, or %any alone") from None
    if address.is_unspecified:
        raise ValueError(f"{text} is not supported: write %any for any address")
    return str(address)


def parse_selectors(text: str) -> tuple[Selector, ...]:
    """() for `dynamic`, which must stand alone and without protocol."""
    items = parse_list(text)
    return () if items == ["dynamic"] else tuple(map(_selector, items))


def _selector(text: str) -> Selector:
    if text.startswith("dynamic"):
        raise ValueError(f"{text!r} is not supported: `dynamic` stands alone, without a protocol or port")
    found = _SELECTOR.fullmatch(text)
    if found is None or found["protocol"] is None:
        return parse_selector(text)
    protocol = _number(found["protocol"] or "any", socket.getprotobyname)
    ports = _number(found["ports"] or "any", socket.getservbyname)
    return parse_selector(f"{found['addresses']}[{protocol}/{ports}]")


def _number(word: str, look_up: Callable[[str], int]) -> str:
    """A name from this system's tables, as strongSwan reads them, as its number; else the word itself."""
    try:
        return word if word in ("any", "opaque") else str(look_up(word))
    except OSError:
        return word
