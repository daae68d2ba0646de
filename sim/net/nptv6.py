"""NPTv6: one IPv6 prefix for another, address by address, without state (RFC 6296).

Whatever carries a checksum of its addresses keeps it right: what the change of the prefix adds to the one's
complement sum, one 16-bit word of the rest takes away.

    prefix up to /48:  bits 48 to 63, the subnet              (RFC 6296 3.4)
    longer, to /64:    the first word from bit 64 on that is not 0xffff  (RFC 6296 3.5)

A word of 0xffff cannot be adjusted: the address has no counterpart. Prefixes longer than /64 are left out.
"""

from __future__ import annotations

from typing import NamedTuple

_ONES = 0xFFFF


class PrefixPair(NamedTuple):
    """Two prefixes of one length, up to 64, that stand for each other."""

    inside: bytes
    outside: bytes
    length: int

    def outward(self, address: bytes) -> bytes | None:
        """The outside address of an inside one; None when it has none."""
        return self._swap(address, self.inside, self.outside)

    def inward(self, address: bytes) -> bytes | None:
        """The inside address of an outside one; None when it has none."""
        return self._swap(address, self.outside, self.inside)

    def is_inside(self, address: bytes) -> bool:
        return _matches(address, self.inside, self.length)

    def is_outside(self, address: bytes) -> bool:
        return _matches(address, self.outside, self.length)

    def _swap(self, address: bytes, old: bytes, new: bytes) -> bytes | None:
        at = self._adjusted_word(address)
        if at is None:
            return None
        bits = 128 - self.length
        rest = int.from_bytes(address, "big") & (1 << bits) - 1
        prefix = int.from_bytes(new, "big") >> bits << bits
        swapped = bytearray((prefix | rest).to_bytes(16, "big"))
        word = int.from_bytes(address[at : at + 2], "big")
        # RFC 6296 3.1: the checksum of the old prefix minus that of the new one, in one's complement.
        adjusted = (word + int.from_bytes(old, "big") - int.from_bytes(new, "big")) % _ONES
        swapped[at : at + 2] = adjusted.to_bytes(2, "big")
        return bytes(swapped)

    def _adjusted_word(self, address: bytes) -> int | None:
        places = (6,) if self.length <= 48 else (8, 10, 12, 14)
        return next((at for at in places if address[at : at + 2] != b"\xff\xff"), None)


def _matches(address: bytes, prefix: bytes, length: int) -> bool:
    free = 128 - length
    return (
        len(address) == 16 and int.from_bytes(address, "big") >> free == int.from_bytes(prefix, "big") >> free
    )
