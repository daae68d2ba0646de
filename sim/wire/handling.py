"""What is agreed with nobody: how one side of a Child SA handles sizes and ICMP errors."""

from __future__ import annotations

from sim.wire.value import value

AUTO = -1
"""An MSS that follows from what fits into the SA."""

TO_MTU = -1
"""TFC padding up to the longest packet that fits."""


@value
class Handling:
    """`df` is what the outer IPv4 header gets where the inner bit is not copied (RFC 4301 8.1: set, clear).

    `fragment_before` cuts an IPv4 packet that is too long, and may be fragmented, before it is protected;
    else the outer packet is cut. With `icmp` the SA carries ICMP errors about what it carries, whatever their
    addresses; `icmp_check` wants those that its selectors do cover to quote its packets, too (RFC 4301 6.2).
    `mss_clamp` is the largest MSS that TCP's SYNs through the SA may tell (octets), 0 for any, or AUTO.
    `tfc_padding` is how many octets inner packets are padded to (RFC 4303 2.7), 0 for none, or TO_MTU.
    """

    df: bool = False
    fragment_before: bool = False
    icmp: bool = True
    icmp_check: bool = False
    mss_clamp: int = 0
    tfc_padding: int = 0


DEFAULT = Handling()
