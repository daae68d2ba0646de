"""Generic Routing Encapsulation: an IP packet behind four octets and a new IP header (RFC 2784 2).

    0 checksum present (1 bit), reserved, version 0 | 2 protocol type (an EtherType) | 4 payload

Without checksum, key and sequence number (RFC 2890), as tunnels are set up unless somebody asks for these.
"""

from __future__ import annotations

from struct import Struct

from sim.wire import ip
from sim.wire.buffer import Buf, WireError

GRE_HEADER_BYTES = 4
PROTOCOL = 47

_HEAD = Struct(">HH")
_ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
_VERSIONS = {kind: version for version, kind in _ETHER_TYPES.items()}


def parse(data: Buf) -> int:
    """The IP version of what follows the header; WireError for flags, versions and payloads left out here."""
    if len(data) < GRE_HEADER_BYTES:
        raise WireError(f"{len(data)} octets are too few for a GRE header")
    flags, kind = _HEAD.unpack_from(data)
    if flags:
        raise WireError(f"GRE flags and version {flags:#06x}")
    if kind not in _VERSIONS:
        raise WireError(f"GRE protocol type {kind:#06x}")
    return _VERSIONS[kind]


def build(src: bytes, dst: bytes, inner: Buf) -> bytearray:
    """A whole IP packet from `src` to `dst` that carries the IP packet `inner`."""
    header = _HEAD.pack(0, _ETHER_TYPES[inner[0] >> 4])
    return ip.build(src, dst, PROTOCOL, header + bytes(inner))
