"""What routers between two gateways say about the size of packets, and what becomes of it (RFC 4301 8.2)."""

from __future__ import annotations

import pytest

from sim.net.packet import Packet
from sim.units import NS_PER_S
from sim.wire import icmp, ip
from sim.wire.icmp import IcmpError
from sim.wire.pmtu import NO_LIMIT
from tests.tunnels.lab import BOB, CHILD, MOON, Lab
from tests.tunnels.test_path_mtu import Errors

NARROW = "links.2.mtu=1300 B"
SUITES = ["aes128gcm16", "aes256-sha256", "chacha20poly1305"]


def spi_in(lab: Lab, node: str = "moon") -> int:
    return list(lab.stack(node).engine.sad)[-1]


def known(lab: Lab, node: str = "moon") -> int:
    return lab.stack(node).mtus.of(spi_in(lab, node))


@pytest.mark.parametrize("encap", ["true", "false"])
@pytest.mark.parametrize("suite", SUITES)
def test_c91_a_router_s_report_lowers_the_mtu_of_the_sa_and_the_next_packet_is_refused(
    suite: str, encap: str
) -> None:
    """The first is lost in silence; the second tells the source what fits, and that arrives."""
    lab = Lab(NARROW, f"{CHILD}.esp_proposals=[{suite}]", f"tunnels.sites.encap={encap}").up()
    errors = Errors(lab, "alice")
    lab.send(size=1400, df=True)
    lab.run()
    assert (errors.mtus, known(lab)) == ([], 1300)
    assert lab.drops("net") == {"packet too big": 1}
    lab.send(size=1400, df=True)
    lab.run()
    (told,) = errors.mtus
    assert lab.drops("moon") == {"packet too big": 1}
    ear = lab.listen("moon:wan")
    fits = lab.send(size=told, df=True)
    lab.run()
    assert lab.boxes["bob"].seqs == [fits]
    assert 1300 - 16 < len(ear.seen[0].data) <= 1300
    lab.send(size=told + 1, df=True)
    lab.run()
    assert errors.mtus == [told, told]


@pytest.mark.parametrize(
    ("keys", "pieces"),
    [((), "outer"), ((f"{CHILD}.fragment=before",), "inner")],
)
def test_c91_what_may_be_fragmented_is_and_nobody_is_told(keys: tuple[str, ...], pieces: str) -> None:
    lab = Lab(NARROW, *keys).up()
    errors = Errors(lab, "alice")
    lab.send(size=1400, df=True)
    lab.run()
    ear = lab.listen("moon:wan", "net:sun")
    whole = lab.send(size=1400)
    lab.run()
    assert errors.mtus == []
    assert lab.boxes["bob"].seqs == [whole]
    assert len(lab.boxes["bob"].octets[0]) == 1400
    assert len(ear.seen) == 4
    assert {ip.parse(seen.data).is_fragment for seen in ear.seen} == {pieces == "outer"}
    assert all(len(seen.data) <= 1300 for seen in ear.seen)


def test_inner_fragments_are_passed_on_as_they_are() -> None:
    """No gateway puts together what only passes it (RFC 4301 7, 8200 4.5)."""
    lab = Lab("links.1.mtu=1000 B", f"{CHILD}.fragment=before").up()
    ear = lab.listen("sun:lan")
    whole = lab.send(size=1400)
    lab.run()
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [True, True]
    assert lab.boxes["bob"].seqs == [whole]


def test_sequence_numbers_have_no_gap_for_what_is_refused_or_cut() -> None:
    lab = Lab("links.1.mtu=1000 B", f"{CHILD}.fragment=before").up()
    lab.send(size=1400, df=True)
    lab.send(size=1400)
    lab.run()
    assert lab.stack("moon").engine.pair(spi_in(lab))[1].seq == 2


