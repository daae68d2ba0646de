"""Where the fields of a tunnel's outer IP header come from, as both ends' users choose it.

DSCP by RFC 4301 5.1.2 and RFC 2983, ECN by RFC 6040, the flow label by RFC 6437 and RFC 6438. DF is not here.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from sim.wire.value import quick, value

_ECN = 3


@quick
class CopyDscp(Enum):
    """Which way the DSCP is copied, in the words of swanctl.conf."""

    OUT = "out"
    """To the outer header, on entry."""
    IN = "in"
    """To the inner header, at the exit."""
    YES = "yes"
    NO = "no"

    @property
    def outwards(self) -> bool:
        return self in (CopyDscp.OUT, CopyDscp.YES)

    @property
    def inwards(self) -> bool:
        return self in (CopyDscp.IN, CopyDscp.YES)


@quick
class FlowLabel(Enum):
    """The flow label of an outer IPv6 header."""

    HASH = "hash"
    """Of what tells the inner flow from others (RFC 6438 3)."""
    COPY = "copy"
    """The inner packet's; 0 around IPv4 (RFC 4301 5.1.2.2)."""
    NONE = "none"
    """0: nobody outside can tell which packets belong together."""


@value
class OuterFields:
    """What tunnel mode writes into its outer headers, and takes out of them.

    `dscp_map` has pairs of an inner code point and its outer one; for others comes `dscp`, and where that is
    None what `copy_dscp` says: the inner one, or 0. `copy_ecn` is RFC 6040's normal mode on entry, else the
    compatibility mode, whose outer field is always Not-ECT; at the exit there is only one way (4.2).
    """

    copy_dscp: CopyDscp = CopyDscp.OUT
    copy_ecn: bool = True
    dscp: int | None = None
    dscp_map: tuple[tuple[int, int], ...] = ()
    ttl: int = 64
    flow_label: FlowLabel = FlowLabel.HASH

    def tos_table(self) -> bytes:
        """By the inner TOS octet or traffic class: the outer one."""
        return _tos_table(self)

    def outer_dscp(self, inner: int) -> int:
        rest = (inner if self.copy_dscp.outwards else 0) if self.dscp is None else self.dscp
        return dict(self.dscp_map).get(inner, rest)


DEFAULT_FIELDS = OuterFields()


@lru_cache(64)
def _tos_table(fields: OuterFields) -> bytes:
    """Thousands of SAs have the same few."""
    ecn = _ECN if fields.copy_ecn else 0
    return bytes(fields.outer_dscp(tos >> 2) << 2 | tos & ecn for tos in range(256))
