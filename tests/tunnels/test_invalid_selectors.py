"""What an SA is not for is dropped, and the peer is told (RFC 4301 5.2, RFC 7296 3.10.1)."""

from __future__ import annotations

from sim.ipsec.verdict import Reason
from sim.net.packet import Packet
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import udp
from sim.wire.address import pack_address
from tests.tunnels.lab import BOB, Lab

STRANGER = pack_address("10.99.0.1")


def test_c93_a_packet_outside_the_selectors_is_told_to_its_sender_once_a_minute() -> None:
    """moon sends through the SA what it is not for; sun drops it and says INVALID_SELECTORS."""
    lab = Lab().up()
    for _ in range(5):
        send_astray(lab)
        lab.run(100 * NS_PER_MS)
    assert told(lab) == 1
    lab.run(60 * NS_PER_S)
    send_astray(lab)
    lab.run(NS_PER_S)

    assert told(lab) == 2
    assert lab.drops("sun") == {str(Reason.SELECTOR_MISMATCH): 6}
    assert lab.stack("sun").engine.sad, "the SA goes on"


def send_astray(lab: Lab) -> None:
    (pair,) = lab.stack("moon").engine.sad.values()
    sealed = pair.outbound.seal(udp.build((STRANGER, 7), (BOB, 9), bytes(64)), lab.now)
    assert isinstance(sealed, bytearray)
    lab.world.nodes["moon"].send(Packet(sealed, lab.now), lab.now)


def told(lab: Lab) -> int:
    rows = [row.detail for row in lab.world.log if row.node == "sun" and row.event == "ike sent"]
    return sum("request" in row and "N(INVALID_SELECTORS)" in row for row in rows)