@pytest.mark.parametrize("size", [100, 1400])
@pytest.mark.parametrize(
    ("keys", "inner_df", "outer_df"),
    [
        ((), True, True),
        ((), False, False),
        ((f"{CHILD}.copy_df=false",), True, False),
        ((f"{CHILD}.copy_df=false", f"{CHILD}.df=set"), False, True),
    ],
)
def test_the_outer_df_bit_is_copied_cleared_or_set(
    keys: tuple[str, ...], inner_df: bool, outer_df: bool, size: int
) -> None:
    """RFC 4301 8.1."""
    lab = Lab(*keys).up()
    ear = lab.listen("moon:wan")
    lab.send(size=size, df=inner_df)
    lab.run()
    assert [ip.parse(seen.data).df for seen in ear.seen] == [outer_df]


def test_c91_with_df_set_a_packet_that_may_be_fragmented_is_before() -> None:
    """Its source may not be told, and its outer packet may not be cut."""
    lab = Lab(NARROW, f"{CHILD}.copy_df=false", f"{CHILD}.df=set").up()
    errors = Errors(lab, "alice")
    lost, whole = lab.send(size=1400), 1
    lab.run()
    ear = lab.listen("moon:wan")
    lab.send(size=1400)
    lab.run()
    assert [(ip.parse(seen.data).df, ip.parse(seen.data).is_fragment) for seen in ear.seen] == [
        (True, False),
        (True, False),
    ]
    assert (lab.boxes["bob"].seqs, errors.mtus, lost) == ([whole], [], 0)


def test_c91_a_path_mtu_is_forgotten_after_ten_minutes() -> None:
    """RFC 1191 6.3."""
    lab = Lab(NARROW, "duration=2000 s").up()
    lab.send(size=1400, df=True)
    lab.run(599 * NS_PER_S)
    assert known(lab) == 1300
    lab.run(2 * NS_PER_S)
    assert known(lab) == NO_LIMIT
    errors = Errors(lab, "alice")
    lab.send(size=1400, df=True)
    lab.run()
    assert (errors.mtus, known(lab)) == ([], 1300)


def test_c91_a_path_mtu_survives_a_rekeying() -> None:
    """RFC 4301 8.2.1: the new SA has the same path."""
    lab = Lab(NARROW).up()
    lab.send(size=1400, df=True)
    lab.run()
    old = spi_in(lab)
    lab.stack("moon").command("rekey", "sites", "lans", lab.now)
    lab.run()
    assert spi_in(lab) != old
    assert known(lab) == 1300
    errors = Errors(lab, "alice")
    lab.send(size=1400, df=True)
    lab.run()
    assert len(errors.mtus) == 1


def report(lab: Lab, quoted: bytes, mtu: int, src: bytes = bytes((203, 0, 113, 66))) -> None:
    """Give moon an ICMP message as if from the network."""
    error = icmp.error(bytearray(quoted), src, IcmpError.TOO_BIG, mtu)
    assert error is not None
    port = lab.world.ports["moon:wan"]
    port.node.enter(Packet(error, lab.now), port, lab.now)
    lab.run()


def sent_by_moon(lab: Lab, size: int = 1400) -> bytes:
    ear = lab.listen("moon:wan")
    lab.send(size=size, df=True)
    lab.run()
    return ear.seen[0].data


@pytest.mark.parametrize("encap", ["true", "false"])
def test_c91_a_report_that_does_not_quote_a_packet_of_ours_is_ignored(encap: str) -> None:
    lab = Lab(f"tunnels.sites.encap={encap}").up()
    sent = sent_by_moon(lab)
    at = 28 if encap == "true" else 20
    wrong_spi, wrong_dst = bytearray(sent), bytearray(sent)
    wrong_spi[at] ^= 1
    wrong_dst[19] ^= 1
    for forged in (wrong_spi, wrong_dst):
        ip.write_checksum(forged)
        report(lab, bytes(forged), 900)
        assert known(lab) == NO_LIMIT
    report(lab, sent, 900)
    assert known(lab) == 900


