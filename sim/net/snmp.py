"""What a node drops of IP itself under the names that `nstat` of Linux shows (RFC 4293).

A reassembly that fails counts as IpReasmFails whatever the reason; two reasons have a counter besides.
Those of IPv6, Ip6ReasmFails and the like, are among these.
"""

from __future__ import annotations

from collections.abc import Mapping

from sim.wire import fragment

REASSEMBLY = (
    *(fragment.MALFORMED, fragment.OVERLAP, fragment.BEYOND_END, fragment.ECN_CONTRADICTS, fragment.EMPTY),
    *(fragment.UNEVEN, fragment.TOO_LONG, fragment.TINY, fragment.TIME_EXCEEDED),
    *("duplicate fragment", "reassembly buffer full"),
)
"""Why `sim.wire.fragment` gives up fragments."""

_BESIDES = {fragment.TIME_EXCEEDED: "IpReasmTimeout", fragment.OVERLAP: "IpExtReasmOverlaps"}


def snmp_counters(drops: Mapping[str, int]) -> dict[str, int]:
    """From drops by reason; what is zero is left out."""
    counts = {
        "IpInHdrErrors": drops.get("malformed IP packet", 0),
        "IpReasmFails": sum(drops.get(reason, 0) for reason in REASSEMBLY),
        **{name: drops.get(reason, 0) for reason, name in _BESIDES.items()},
    }
    return {name: count for name, count in counts.items() if count}
