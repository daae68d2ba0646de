"""AGGFRAG mode and IP-TFS between two gateways, and what somebody on the way sees of it (RFC 9347)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from sim.net.packet import Packet
from sim.scenario.expand import expand
from sim.scenario.load import dump, load_text
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp, ip
from sim.wire.esp import Mode
from tests.tunnels.lab import ALICE, BOB, CHILD, MOON, SITES, Ear, Lab, Seen
from tests.tunnels.test_path_mtu import Errors

IPTFS = f"{CHILD}.mode=iptfs"
STEADY = f"{CHILD}.iptfs={{packet_size: 1400 B, l3_fixed_rate: 2 Mbit/s}}"
TICK = 5_600_000
"""1400 octets at 2 Mbit/s, ns."""


def test_an_observer_sees_one_size_and_one_interval_whatever_is_sent() -> None:
    """The shipped scenario: pings, small packets, a burst of large ones, silence; nothing of it shows."""
    text = Path("topologies/ip-tfs.yaml").read_text()
    lab = Lab("capture=[]", text=text)
    ear = lab.listen("spy:moon")
    lab.run(7 * NS_PER_S)
    for esp in directions(ear):
        assert len(esp) > 1200
        assert {len(seen.data) for seen in esp} == {1400}
        assert {seen.data[1] for seen in esp} == {0}, "nor do the inner DSCPs show"
        assert {after.at - before.at for before, after in pairwise(esp)} == {TICK}


def test_four_pings_take_exactly_one_esp_packet_each_way() -> None:
    """strongSwan's own test of this mode, net2net-iptfs: four pings are counted as one packet and one."""
    lab = Lab(IPTFS, f"{CHILD}.iptfs={{init_delay: 20 ms}}").up()
    ear = lab.listen("moon:wan")
    for number in range(4):
        ping(lab, number)
        lab.run(NS_PER_MS)
    lab.run()
    there, back = directions(ear)
    assert (len(there), len(back)) == (1, 1)
    (pair,) = lab.stack("moon").engine.sad.values()
    assert (pair.outbound.packets, pair.inbound.packets) == (4, 4)


def test_aggregation_delays_nobody_longer_than_it_may() -> None:
    lab = Lab(IPTFS, f"{CHILD}.iptfs={{init_delay: 20 ms}}").up()
    sent_at = []
    for _ in range(30):
        sent_at.append(lab.now)
        lab.send()
        lab.run(3 * NS_PER_MS)
    lab.run()
    box = lab.boxes["bob"]
    assert box.seqs == list(range(30))
    delays = [came - went - 12 * NS_PER_MS for went, came in zip(sent_at, box.times, strict=True)]
    assert max(delays) == 20 * NS_PER_MS, "the first of each aggregate"
    assert min(delays) >= 0


def test_large_packets_with_df_pass_a_small_path_in_pieces() -> None:
    """RFC 9347 2.2.6: no packet is too big, so nobody is told."""
    lab = Lab(IPTFS, "links.1.mtu=600 B").up()
    errors = Errors(lab, "alice")
    ear = lab.listen("moon:wan")
    lab.send(size=1500, df=True)
    lab.run()
    assert lab.boxes["bob"].seqs == [0]
    assert [len(seen.data) for seen in ear.seen] == [600, 600, 476]
    assert not any(ip.parse(seen.data).is_fragment for seen in ear.seen)
    assert errors.mtus == []


def test_where_the_peer_takes_no_pieces_the_source_learns_what_fits() -> None:
    """Bit D of USE_AGGFRAG: then the tunnel has an MTU like any other (RFC 9347 2.2.6)."""
    lab = Lab(IPTFS, f"{CHILD}.iptfs={{accept_fragments: false}}", "links.1.mtu=600 B").up()
    errors = Errors(lab, "alice")
    lab.send(size=1500, df=True)
    lab.run()
    assert lab.boxes["bob"].seqs == []
    (told,) = errors.mtus
    lab.send(size=told, df=True)
    lab.send(size=told + 1, df=True)
    lab.send(size=1500)
    lab.run()
    assert lab.boxes["bob"].seqs == [1, 3], "the last one in IP fragments, which bob joins"
    assert errors.mtus == [told, told]


