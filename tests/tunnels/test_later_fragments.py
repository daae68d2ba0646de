"""Fragments that show no ports, where selectors ask for some (RFC 4301 7)."""

from __future__ import annotations

import pytest

from sim.ipsec.verdict import Drop
from sim.net.packet import Packet
from sim.units import NS_PER_S
from sim.wire import ip, udp
from sim.wire.fragment import fragment
from tests.tunnels.lab import ALICE, BOB, CHILD, Lab

CHILDREN = "tunnels.sites.children"
PORT = (f"{CHILD}.local_ts=['10.1.0.0/16[udp]']", f"{CHILD}.remote_ts=['10.2.0.0/16[udp/9999]']")
ALSO = f"{CHILD}.non_first_fragments_also=true"
HIDDEN = "later fragment, whose ports a policy asks for"


def test_c54_later_fragments_follow_their_first_one_where_both_ends_want_it() -> None:
    lab = Lab(*PORT, ALSO).up()
    ear = lab.listen("moon:wan")
    send(lab, 0, 1, 2)
    lab.run()
    assert received(lab) == [2000]
    assert len(ear.seen) == 3
    assert all(seen.is_esp for seen in ear.seen)


def test_c54_without_that_a_selector_for_a_port_keeps_them_out() -> None:
    lab = Lab(*PORT).up()
    ear = lab.listen("moon:wan")
    send(lab, 0, 1, 2)
    lab.run()
    assert received(lab) == []
    assert [seen.is_esp for seen in ear.seen] == [True], "nor do they leave in clear"
    assert lab.drops("moon") == {HIDDEN: 2}


def test_c54_one_end_alone_does_not_agree() -> None:
    lab = Lab(*PORT).up()
    assert not next(iter(lab.stack("moon").engine.sad.values())).outbound.spec.fragments
    agreed = Lab(*PORT, ALSO).up()
    for name in ("moon", "sun"):
        assert next(iter(agreed.stack(name).engine.sad.values())).outbound.spec.fragments


def test_a_later_fragment_before_its_first_has_no_way() -> None:
    lab = Lab(*PORT, ALSO).up()
    send(lab, 1, 0, 2)
    lab.run()
    assert lab.drops("moon") == {HIDDEN: 1}
    assert lab.stack("moon").xfrm == {"XfrmOutPolBlock": 1}


def test_they_may_have_an_sa_of_their_own() -> None:
    """RFC 4301 7.2: a separate SA, whose selectors say OPAQUE."""
    own = (
        f"{CHILDREN}.later={{local_ts: ['10.1.0.0/16[udp/opaque]'], remote_ts: ['10.2.0.0/16[udp/opaque]']}}"
    )
    lab = Lab(*PORT, own).up()
    stack = lab.stack("moon")
    stack.endpoint.initiate("sites", "later", lab.now)
    stack.pump(lab.now)
    lab.run()
    send(lab, 0, 1, 2)
    lab.run()
    assert received(lab) == [2000]
    counts = {pair.outbound.spec.child: pair.outbound.packets for pair in stack.engine.sad.values()}
    assert counts == {"lans": 1, "later": 2}


def test_they_share_an_sa_for_any_port() -> None:
    """RFC 4301 7.1."""
    lab = Lab().up()
    send(lab, 0, 1, 2)
    lab.run()
    assert received(lab) == [2000]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_fragments_of_what_bypasses_by_port_follow_their_first_one(order: tuple[int, ...]) -> None:
    """RFC 4301 7.4: stateful checking for BYPASS with ports, in both directions."""
    sides = "local_ts: ['10.1.0.0/16[udp]'], remote_ts: ['10.2.0.0/16[udp/9999]']"
    past = f"{CHILDREN}.past={{mode: pass, {sides}}}"
    lab = Lab(past).up()
    ear = lab.listen("moon:wan")
    send(lab, *order)
    lab.run()
    assert received(lab) == [2000]
    assert [seen.protocol for seen in ear.seen] == [17, 17, 17]


def test_a_fragment_of_another_port_goes_on_in_clear_after_its_first_one() -> None:
    lab = Lab(*(text.replace("9999", "1") for text in PORT)).up()
    send(lab, 0, 1, 2)
    lab.run()
    assert received(lab) == [2000]


def test_in_an_sa_a_later_fragment_needs_its_first_one_too() -> None:
    """The peer's engine checks by itself (row 93)."""
    lab = Lab(*PORT, ALSO).up()
    (pair,) = lab.stack("moon").engine.sad.values()
    later = pieces()[1]
    sealed = pair.outbound.seal(later, lab.now)
    assert isinstance(sealed, bytearray)
    sun = lab.world.nodes["sun"]
    sun.receive(Packet(sealed, lab.now), sun.ports["wan"], lab.now)
    assert lab.drops("sun") == {"selector mismatch": 1}


def test_what_is_remembered_of_first_fragments_is_bounded() -> None:
    lab = Lab(*PORT, ALSO).up()
    first = pieces()[0]
    for number in range(3000):
        first[4:6] = number.to_bytes(2, "big")
        ip.write_checksum(first)
        lab.stack("moon").engine.outbound(bytearray(first), lab.now)
    assert len(lab.stack("moon").engine._left_first) <= 1024


def test_a_first_fragment_is_remembered_for_thirty_seconds() -> None:
    """As long as a datagram may take to become whole; the number may come again later."""
    engine = Lab(*PORT, ALSO).up().stack("moon").engine
    first, later, _ = pieces()
    assert isinstance(engine.outbound(first, 0), bytearray)
    assert isinstance(engine.outbound(later, 30 * NS_PER_S - 1), bytearray)
    assert isinstance(engine.outbound(later, 30 * NS_PER_S), Drop)


def pieces() -> list[bytearray]:
    packet = udp.build((ALICE, 7777), (BOB, 9999), bytes(2000), identification=5)
    found = fragment(packet, 820)
    assert len(found) == 3
    return found


def send(lab: Lab, *order: int) -> None:
    alice = lab.world.nodes["alice"]
    bob = lab.world.nodes["bob"]
    lab.boxes["bob"].octets.clear()
    if 9999 not in bob.udp:
        bob.bind_udp(9999, lambda payload, src, dst, now: lab.boxes["bob"].octets.append(bytes(payload)))
    parts = pieces()
    for number in order:
        alice.send(Packet(parts[number], lab.now), lab.now)
        lab.run(10_000_000)


def received(lab: Lab) -> list[int]:
    return [len(octets) for octets in lab.boxes["bob"].octets]
