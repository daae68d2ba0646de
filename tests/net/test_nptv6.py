"""Prefixes that are swapped: addresses by RFC 6296, and packets that scapy finds whole."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet6 import IPv6

from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.link import LinkParams, connect
from sim.net.nat import NAT_PRESETS, NatBox
from sim.net.nptv6 import PrefixPair
from sim.net.packet import Packet
from sim.units import NS_PER_MS
from sim.wire import icmp, udp
from sim.wire.address import format_address, pack_address
from tests.net.scene import DEFAULT6, Ear, plug

RFC = PrefixPair(pack_address("fd01:203:405::"), pack_address("2001:db8:1::"), 48)
LONG = PrefixPair(pack_address("fd01:203:405:1::"), pack_address("2001:db8:1:7::"), 64)


def test_the_address_of_the_rfc() -> None:
    """RFC 6296 2.1 and 3.7."""
    inside, outside = pack_address("fd01:203:405:1::1234"), pack_address("2001:db8:1:d550::1234")
    assert RFC.outward(inside) == outside
    assert RFC.inward(outside) == inside


@given(st.sampled_from((RFC, LONG)), st.binary(min_size=16, max_size=16))
def test_every_swap_is_neutral_to_checksums_and_comes_back(pair: PrefixPair, octets: bytes) -> None:
    size = pair.length // 8
    address = pair.inside[:size] + octets[size:]
    outside = pair.outward(address)
    assume(outside is not None)
    assert outside is not None
    assert pair.is_outside(outside)
    assert int.from_bytes(outside, "big") % 0xFFFF == int.from_bytes(address, "big") % 0xFFFF
    assert pair.inward(outside) == address


@pytest.mark.parametrize(
    ("pair", "address"),
    [(RFC, "fd01:203:405:ffff::1"), (LONG, "fd01:203:405:1:ffff:ffff:ffff:ffff")],
)
def test_an_address_without_a_word_to_adjust_has_no_counterpart(pair: PrefixPair, address: str) -> None:
    assert pair.outward(pack_address(address)) is None


def test_of_a_longer_prefix_the_first_word_that_can_is_adjusted() -> None:
    """RFC 6296 3.5."""
    outside = LONG.outward(pack_address("fd01:203:405:1:ffff:1::5"))
    assert outside is not None
    assert format_address(outside).startswith("2001:db8:1:7:ffff:")


class Border:
    """alice fd01:203:405:1::10 - box (2001:db8:f::10 outside) - server 2001:db8:f::1."""

    def __init__(self) -> None:
        self.sim = Simulation(1)
        self.alice, self.server = Host(self.sim, "alice"), Host(self.sim, "server")
        self.box = NatBox(self.sim, "box", outside="wan", profile=NAT_PRESETS["home"])
        pairs = (
            (plug(self.alice, "eth", f"{ALICE}/64"), plug(self.box, "lan", "fd01:203:405:1::1/64")),
            (plug(self.box, "wan", "2001:db8:f::10/64"), plug(self.server, "eth", f"{SERVER}/64")),
        )
        for a, b in pairs:
            connect(self.sim, a, b, LinkParams(delay_ns=NS_PER_MS))
        self.alice.add_route(*DEFAULT6, self.alice.ports["eth"])
        self.box.add_route(*DEFAULT6, self.box.ports["wan"])
        self.server.add_route(*DEFAULT6, self.server.ports["eth"])
        self.box.swap_prefixes((RFC,))
        self.seen: list[bytearray] = []
        original = self.server.receive

        def tap(packet: Packet, port: object, now: int) -> None:
            self.seen.append(packet.data.copy())
            original(packet, port, now)  # type: ignore[arg-type]

        self.server.enter = tap
        self.box.ports["wan"].tell_links()
        self.server.ports["eth"].tell_links()

    def send(self, data: bytearray) -> None:
        self.alice.send(Packet(data, self.sim.now), self.sim.now)
        self.sim.run(self.sim.now + 100 * NS_PER_MS)


ALICE, SERVER, OUTSIDE = "fd01:203:405:1::1234", "2001:db8:f::1", "2001:db8:1:d550::1234"
_A, _S = pack_address(ALICE), pack_address(SERVER)


def test_a_datagram_and_its_answer_pass_with_right_checksums() -> None:
    border = Border()
    heard, back = Ear(), Ear()
    border.server.bind_udp(7, heard)
    border.alice.bind_udp(9, back)
    border.send(udp.build((_A, 9), (_S, 7), b"out"))
    assert [(d[0], format_address(d[1][0]), d[1][1]) for d in heard.datagrams] == [(b"out", OUTSIDE, 9)]
    assert _judged(border.seen[0])
    border.server.send_udp(b"back", (_S, 7), heard.datagrams[0][1], border.sim.now)
    border.sim.run(border.sim.now + 100 * NS_PER_MS)
    assert [d[0] for d in back.datagrams] == [b"back"]


def test_what_comes_uninvited_passes_too() -> None:
    """RFC 6296 5: it is no firewall."""
    border, heard = Border(), Ear()
    border.alice.bind_udp(9, heard)
    border.server.send_udp(b"in", (_S, 7), (pack_address(OUTSIDE), 9), 0)
    border.sim.run(100 * NS_PER_MS)
    assert [d[0] for d in heard.datagrams] == [b"in"]


def test_an_error_names_the_packet_as_its_sender_knows_it() -> None:
    border = Border()
    told: list[icmp.IcmpMessage] = []
    border.alice.on_icmp.append(lambda message, _header, _now: told.append(message))
    border.send(udp.build((_A, 9), (_S, 4321), b"nobody"))
    (message,) = told
    assert (message.type, message.code) == (1, 4)
    quoted = IPv6(message.body)
    assert (quoted.src, quoted.dst) == (ALICE, SERVER)


def test_an_error_about_what_came_in_leaves_with_a_right_checksum() -> None:
    border = Border()
    border.server.send_udp(b"in", (_S, 7), (pack_address(OUTSIDE), 4321), 0)
    border.sim.run(100 * NS_PER_MS)
    (error,) = border.seen
    assert _judged(error)
    assert IPv6(bytes(error[48:])).dst == OUTSIDE


def test_an_address_without_counterpart_is_refused() -> None:
    border = Border()
    src = pack_address("fd01:203:405:ffff::1")
    border.send(udp.build((src, 9), (_S, 7), b"x"))
    assert border.box.drops == {"NPTv6 has no counterpart of this address": 1}


def _judged(data: bytearray) -> bool:
    """Whether scapy computes the checksums that the packet has."""
    packet = IPv6(bytes(data))
    again = packet.copy()
    layer = again.payload
    for name in ("chksum", "cksum"):
        if name in layer.fields:
            delattr(layer, name)
    return bytes(again) == bytes(data)
