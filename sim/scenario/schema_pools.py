"""Pools of virtual IPs, as in the section `pools` of swanctl.conf (RFC 7296 2.19)."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from sim.scenario.schema_types import Address, Many, Model, Prefix

MAX_ATTRIBUTES = 16
"""Servers or networks of one kind: all of them travel in one message."""


def pool_range(text: str) -> tuple[bytes, bytes]:
    """The first and the last address; of a network its own and the broadcast address are left out.

    ValueError when it is neither a network nor a range.
    """
    first, dash, last = text.partition("-")
    if dash:
        start, end = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
        if start.version != end.version or start.packed > end.packed:
            raise ValueError(f"{text} is not a range of addresses, lowest first")
        return start.packed, end.packed
    network = ipaddress.ip_network(text)
    low, high = int(network.network_address), int(network.broadcast_address)
    if high - low > 1:
        low, high = low + 1, high - 1
    size = network.max_prefixlen // 8
    return low.to_bytes(size, "big"), high.to_bytes(size, "big")


def _range(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError('must be text, such as "10.3.0.0/24" or "10.3.0.10-10.3.0.99"')
    try:
        pool_range(text)
    except ValueError as error:
        raise ValueError(f"{error}: write 10.3.0.0/24 or 10.3.0.10-10.3.0.99") from None
    return text.replace(" ", "")


def _ipv4(address: str) -> str:
    if ":" in address:
        raise ValueError(f"{address} is not an IPv4 address")
    return address


Range = Annotated[
    str, BeforeValidator(_range),
    WithJsonSchema({"type": "string", "description": "a network, or the first and last address",
                    "examples": ["10.3.0.0/24", "10.3.0.10-10.3.0.99"]}),
]  # fmt: skip
Addresses = Annotated[Many[Address], Field(max_length=MAX_ATTRIBUTES)]
Ipv4Address = Annotated[Address, AfterValidator(_ipv4)]


class Pool(Model):
    """Addresses that a responder leases, and what it tells to whoever gets one of them."""

    addrs: Range
    """Of a network, the first and the last address are not leased."""
    dns: Addresses = ()
    """Servers; what a host does with them is its own affair."""
    nbns: Annotated[Many[Ipv4Address], Field(max_length=MAX_ATTRIBUTES)] = ()
    dhcp: Addresses = ()
    netmask: Ipv4Address | None = None
    subnet: Annotated[Many[Prefix], Field(max_length=MAX_ATTRIBUTES)] = ()
    """Networks that the responder protects; selectors decide, this is only told."""
