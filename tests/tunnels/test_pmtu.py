"""What routers between two gateways say about the size of packets, and what becomes of it (RFC 4301 8.2)."""

from __future__ import annotations

import pytest

from sim.net.packet import Packet
from sim.units import NS_PER_S
from sim.wire import icmp, ip
from sim.wire.checksum import internet_checksum
from sim.wire.icmp import IcmpError
from sim.wire.ip import Protocol
from sim.wire.pmtu import NO_LIMIT
from tests.tunnels.lab import BOB, CHILD, MOON, SUN, Lab
from tests.tunnels.test_mobility import ROAD, WLAN
from tests.tunnels.test_path_mtu import Errors

STRANGER = bytes((203, 0, 113, 66))
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


@pytest.mark.parametrize(
    "keys", [[f"{CHILD}.fragment=before"], [f"{CHILD}.copy_df=false", f"{CHILD}.df=set"]]
)
def test_an_sa_for_ports_gets_no_inner_fragments_because_they_do_not_show_theirs(keys: list[str]) -> None:
    """RFC 4301 7: its peer would drop the later ones."""
    ports = [f"{CHILD}.local_ts=['10.1.0.0/16[udp]']", f"{CHILD}.remote_ts=['10.2.0.0/16[udp/9999]']"]
    lab = Lab("links.1.mtu=1000 B", *ports, *keys).up()
    ear = lab.listen("moon:wan")
    whole = lab.send(size=1400)
    lab.run()
    assert lab.boxes["bob"].seqs == [whole]
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [True, True]


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


def report(lab: Lab, quoted: bytes, mtu: int, quote_bytes: int = 500) -> None:
    """Give moon an ICMP message as if from the network, which quotes so many octets."""
    whole = icmp.error(bytearray(quoted), STRANGER, IcmpError.TOO_BIG, mtu)
    assert whole is not None
    message = whole[20 : 28 + quote_bytes]
    message[2:4] = bytes(2)
    message[2:4] = internet_checksum(message).to_bytes(2, "big")
    error = ip.build(STRANGER, MOON, Protocol.ICMP, message)
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


OUTER6 = (
    SIX.replace("wan: 192.0.2.1/24", 'wan: "2001:db8:1::1/64"')
    .replace("moon: 192.0.2.254/24", 'moon: "2001:db8:1::2/64"')
    .replace("sun: 198.51.100.254/24", 'sun: "2001:db8:2::2/64"')
    .replace("wan: 198.51.100.1/24", 'wan: "2001:db8:2::1/64"')
)
OUTER6_V4 = (
    OUTER6.replace('eth: "fd01::10/64"', "eth: 10.1.0.10/16")
    .replace('lan: "fd01::1/64"', "lan: 10.1.0.1/16")
    .replace('lan: "fd02::1/64"', "lan: 10.2.0.1/16")
    .replace('eth: "fd02::10/64"', "eth: 10.2.0.10/16")
    .replace('["fd01::/64"]', "[10.1.0.0/16]")
    .replace('["fd02::/64"]', "[10.2.0.0/16]")
)


@pytest.mark.parametrize("encap", ["true", "false"])
def test_c91_packet_too_big_about_an_outer_ipv6_packet_lowers_the_mtu(encap: str) -> None:
    lab = Lab("links.2.mtu=1380 B", f"tunnels.six.encap={encap}", text=OUTER6).up()
    told: list[int] = []
    lab.world.nodes["alice"].on_icmp.append(lambda message, header, now: told.append(message.mtu))
    a6, b6 = (ip_of(lab, name) for name in ("alice", "bob"))
    lab.send(a6, b6, 1400)
    lab.run()
    assert (told, known(lab)) == ([], 1380)
    lab.send(a6, b6, 1400)
    lab.run()
    (fitting,) = told
    ear = lab.listen("moon:wan")
    whole = lab.send(a6, b6, fitting)
    lab.run()
    assert lab.boxes["bob"].seqs == [whole]
    assert 1380 - 4 < len(ear.seen[0].data) <= 1380


def test_c91_ipv6_of_1280_octets_in_ipv6_goes_in_fragments_of_the_gateway() -> None:
    """What the gateway sends itself it may cut to the path's MTU (RFC 8200 5)."""
    lab = Lab("links.2.mtu=1280 B", text=OUTER6).up()
    a6, b6 = (ip_of(lab, name) for name in ("alice", "bob"))
    lab.send(a6, b6, 1280)
    lab.run()
    assert known(lab) == 1280
    ear = lab.listen("moon:wan")
    whole = lab.send(a6, b6, 1280)
    lab.run()
    assert lab.boxes["bob"].seqs == [whole]
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [True, True]
    assert all(len(seen.data) <= 1280 for seen in ear.seen)