@pytest.mark.parametrize("who", ["moon", "sun"])
def test_a_rekeying_at_a_constant_rate_falls_silent_for_no_two_ticks_and_loses_nothing(who: str) -> None:
    lab = Lab(IPTFS, STEADY).up()
    ear = lab.listen("net:moon")
    for number in range(300):
        lab.send(size=300 + number)
        if number == 100:
            lab.stack(who).command("rekey", "sites", "lans", lab.now)
        lab.run(4 * NS_PER_MS)
    lab.run()
    assert lab.boxes["bob"].seqs == list(range(300))
    for esp in directions(ear):
        spis = list(dict.fromkeys(seen.data[20:24] for seen in esp))
        assert len(spis) == 2
        assert {len(seen.data) for seen in esp} == {1400}
        assert max(after.at - before.at for before, after in pairwise(esp)) < 2 * TICK
        old = [seen.at for seen in esp if seen.data[20:24] == spis[0]]
        new = [seen.at for seen in esp if seen.data[20:24] == spis[1]]
        assert old[-1] - new[0] < 20 * TICK, "both rates together last only as long as what waited"


def test_a_peer_that_does_not_know_it_gets_plain_tunnel_mode() -> None:
    text = dump(expand(load_text(SITES, "lab.yaml", (IPTFS,))))
    lab = Lab("connections.sun.sites.children.lans.mode=tunnel", text=text).up()
    lab.send(size=1000)
    lab.run()
    assert lab.boxes["bob"].seqs == [0]
    for node in ("moon", "sun"):
        (pair,) = lab.stack(node).engine.sad.values()
        assert pair.outbound.spec.mode is Mode.TUNNEL
        assert not lab.stack(node).engine.aggfrag


def test_outer_packets_that_are_lost_or_late_are_accounted_for() -> None:
    lab = Lab(IPTFS, STEADY, "links.1.loss=2 %", "links.1.jitter=12 ms", "links.1.reorder=true", seed=3).up()
    for _ in range(400):
        lab.send(size=900)
        lab.run(4 * NS_PER_MS)
    lab.run(2 * NS_PER_S)
    seqs = lab.boxes["bob"].seqs
    assert seqs == sorted(set(seqs)), "inner packets are in order whatever the path does"
    assert 300 < len(seqs) < 400
    drops = lab.drops("sun")
    assert drops["a piece of it was lost in the tunnel"] > 0
    summary = lab.stack("sun").xfrm
    assert summary["XfrmInIptfsError"] >= drops["a piece of it was lost in the tunnel"]


def test_congestion_control_gives_way_on_a_narrow_link_and_stays_below_the_limit() -> None:
    """RFC 5348 by the fields of RFC 9347 3: up to 8 Mbit/s were allowed, 2 Mbit/s is what there is."""
    settings = "{packet_size: 1000 B, l3_fixed_rate: 8 Mbit/s, congestion_control: true}"
    lab = Lab(IPTFS, f"{CHILD}.iptfs={settings}", "links.1.rate=2 Mbit/s", "links.1.queue=20 packets").up()
    ear = lab.listen("moon:wan")
    lab.run(60 * NS_PER_S)
    there, _ = directions(ear)
    assert {len(seen.data) for seen in there} == {1000}
    late = [seen for seen in there if seen.at > 30 * NS_PER_S]
    rate = len(late) * 8000 / 30
    assert 500_000 < rate < 2_500_000
    assert sum(lab.drops("moon").values()) < len(there) / 10


@pytest.mark.parametrize("who", ["moon", "sun"])
def test_a_rekeying_keeps_the_rate_that_congestion_control_has_found(who: str) -> None:
    settings = "{packet_size: 1000 B, l3_fixed_rate: 1 Mbit/s, congestion_control: true}"
    lab = Lab(IPTFS, f"{CHILD}.iptfs={settings}").up()
    ear = lab.listen("net:moon")
    lab.run(10 * NS_PER_S)
    lab.stack(who).command("rekey", "sites", "lans", lab.now)
    lab.run(2 * NS_PER_S)
    for esp in directions(ear):
        late = [seen.at for seen in esp if seen.at > 8 * NS_PER_S]
        assert len({seen.data[20:24] for seen in esp}) == 2
        gaps = [after - before for before, after in pairwise(late)]
        assert max(gaps) < 20 * NS_PER_MS, "8 ms is the interval"


def directions(ear: Ear) -> tuple[list[Seen], list[Seen]]:
    """ESP from moon, and ESP to it."""
    esp = [seen for seen in ear.seen if seen.is_esp]
    return (
        [seen for seen in esp if seen.data[12:16] == MOON],
        [seen for seen in esp if seen.data[16:20] == MOON],
    )


def ping(lab: Lab, number: int) -> None:
    alice = lab.world.nodes["alice"]
    alice.send(Packet(icmp.echo_request(ALICE, BOB, 1, number, b"four"), lab.now), lab.now)
