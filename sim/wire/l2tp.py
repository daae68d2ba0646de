"""L2TPv2 data messages: an IP packet in PPP in UDP (RFC 2661 3.1 and 8.1, RFC 1661 2, RFC 1662 3.1).

    0 flags, version 2 | 2 tunnel id | 4 session id | 6 PPP address 0xff, control 0x03 | 8 PPP protocol | 10

Without length, sequence numbers and offset, which are optional in data messages, and without PPP's header
compression; so Linux sends them.
"""

from __future__ import annotations

from struct import Struct

from sim.wire import udp
from sim.wire.buffer import Buf, WireError

L2TP_HEADER_BYTES = 6
PPP_HEADER_BYTES = 4
PORT = 1701

_HEAD = Struct(">HHHHH")
_DATA_VERSION_2 = 0x0002
_ADDRESS_CONTROL = 0xFF03
_PPP_PROTOCOLS = {4: 0x0021, 6: 0x0057}  # RFC 1332 2, RFC 5072 2
_VERSIONS = {kind: version for version, kind in _PPP_PROTOCOLS.items()}


def parse(data: Buf) -> int:
    """The IP version of what follows both headers; WireError for anything but a plain data message of IP."""
    if len(data) < _HEAD.size:
        raise WireError(f"{len(data)} octets are too few for L2TP and PPP headers")
    flags, _, _, framing, kind = _HEAD.unpack_from(data)
    if flags != _DATA_VERSION_2 or framing != _ADDRESS_CONTROL:
        raise WireError(f"L2TP flags and version {flags:#06x}, PPP address and control {framing:#06x}")
    if kind not in _VERSIONS:
        raise WireError(f"PPP protocol {kind:#06x}")
    return _VERSIONS[kind]


def build(src: bytes, dst: bytes, inner: Buf, *, tunnel: int = 1, session: int = 1) -> bytearray:
    """A whole IP packet from `src` to `dst` that carries the IP packet `inner`."""
    header = _HEAD.pack(_DATA_VERSION_2, tunnel, session, _ADDRESS_CONTROL, _PPP_PROTOCOLS[inner[0] >> 4])
    return udp.build((src, PORT), (dst, PORT), header + bytes(inner))
