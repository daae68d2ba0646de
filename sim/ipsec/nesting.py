"""SAs in SAs: ESP in ESP, AH over ESP (RFC 4301 4.1, appendix E).

What an SA has made is looked up once more, but only among policies whose selectors name its protocol: ESP,
AH, or UDP on the NAT traversal port alone. So a policy for all traffic of a host never protects its own ESP,
and to be nested is always said. On the way in, what came out of an SA and is such a packet for this node is
opened again, with the selector check of its own SA; and what a policy for ESP or AH protects may not come
without.

    outbound  packet -> SPD -> SA -> ESP -> policies that name ESP -> SA -> ESP in ESP
    inbound   ESP in ESP -> SA, its selectors -> ESP for this node -> SA, its selectors -> packet
"""

from __future__ import annotations

from collections.abc import Iterable

from sim.ipsec.policy import Policy
from sim.ipsec.spec import ChildSpec
from sim.ipsec.traffic import OPAQUE, Traffic, covers
from sim.wire.esp import Mode
from sim.wire.ip import Protocol
from sim.wire.selector import Selector

MAX_DEPTH = 6
"""How many SAs may be one inside the other; as many as in Linux."""

NATT_PORT = 4500
_IPSEC = (int(Protocol.ESP), int(Protocol.AH))
_UDP = int(Protocol.UDP)


def names_ipsec(policy: Policy) -> bool:
    """Whether a policy is for ESP or AH itself: then packets are nested on this node."""
    return any(_names(ts) for ts in (*policy.local_ts, *policy.remote_ts))


def made_by(spec: ChildSpec) -> Traffic:
    """What selectors see of the packets that an SA makes."""
    src, dst = spec.local, spec.remote
    if spec.mode is Mode.TRANSPORT and spec.local_ts and spec.remote_ts:
        src, dst = (spec.local_ts[0].start, src[1]), (spec.remote_ts[0].start, dst[1])
    if spec.encap:
        return Traffic(src[0], dst[0], _UDP, src[1], dst[1])
    return Traffic(src[0], dst[0], int(spec.protocol), OPAQUE, OPAQUE)


def is_ipsec(traffic: Traffic) -> bool:
    """Whether a packet may be ESP or AH; in UDP it may be IKE's as well."""
    return traffic.protocol in _IPSEC or (traffic.protocol == _UDP and traffic.dst_port == NATT_PORT)


def around(policies: Iterable[Policy], traffic: Traffic) -> Policy | None:
    """The first policy that is for this ESP or AH by name; source is its local side."""
    src, dst, protocol, src_port, dst_port = traffic
    for policy in policies:
        remote = [ts for ts in policy.remote_ts if covers(ts, dst, protocol, dst_port)]
        local = [ts for ts in policy.local_ts if covers(ts, src, protocol, src_port)]
        if remote and local and any(_names(ts) for ts in (*remote, *local)):
            return policy
    return None


def _names(selector: Selector) -> bool:
    if selector.protocol == _UDP:
        return selector.ports == (NATT_PORT, NATT_PORT)
    return selector.protocol in _IPSEC
