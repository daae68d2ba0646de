"""What a node drops of IP itself under the names that `nstat` of Linux shows (RFC 4293).

A reassembly that fails counts as IpReasmFails whatever the reason; two reasons have a counter besides.
"""

from __future__ import annotations

from collections.abc import Mapping

REASSEMBLY = (
    *("malformed packet", "duplicate fragment", "reassembly time exceeded", "reassembly buffer full"),
    *("overlapping fragment", "fragment beyond the end", "ECN of fragments contradicts", "IPv6 fragment"),
    *("empty fragment", "fragment of no multiple of 8 octets", "datagram of more than 65535 octets"),
    *("tiny fragment",),
)
"""Why `sim.wire.fragment` gives up fragments."""

_BESIDES = {"reassembly time exceeded": "IpReasmTimeout", "overlapping fragment": "IpExtReasmOverlaps"}


def snmp_counters(drops: Mapping[str, int]) -> dict[str, int]:
    """From drops by reason; what is zero is left out."""
    counts = {
        "IpInHdrErrors": drops.get("malformed IP packet", 0),
        "IpReasmFails": sum(drops.get(reason, 0) for reason in REASSEMBLY),
        **{name: drops.get(reason, 0) for reason, name in _BESIDES.items()},
    }
    return {name: count for name, count in counts.items() if count}