def test_c91_a_report_never_raises_the_mtu_and_never_lowers_it_below_the_minimum() -> None:
    """RFC 4301 6.1.1 asks for a least value."""
    lab = Lab().up()
    sent = sent_by_moon(lab)
    for mtu, becomes in ((1400, 1400), (1450, 1400), (100, 576)):
        report(lab, sent, mtu)
        assert known(lab) == becomes


def test_a_report_about_a_packet_that_would_have_fitted_is_no_report() -> None:
    lab = Lab().up()
    report(lab, sent_by_moon(lab, 100), 900)
    assert known(lab) == NO_LIMIT


def test_a_router_that_tells_no_mtu_means_the_next_lower_plateau() -> None:
    """RFC 1191 5 and 7.1."""
    lab = Lab().up()
    report(lab, sent_by_moon(lab), 0)
    assert known(lab) == 1006


def test_a_report_is_heard_although_policy_lets_nothing_in_in_clear() -> None:
    """A router on the way has no SA, whatever the selectors say of it (RFC 4301 6.1.1)."""
    lab = Lab(NARROW, f"{CHILD}.local_ts=[192.0.2.1/32]", f"{CHILD}.remote_ts=[0.0.0.0/0]").up()
    lab.send(MOON, BOB, 1400, df=True)
    lab.run()
    assert known(lab) == 1300
    assert lab.drops("moon") == {}


def test_c91_ipv6_inside_is_told_what_fits() -> None:
    lab = Lab("links.1.mtu=1400 B", text=SIX).up()
    told: list[int] = []
    lab.world.nodes["alice"].on_icmp.append(lambda message, header, now: told.append(message.mtu))
    a6, b6 = (ip_of(lab, name) for name in ("alice", "bob"))
    ear = lab.listen("moon:wan")
    lab.send(a6, b6, 1400)
    lab.run()
    assert (len(told), ear.seen) == (1, [])
    whole = lab.send(a6, b6, told[0])
    lab.run()
    assert lab.boxes["bob"].seqs == [whole]
    assert 1400 - 4 < len(ear.seen[0].data) <= 1400


def test_c91_ipv6_inside_is_never_told_less_than_1280() -> None:
    """What is not longer goes in fragments of IPv4 without DF (RFC 2473 7.1, RFC 4213 3.2.2)."""
    lab = Lab("links.1.mtu=1300 B", text=SIX).up()
    told: list[int] = []
    lab.world.nodes["alice"].on_icmp.append(lambda message, header, now: told.append(message.mtu))
    a6, b6 = (ip_of(lab, name) for name in ("alice", "bob"))
    ear = lab.listen("moon:wan")
    lab.send(a6, b6, 1281)
    lab.run()
    assert (told, ear.seen) == ([1280], [])
    whole = lab.send(a6, b6, 1280)
    lab.run()
    assert lab.boxes["bob"].seqs == [whole]
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [True, True]


def ip_of(lab: Lab, name: str) -> bytes:
    port = next(iter(lab.world.nodes[name].ports.values()))
    address = port.first_address(16)
    assert address is not None
    return address


SIX = """\
name: six
duration: 100 s
nodes:
  alice: {kind: host, interfaces: {eth: "fd01::10/64"}}
  moon: {kind: gateway, interfaces: {lan: "fd01::1/64", wan: 192.0.2.1/24}}
  net: {kind: router, interfaces: {moon: 192.0.2.254/24, sun: 198.51.100.254/24}}
  sun: {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: "fd02::1/64"}}
  bob: {kind: host, interfaces: {eth: "fd02::10/64"}}
links:
  - {ends: [alice:eth, moon:lan], delay: 1 ms}
  - {ends: [moon:wan, net:moon], delay: 5 ms}
  - {ends: [net:sun, sun:wan], delay: 5 ms}
  - {ends: [sun:lan, bob:eth], delay: 1 ms}
tunnels:
  six:
    initiator: moon
    responder: sun
    auth: {psk: secret, local_id: moon, remote_id: sun}
    children:
      lans: {local_ts: ["fd01::/64"], remote_ts: ["fd02::/64"], start: trap}
"""
