"""Traffic selectors in text, as swanctl.conf has them: `10.1.0.0/16[tcp/80]`, `dynamic`.

Of ICMP a number below 256 is a type, with code 0 as strongSwan takes it; from 256 on it is a type (its high
octet) and a code, which `3(4)` is as well. `3(0)-3(255)` is a type with any code.
"""

from __future__ import annotations

import re

from sim.wire.address import pack_address
from sim.wire.selector import ANY_PORTS, ICMP, OPAQUE_PORTS, Selector

_PROTOCOLS = {
    "any": 0,
    "icmp": 1,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "ospf": 89,
    "l2tp": 115,
    "sctp": 132,
    "mh": 135,
    "mobility-header": 135,
    "udplite": 136,
}
_TEXT = re.compile(r"(?P<addresses>[^\[\]]+)(?:\[(?P<protocol>[\w-]+)(?:/(?P<ports>[\w()-]+))?\])?")
_TYPE_AND_CODE = re.compile(r"(\d+)\((\d+)\)")
_HELP = "write a network, and a protocol and port if wanted: 10.1.0.0/16 or 10.1.0.0/16[udp/53]"


def parse_selectors(value: object) -> tuple[Selector, ...]:
    """The selectors of a list of texts; empty for `dynamic`, the address that the SA itself uses."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, tuple) and all(isinstance(item, Selector) for item in texts):
        return texts
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise ValueError("must be a list of networks, such as [10.1.0.0/16]")
    if texts == ["dynamic"]:
        return ()
    return tuple(map(parse_selector, texts))


def parse_selector(text: str) -> Selector:
    """ValueError says what is wrong and what to write."""
    if text == "dynamic":
        raise ValueError("`dynamic` stands alone in its list")
    match = _TEXT.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"{text!r} is not a traffic selector: {_HELP}")
    protocol = _protocol(match["protocol"] or "any")
    ports = _types(match["ports"] or "any") if protocol in ICMP else _ports(match["ports"] or "any")
    return _addresses(match["addresses"], protocol, ports)


def format_selectors(selectors: tuple[Selector, ...]) -> list[str]:
    return [str(selector) for selector in selectors] or ["dynamic"]


def _addresses(text: str, protocol: int, ports: tuple[int, int]) -> Selector:
    first, dash, last = text.partition("-")
    try:
        if not dash:
            return Selector.from_prefix(text, protocol, ports)
        start, end = pack_address(first), pack_address(last)
    except ValueError as error:
        raise ValueError(f"{error}: {_HELP}") from None
    if len(start) != len(end) or start > end:
        raise ValueError(f"{text} is not a range of addresses, lowest first")
    return Selector(start, end, protocol, ports)


def _protocol(text: str) -> int:
    number = _PROTOCOLS.get(text, int(text) if text.isdecimal() else -1)
    if not 0 <= number <= 255:
        raise ValueError(
            f"{text!r} is no protocol: write one of {', '.join(_PROTOCOLS)} or a number up to 255"
        )
    return number


def _types(text: str) -> tuple[int, int]:
    """Types of ICMP, or types with their codes, as a range of ports."""
    if "(" not in text:
        ports = low, high = _ports(text)
        if ports in (ANY_PORTS, OPAQUE_PORTS):
            return ports
        return low << 8 if low < 256 else low, high << 8 if high < 256 else high
    first, _, last = text.partition("-")
    low, high = _type_and_code(first), _type_and_code(last or first)
    if low > high:
        raise ValueError(f"{text} is not a range of types, lowest first")
    return low, high


def _type_and_code(text: str) -> int:
    match = _TYPE_AND_CODE.fullmatch(text)
    if match is None or int(match[1]) > 255 or int(match[2]) > 255:
        raise ValueError(f"{text!r} is no ICMP type with its code: write such as 3(4), each at most 255")
    return int(match[1]) << 8 | int(match[2])


def _ports(text: str) -> tuple[int, int]:
    named = {"any": ANY_PORTS, "opaque": OPAQUE_PORTS}.get(text)
    if named is not None:
        return named
    low, dash, high = text.partition("-")
    if not low.isdecimal() or (dash and not high.isdecimal()):
        raise ValueError(f"{text!r} is no port: write a number, a range such as 1024-2047, any or opaque")
    ports = int(low), int(high or low)
    if not 0 <= ports[0] <= ports[1] <= 65535:
        raise ValueError(f"{text} is not a range of ports, lowest first")
    return ports