@pytest.mark.parametrize(("fragment", "cut"), [("after", [True, True]), ("before", [False, False])])
def test_c91_ipv4_without_df_in_ipv6_is_cut_to_the_path_mtu(fragment: str, cut: list[bool]) -> None:
    lab = Lab("links.2.mtu=1300 B", f"tunnels.six.children.lans.fragment={fragment}", text=OUTER6_V4).up()
    lab.send(size=1400, df=True)
    lab.run()
    assert known(lab) == 1300
    ear = lab.listen("moon:wan")
    whole = lab.send(size=1400)
    lab.run()
    assert lab.boxes["bob"].seqs == [whole]
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == cut


AH = f"{CHILD}.ah_proposals=[sha256]"


@pytest.mark.parametrize("df", [True, False])
def test_c91_ah_has_a_path_mtu_as_esp_has(df: bool) -> None:
    lab = Lab(NARROW, AH, f"{CHILD}.esp_proposals=[]").up()
    errors = Errors(lab, "alice")
    lab.send(size=1280, df=True)
    lab.run()
    assert known(lab) == 1300
    ear = lab.listen("moon:wan")
    whole = lab.send(size=1280, df=df)
    lab.run()
    if df:
        assert (len(errors.mtus), ear.seen) == (1, [])
        whole = lab.send(size=errors.mtus[0], df=True)
        lab.run()
    assert lab.boxes["bob"].seqs == [whole]
    assert all(len(seen.data) <= 1300 for seen in ear.seen)


PAIR = """\
name: pair
duration: 100 s
nodes:
  a: {kind: host, interfaces: {eth: 192.0.2.1/24}}
  r: {kind: router, interfaces: {a: 192.0.2.254/24, b: 198.51.100.254/24}}
  b: {kind: host, interfaces: {eth: 198.51.100.1/24}}
links: [{ends: [a:eth, r:a], delay: 1 ms}, {ends: [r:b, b:eth], delay: 1 ms, mtu: 1300 B}]
tunnels:
  t: {initiator: a, responder: b, auth: {psk: x}, children: {c: {mode: transport, start: trap}}}
"""


def test_c91_transport_mode_tells_the_host_itself_and_cuts_only_outside() -> None:
    """ESP in transport mode carries whole datagrams (RFC 4303 3.3.4)."""
    lab = Lab(text=PAIR).up()
    told: list[int] = []
    lab.world.nodes["a"].on_icmp.append(lambda message, header, now: told.append(message.mtu))
    lab.send(MOON, SUN, 1400, df=True)
    lab.run()
    assert known(lab, "a") == 1300
    lab.send(MOON, SUN, 1400, df=True)
    lab.run()
    assert told[-1] < 1300
    ear = lab.listen("a:eth")
    whole = [lab.send(MOON, SUN, 1400), lab.send(MOON, SUN, told[-1], df=True)]
    lab.run()
    assert sorted(lab.boxes["b"].seqs) == whole
    assert [ip.parse(seen.data).is_fragment for seen in ear.seen] == [True, True, False]


def test_a_path_mtu_is_forgotten_when_the_host_moves() -> None:
    """Another path (RFC 4555 3.5)."""
    lab = Lab("links.3.mtu=1300 B", text=ROAD).up()
    lab.send(WLAN, BOB, 1400, df=True)
    lab.run()
    assert known(lab, "alice") == 1300
    lab.world.ports["alice:wlan"].set_up(False)
    lab.run()
    assert known(lab, "alice") == NO_LIMIT


def test_a_path_mtu_of_an_sa_ends_with_it() -> None:
    lab = Lab(NARROW).up()
    lab.send(size=1400, df=True)
    lab.run()
    assert len(lab.stack("moon").mtus) == 1
    lab.stack("moon").command("terminate", "sites", None, lab.now)
    lab.run()
    assert len(lab.stack("moon").mtus) == 0


def test_c91_a_router_that_quotes_no_spi_means_all_sas_between_the_ports() -> None:
    """RFC 792 asks for no more than 8 octets: with UDP encapsulation these are the UDP header."""
    lab = Lab("tunnels.sites.encap=true").up()
    sent = sent_by_moon(lab)
    report(lab, sent, 900, quote_bytes=28)
    assert known(lab) == 900


def test_a_report_about_ike_is_none_about_an_sa() -> None:
    lab = Lab("tunnels.sites.encap=true")
    ear = lab.listen("moon:wan")
    lab.up()
    ike = next(seen.data for seen in ear.seen if seen.is_ike and seen.outbound)
    report(lab, ike, 576 if len(ike) > 576 else 68)
    assert known(lab) == NO_LIMIT
