"""Selectors with protocols, ports and types of ICMP, narrowed with strongSwan (RFC 7296 2.9, 3.13.1)."""

from __future__ import annotations

import pytest

from tests.interop.netns import Lab
from tests.interop.scene import Role, set_up

pytestmark = pytest.mark.peers

KINDS = {
    "a protocol": ("udp", "17/any", "udp"),
    "a port": ("tcp/80", "6/80", "tcp/http"),
    "a range of ports": ("udp/1024-65535", "17/1024-65535", "udp/1024-65535"),
    "a type of ICMP": ("icmp/8", "1/8", "icmp/8"),
    "any code": ("icmp/768-1023", "1/3(0)-3(255)", "icmp/3"),
    "a type and a code": ("icmp/772", "1/3(4)", r"icmp/3\(4\)"),
    "hidden ports": ("tcp/opaque", "6/opaque", "tcp/OPAQUE"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_c35_strongswan_and_we_mean_the_same_by(lab: Lab, role: Role, kind: str) -> None:
    """The initiator names it, and the responder, who allows all, answers with it."""
    text, shown, printed = KINDS[kind]
    named = {"local_ts": f"10.1.0.0/24[{text}]", "remote_ts": f"10.2.0.0/24[{text}]"}
    we_initiate = role == "we initiate"
    scene = set_up(lab, role, ours=named if we_initiate else None, theirs=None if we_initiate else named)
    scene.establish()

    child = scene.ours.child()
    mine, yours = ("10.1.0.0/24", "10.2.0.0/24") if we_initiate else ("10.2.0.0/24", "10.1.0.0/24")
    assert [str(ts) for ts in child.local_ts] == [f"{mine}[{shown}]"]
    assert [str(ts) for ts in child.remote_ts] == [f"{yours}[{shown}]"]
    scene.theirs.expect(rf"TS 10\.[12]\.0\.0/24\[{printed}[^=]*=== 10\.[12]\.0\.0/24\[{printed}")
