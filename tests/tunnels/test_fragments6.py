"""ESP in IPv6 that no link takes in one piece: the gateway cuts it, the other joins it (RFC 4303 3.3.4)."""

from __future__ import annotations

import pytest

from sim.wire import icmp, ip
from sim.wire.address import pack_address
from sim.wire.fragment import Reassembler
from tests.tunnels.lab import ALICE, BOB, CHILD, SITES, Lab

PREFIXES = {"192.0.2.": "2001:db8:a::", "198.51.100.": "2001:db8:b::", "/24": "/64"}
A6, B6 = pack_address("2001:db8:1::10"), pack_address("2001:db8:2::10")


def over_ipv6() -> str:
    """The sites with IPv6 between them, and both versions at home."""
    text = SITES
    for old, new in PREFIXES.items():
        text = text.replace(old, new)
    for own, other in (("alice", "1"), ("bob", "2")):
        text = text.replace(f"eth: 10.{other}.0.10/16", f"eth: [10.{other}.0.10/16, 2001:db8:{other}::10/64]")
        text = text.replace(f"lan: 10.{other}.0.1/16", f"lan: [10.{other}.0.1/16, 2001:db8:{other}::1/64]")
        assert own in text
    text = text.replace("[10.1.0.0/16]", "[10.1.0.0/16, 2001:db8:1::/64]")
    return text.replace("[10.2.0.0/16]", "[10.2.0.0/16, 2001:db8:2::/64]")


@pytest.mark.parametrize("encap", ["true", "false"])
def test_the_gateway_fragments_its_own_outer_packet(encap: str) -> None:
    """It is the source of the outer packet; the inner one may be fragmented, being IPv4 without DF."""
    lab = Lab(f"tunnels.sites.encap={encap}", text=over_ipv6()).up()
    ear = lab.listen("moon:wan")
    sent = [lab.send(size=size) for size in (1400, 1500)]
    lab.run()
    assert lab.boxes["bob"].seqs == sent
    pieces = [ip.parse(seen.data) for seen in ear.seen]
    assert [piece.version for piece in pieces] == [6] * len(pieces)
    assert [piece.is_fragment for piece in pieces[-2:]] == [True, True]
    assert max(len(seen.data) for seen in ear.seen) <= 1500
    assert not lab.drops("moon")
    assert not lab.drops("sun")


def test_reassembly_comes_before_esp_at_the_tunnels_end() -> None:
    lab = Lab(text=over_ipv6()).up()
    ear = lab.listen("sun:wan")
    lab.send(size=1500)
    lab.run()
    reassembler = Reassembler()
    *_, whole = [reassembler.add(bytearray(seen.data), 0) for seen in ear.seen if not seen.outbound]
    assert whole is not None
    assert ip.parse(whole).protocol == ip.Protocol.ESP
    ((inbound, _, _),) = lab.stack("sun").engine.sad.values()
    assert inbound.packets == 1


@pytest.mark.parametrize(("src", "dst", "df"), [(ALICE, BOB, True), (A6, B6, False)])
def test_what_must_not_be_fragmented_is_reported_to_the_inner_source(
    src: bytes, dst: bytes, df: bool
) -> None:
    lab = Lab(text=over_ipv6()).up()
    told: list[int] = []
    lab.world.nodes["alice"].on_icmp.append(lambda message, _header, _now: told.append(message.mtu))
    ear = lab.listen("moon:wan")
    lab.send(src, dst, 1500, df=df)
    lab.run()
    (mtu,) = told
    assert not ear.seen
    fits = lab.send(src, dst, mtu, df=df)
    lab.run()
    assert lab.boxes["bob"].seqs == [fits]
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [False]


def test_a_df_that_is_not_copied_is_none_for_an_ipv6_outer_header_too() -> None:
    lab = Lab(f"{CHILD}.copy_df=false", text=over_ipv6()).up()
    sent = [lab.send(size=1500, df=True), lab.send(A6, B6, 1500)]
    lab.run()
    assert lab.boxes["bob"].seqs == sent


def test_routers_on_the_way_never_cut_it() -> None:
    lab = Lab(text=over_ipv6()).up()
    lab.world.ports["net:sun"].mtu = 1400
    told: list[icmp.IcmpMessage] = []
    lab.world.nodes["moon"].on_icmp.append(lambda message, _header, _now: told.append(message))
    lab.send(size=1440)
    lab.run()
    assert [(message.type, message.mtu) for message in told] == [(2, 1400)]
    assert lab.drops("net") == {"packet too big": 1}


def test_what_a_gateway_itself_sends_in_ipv6_it_may_cut() -> None:
    """The end of the tunnel is the source of the inner packet, too: nobody else can be told."""
    lab = Lab(text=over_ipv6()).up()
    sent = lab.send(pack_address("2001:db8:1::1"), B6, 1500)
    lab.run()
    assert lab.boxes["bob"].seqs == [sent]
