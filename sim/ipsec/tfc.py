"""Hiding how much is said, and when: padding behind inner packets, and dummies (RFC 4303 2.6, 2.7).

    ESP | inner packet | zeros up to a size | 1 2 3 ... | pad length | 4 or 41     TFC padding, tunnel mode
    ESP | anything                          | 1 2 3 ... | pad length | 59          a dummy, both modes

The inner header says where its packet ends, so padding needs tunnel mode. Neither makes an outer packet that
is too long for the path.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.ipsec.sad import OutboundSa
from sim.wire.esp import Mode
from sim.wire.handling import TO_MTU

PathMtu = Callable[[OutboundSa], int]
"""How long an outer packet of an SA may be (octets)."""

DUMMY_BYTES = 64


def pad(outbound: OutboundSa, path_mtu: PathMtu) -> None:
    """Make a new SA pad, where padding can be told from what is padded."""
    spec = outbound.spec
    wanted, before = spec.handling.tfc_padding, outbound.shape
    if spec.mode is not Mode.TUNNEL or spec.cpi_out:
        return

    def least() -> int:
        longest = outbound.max_inner(path_mtu(outbound))
        return longest if wanted == TO_MTU else min(wanted, longest)

    def padded(packet: bytearray) -> bytearray:
        return (packet if before is None else before(packet)).ljust(least(), b"\0")

    outbound.least, outbound.shape = least, padded


def dummy_bytes(outbound: OutboundSa, path_mtu: PathMtu, size: int | None) -> int:
    """How long a dummy is: as what it hides among, or `size`, but never too long for the path."""
    wanted = max(outbound.least(), DUMMY_BYTES) if size is None else size
    return max(0, min(wanted, outbound.max_inner(path_mtu(outbound))))
