"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

The sum of 16-bit words in one's complement is the octets as one big number modulo 0xffff. One's complement
has two zeros: a sum of octets that are not all zero is never +0 (0x0000), it is -0 (0xffff). So the checksum
of such octets may be 0x0000 but not 0xffff, and only all-zero octets have the checksum 0xffff. RFC 1624
section 3 shows the packets that break when an update forgets this.
"""

from __future__ import annotations

from sim.wire.buffer import Buf

_FOLD_BYTES = 512  # from here on, adding the two halves is quicker than dividing both


def internet_checksum(data: Buf, initial: int = 0) -> int:
    """The 16-bit value to store for `data`, whose checksum field holds zero.

    An odd length is padded with a zero octet. `initial` is any number of 16-bit words already summed, such as
    `pseudo_header_sum`. Over data that include a correct checksum the result is 0. UDP stores 0xffff for a
    result of 0 (RFC 768); that is the caller's.
    """
    size = len(data)
    total = int.from_bytes(data, "big")
    if size & 1:
        total <<= 8
    if size > _FOLD_BYTES:
        half = size // 4 * 16
        total = (total >> half) + (total & (1 << half) - 1)
    total += initial
    return -total % 0xFFFF if total else 0xFFFF


def update(checksum: int, old: int, new: int) -> int:
    """The checksum after one 16-bit word changes from `old` to `new` (RFC 1624 equation 3).

    A UDP checksum of 0 means "none" and must not be updated; a result of 0 is stored as 0xffff there. When
    the change makes all octets under the checksum zero, which no IP header and no UDP datagram can be, the
    result is the other zero.
    """
    total = 0x1FFFE - checksum - old + new
    return -total % 0xFFFF if total else 0xFFFF


def update_field(checksum: int, old: Buf, new: Buf) -> int:
    """`update` for a longer field, such as an address: of even size, at an even offset, both of one size."""
    ones = (1 << 8 * len(old)) - 1
    total = 0xFFFF - checksum + ones - int.from_bytes(old, "big") + int.from_bytes(new, "big")
    return -total % 0xFFFF if total else 0xFFFF


def pseudo_header_sum(src: Buf, dst: Buf, protocol: int, length: int) -> int:
    """The `initial` of a UDP, TCP or ICMPv6 checksum (RFC 768; RFC 8200 8.1 for 16-octet addresses).

    `length` counts the upper-layer header and its data.
    """
    return int.from_bytes(src, "big") + int.from_bytes(dst, "big") + protocol + length
