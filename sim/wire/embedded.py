"""IPv4 addresses inside IPv6 ones (RFC 6052 2.2).

    prefix    0      32  40  48  56  64  72  80  88  96      128
    /32       prefix | IPv4         | u | suffix
    /40       prefix     | IPv4 (24)| u |(8)| suffix
    /48       prefix         |  (16)| u | (16) | suffix
    /56       prefix             |(8)| u | IPv4 (24) | suffix
    /64       prefix                 | u | IPv4         | suffix
    /96       prefix                                    | IPv4

Octet u, bits 64 to 71, is zero. The suffix is sent as zero, and not looked at.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.wire.address import pack_address

LENGTHS = (32, 40, 48, 56, 64, 96)
_U = 8


class Prefix64(NamedTuple):
    """A prefix and its length, one of `LENGTHS`."""

    address: bytes
    length: int

    def embed(self, ipv4: bytes) -> bytes:
        """The IPv6 address that stands for an IPv4 one."""
        octets = bytearray(self.address[: self.length // 8])
        octets += ipv4
        if self.length < 96:
            octets.insert(_U, 0)
        return bytes(octets).ljust(16, b"\0")

    def extract(self, ipv6: bytes) -> bytes | None:
        """The IPv4 address that an IPv6 one stands for; None when that is not of this prefix."""
        size = self.length // 8
        if ipv6[:size] != self.address[:size]:
            return None
        rest = ipv6[size:] if self.length == 96 else ipv6[:_U][size:] + ipv6[_U + 1 :]
        return rest[:4]


WELL_KNOWN = Prefix64(pack_address("64:ff9b::"), 96)
"""RFC 6052 2.1."""
