"""The engine's decisions: policies, acquires, clear text, UDP encapsulation, peers that move, selectors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ipsec import sad
from sim.ipsec.events import PeerMoved
from sim.ipsec.policy import Action, Policy
from sim.ipsec.verdict import BYPASS, DROP, Acquire, Reason
from sim.wire import ip, udp
from sim.wire.esp import Mode
from sim.wire.selector import OPAQUE_PORTS, Selector
from tests.ipsec.pair import (
    A4,
    A6,
    B4,
    B6,
    HOST_A4,
    HOST_B4,
    NET_A,
    NET_B,
    SPI_A,
    SPI_B,
    SUITES,
    bare_engine,
    between,
    datagram,
    keys,
    make_pair,
    make_spec,
    mirrored,
    packet_of,
    reason_of,
)

TRAP = Policy("net", Action.PROTECT, NET_A, NET_B, connection="site", child="net")
ALL = (Selector.from_prefix("0.0.0.0/0"),)
LATE_FRAGMENT = 0x2003


def test_packet_that_no_policy_covers_passes() -> None:
    engine = bare_engine(A4)

    assert engine.outbound(datagram(), 0) is BYPASS
    assert engine.inbound(datagram(), 0) is BYPASS


def test_default_policy_may_discard() -> None:
    engine = bare_engine(A4)
    assert engine.outbound(datagram(), 0) is engine.inbound(datagram(), 0) is BYPASS
    engine.spd.default = Action.DISCARD

    assert engine.outbound(datagram(), 0) is DROP[Reason.DISCARD_POLICY]
    assert engine.inbound(datagram(), 0) is DROP[Reason.DISCARD_POLICY]
    with pytest.raises(ValueError, match="needs a policy"):
        engine.spd.default = Action.PROTECT


def test_trap_asks_for_an_sa_and_names_the_packets_own_selectors() -> None:
    engine = bare_engine(A4)
    engine.spd.add(TRAP)

    assert engine.outbound(datagram(), 0) == Acquire(
        TRAP, Selector.host(HOST_A4, 17, (1000, 1000)), Selector.host(HOST_B4, 17, (2000, 2000))
    )


def test_first_policy_that_matches_decides() -> None:
    engine = bare_engine(A4)
    engine.spd.add(TRAP)
    engine.spd.add(Policy("dns", Action.BYPASS, NET_A, (Selector.host(HOST_B4, 17, (53, 53)),)), first=True)
    engine.spd.add(Policy("too late", Action.DISCARD, NET_A, NET_B))

    assert engine.outbound(datagram(ports=(1000, 53)), 0) is BYPASS
    assert isinstance(engine.outbound(datagram(ports=(1000, 54)), 0), Acquire)


def test_installed_sa_goes_before_the_trap_and_its_removal_brings_the_trap_back() -> None:
    pair = make_pair()
    pair.a.spd.add(TRAP)
    pair.seal(datagram())
    pair.a.remove(SPI_A)

    assert isinstance(pair.a.outbound(datagram(), 0), Acquire)
    assert reason_of(pair.a.inbound(ip.build(B4, A4, 50, SPI_A.to_bytes(4, "big") + bytes(60)), 0)) == (
        "unknown SPI"
    )
    pair.a.remove(SPI_A)  # again: no harm


def test_newest_sa_of_a_policy_sends_and_the_older_one_still_receives() -> None:
    pair = make_pair()
    late = pair.seal(datagram())
    fresh = replace(pair.spec, spi_in=0xA2, spi_out=0xB2)
    pair.a.install(fresh, 1)
    pair.b.install(mirrored(fresh), 1)

    assert pair.seal(datagram())[20:24] == bytes.fromhex("000000b2")
    assert pair.open(late) == datagram()
    pair.a.remove(0xA2)
    assert pair.seal(datagram())[20:24] == SPI_B.to_bytes(4, "big")


def test_an_sa_for_a_part_keeps_that_part_when_one_for_all_comes_up_later() -> None:
    """RFC 4301 4.4.1: the order of the SPD decides, not the order in which negotiations end."""
    pair = make_pair()
    all_of_it = (Selector.from_prefix("0.0.0.0/0"), Selector.from_prefix("::/0"))
    wide = replace(pair.spec, spi_in=0xA2, spi_out=0xB2, remote_ts=all_of_it)
    narrow = replace(pair.spec, spi_in=0xA3, spi_out=0xB3, remote_ts=(Selector.host(HOST_B4),))
    pair.a.install(wide, 1)
    assert pair.seal(datagram())[20:24] == SPI_B.to_bytes(4, "big")
    pair.a.install(narrow, 2)
    assert pair.seal(datagram())[20:24] == bytes.fromhex("000000b3")
    pair.a.install(replace(wide, spi_in=0xA4, spi_out=0xB4), 3)
    assert pair.seal(datagram())[20:24] == bytes.fromhex("000000b3")


def test_changed_policies_apply_to_flows_that_are_remembered() -> None:
    pair = make_pair()
    pair.seal(datagram())
    wall = Policy("wall", Action.DISCARD, NET_A, NET_B)
    pair.a.spd.add(wall, first=True)

    assert pair.a.outbound(datagram(), 0) is DROP[Reason.DISCARD_POLICY]
    pair.a.spd.remove(wall)
    pair.seal(datagram())


def test_what_is_remembered_of_flows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sad, "MAX_FLOWS", 3)
    monkeypatch.setattr("sim.ipsec.engine.MAX_FLOWS", 3)
    pair = make_pair()
    for port in range(20):
        packet = datagram(ports=(port, 7))
        assert pair.open(pair.seal(packet)) == packet
        pair.a.inbound(packet, 0)

    remembered = (pair.a._leaving, pair.a._arriving, pair.b.sad[SPI_B].inbound._flows)
    assert all(1 <= len(flows) <= 3 for flows in remembered)


@pytest.mark.parametrize("suite", SUITES)
def test_install_refuses_keys_that_do_not_fit(suite: str) -> None:
    spec = make_spec(suite)

    with pytest.raises(ValueError, match="octets of key"):
        bare_engine(A4).install(replace(spec, keys_in=(b"short", spec.keys_in[1])), 0)


def test_c62_spi_zero_is_never_sent_nor_taken() -> None:
    for spec in (make_spec(spi_in=0), make_spec(spi_out=0)):
        with pytest.raises(ValueError, match="not zero"):
            bare_engine(A4).install(spec, 0)
    assert reason_of(bare_engine(A4).inbound(ip.build(B4, A4, 50, bytes(60)), 0)) == "unknown SPI"


def test_install_refuses_an_spi_in_use_and_mixed_families() -> None:
    engine = bare_engine(A4)
    engine.install(make_spec(), 0)

    with pytest.raises(ValueError, match="in use"):
        engine.install(make_spec(), 0)
    with pytest.raises(ValueError, match="IP versions"):
        engine.install(make_spec(spi_in=5, remote=(B6, 4500)), 0)
    assert list(engine.sad) == [SPI_A]
    assert len(engine.spd) == 1


# Clear text


def test_clear_text_that_policy_protects_is_dropped() -> None:
    pair = make_pair()

    assert reason_of(pair.b.inbound(datagram(), 0)) == "clear text where policy demands protection"
    # The other direction of the same policy, and traffic of nobody's concern.
    back = between((HOST_B4, 2000), (HOST_A4, 1000))
    assert reason_of(pair.a.inbound(back, 0)) == "clear text where policy demands protection"
    assert pair.b.inbound(back, 0) is BYPASS


def test_clear_text_is_dropped_for_a_trap_too() -> None:
    engine = bare_engine(B4)
    engine.spd.add(replace(TRAP, local_ts=NET_B, remote_ts=NET_A))

    assert reason_of(engine.inbound(datagram(), 0)) == "clear text where policy demands protection"


@pytest.mark.parametrize("port", [500, 4500])
@pytest.mark.parametrize("version", [4, 6])
def test_ike_passes_by_the_policies_of_its_own_host(port: int, version: int) -> None:
    """Else a policy for all traffic between two hosts would stop the negotiation of its own SA."""
    pair = make_pair(mode=Mode.TRANSPORT, outer=version)
    a, b = (A4, B4) if version == 4 else (A6, B6)
    marked = udp.build((a, port), (b, port), bytes(4) + bytes(range(1, 60)))

    assert pair.a.outbound(marked, 0) is BYPASS
    assert pair.b.inbound(marked, 0) is BYPASS


def test_ike_of_another_host_meets_the_policies() -> None:
    pair = make_pair()

    assert isinstance(pair.a.outbound(datagram(ports=(500, 500)), 0), bytearray)


# UDP encapsulation


def test_c61_there_is_no_esp_in_udp_on_port_500() -> None:
    """Whatever comes there is IKE's (RFC 7296 2.23): as ESP it is never opened."""
    pair = make_pair(encap=True)
    sealed = pair.seal(datagram())
    sealed[20:24] = (500).to_bytes(2, "big") * 2

    assert pair.b.inbound(sealed, 0) is BYPASS
    assert pair.b.pair(SPI_B)[0].packets == 0


@pytest.mark.parametrize("payload", [b"\xff", b"", b"\0\0\0", bytes(4) + b"\x01" * 40, b"\x01\x02\x03"])
def test_c62_what_is_not_esp_on_the_natt_port_is_left_to_ike(payload: bytes) -> None:
    """Markers, keepalives, and what is too short to be anything. None of it is a sign of life."""
    pair = make_pair(encap=True)

    assert pair.b.inbound(udp.build((A4, 4500), (B4, 4500), payload), 3) is BYPASS
    assert pair.b.usage(SPI_B) == (-1, -1)


@pytest.mark.parametrize("outer", [4, 6])
def test_c63_both_forms_are_received_at_any_time(outer: int) -> None:
    pair = make_pair(encap=True, outer=outer)
    encapsulated = pair.seal(datagram())
    pair.a.move(SPI_A, pair.spec.local, pair.spec.remote, encap=False)
    plain = pair.seal(datagram())

    assert len(encapsulated) == len(plain) + 8
    assert pair.open(encapsulated) == pair.open(plain) == datagram()
    assert pair.b.next_event() is None


def test_c64_udp_header_has_the_ports_of_ike_and_no_checksum() -> None:
    pair = make_pair(encap=True, local=(A4, 61234), remote=(B4, 4500))
    sealed = pair.seal(datagram())

    assert udp.parse(sealed, 20) == (61234, 4500, len(sealed) - 20, 0)


def test_c64_receiver_does_not_depend_on_the_udp_checksum() -> None:
    pair = make_pair(encap=True)
    sealed = pair.seal(datagram())
    sealed[26:28] = b"\xab\xcd"

    assert pair.open(sealed) == datagram()


def test_c64_udp_over_ipv6_has_a_checksum() -> None:
    sealed = make_pair(encap=True, outer=6).seal(datagram())

    assert sealed[46:48] != b"\0\0"
    assert udp.checksum_ok(sealed, 40)


def test_udp_length_that_contradicts_the_packet_is_malformed_esp() -> None:
    pair = make_pair(encap=True)
    for length in (0, 7, 8, 60, 65535):
        sealed = pair.seal(datagram())
        sealed[24:26] = length.to_bytes(2, "big")

        assert reason_of(pair.open(sealed)) == "malformed ESP"


def test_esp_for_somebody_else_passes() -> None:
    pair = make_pair()
    sealed = pair.seal(datagram())

    assert bare_engine(A4).inbound(sealed, 0) is BYPASS
    pair.b.local_addresses = ()
    assert pair.open(sealed) is BYPASS


@pytest.mark.parametrize("flags", [0x2000, 0x0003, LATE_FRAGMENT])
@pytest.mark.parametrize("encap", [False, True])
def test_fragment_of_esp_is_dropped(flags: int, encap: bool) -> None:
    """Reassembly comes before ESP (RFC 4303 3.4.1); a later fragment shows no port to know it by."""
    pair = make_pair(encap=encap)
    sealed = pair.seal(datagram())
    sealed[6:8] = flags.to_bytes(2, "big")
    ip.write_checksum(sealed)

    outcome = pair.open(sealed)

    if encap and flags & 0x1FFF:
        assert outcome is BYPASS
    else:
        assert reason_of(outcome) == "fragment of an ESP or AH packet"


def test_esp_behind_ip_options_and_extension_headers_is_found() -> None:
    pair = make_pair()
    sealed = pair.seal(datagram())
    routed = bytearray(b"\x46" + sealed[1:20] + bytes.fromhex("94040000") + sealed[20:])
    routed[2:4] = len(routed).to_bytes(2, "big")
    ip.write_checksum(routed)
    six = make_pair(outer=6)
    with_options = ip.build(A6, B6, 60, bytes.fromhex("3200010400000000") + six.seal(datagram())[40:])

    assert pair.open(routed) == datagram()
    assert six.open(with_options) == datagram()


# Peers that move


def test_c66_newer_authentic_packet_from_elsewhere_reports_the_peer_once() -> None:
    pair = make_pair(encap=True)
    rebound = (A4, 1025)
    for _ in range(3):
        pair.open(from_port(pair.seal(datagram()), 1025))

    assert pair.b.next_event() == PeerMoved(SPI_B, rebound)
    assert pair.b.next_event() is None
    assert pair.b.pair(SPI_B)[1].spec.remote == (A4, 4500)  # IKE decides


def test_c66_older_or_replayed_packet_from_elsewhere_reports_nothing() -> None:
    pair = make_pair(encap=True)
    first, second = pair.seal(datagram()), pair.seal(datagram())
    pair.open(second)
    pair.open(from_port(first, 1025))
    pair.open(from_port(second, 1026))

    assert pair.b.next_event() is None


def test_c66_forged_packet_from_elsewhere_reports_nothing() -> None:
    pair = make_pair(encap=True)
    forged = from_port(pair.seal(datagram()), 1025)
    forged[-1] ^= 1
    pair.open(forged)

    assert pair.b.next_event() is None


def test_c66_without_udp_encapsulation_nothing_is_reported() -> None:
    pair = make_pair()
    sealed = pair.seal(datagram())
    sealed[12:16] = HOST_A4
    ip.write_checksum(sealed)

    assert pair.open(sealed) == datagram()
    assert pair.b.next_event() is None


def test_peer_that_moves_on_is_reported_again_and_one_that_returns_is_not() -> None:
    pair = make_pair(encap=True)
    for port in (1025, 1026, 4500, 1025):
        pair.open(from_port(pair.seal(datagram()), port))

    reported = [event.src[1] for event in iter(pair.b.next_event, None) if isinstance(event, PeerMoved)]
    assert reported == [1025, 1026, 1025]


def test_moved_sa_keeps_its_numbers_its_window_and_its_counters() -> None:
    pair = make_pair(encap=True)
    old = pair.seal(datagram())
    pair.open(old)
    pair.a.move(SPI_A, (HOST_A4, 4500), (B4, 4500), encap=True)
    pair.b.move(SPI_B, (B4, 4500), (HOST_A4, 4500), encap=True)
    sealed = pair.seal(datagram())

    assert ip.parse(sealed).src == HOST_A4
    assert sealed[28:36] == SPI_B.to_bytes(4, "big") + bytes.fromhex("00000002")
    assert pair.open(sealed) == datagram()
    assert reason_of(pair.open(old)) == "replayed"
    assert pair.b.pair(SPI_B)[0].packets == 2
    assert pair.b.next_event() is None
    assert ip.parse(packet_of(pair.b.outbound(between((HOST_B4, 1), (HOST_A4, 2)), 0))).dst == HOST_A4


def test_packet_from_where_the_sa_was_before_its_move_is_reported() -> None:
    pair = make_pair(encap=True)
    pair.open(pair.seal(datagram()))
    pair.b.move(SPI_B, (B4, 4500), (HOST_A4, 4500), encap=True)
    pair.open(pair.seal(datagram()))

    assert pair.b.next_event() == PeerMoved(SPI_B, (A4, 4500))


def test_move_to_mixed_families_is_refused_and_changes_nothing() -> None:
    pair = make_pair()

    with pytest.raises(ValueError, match="IP versions"):
        pair.a.move(SPI_A, (A6, 4500), (B4, 4500), encap=False)
    assert pair.a.pair(SPI_A)[1].spec == pair.a.pair(SPI_A)[0].spec == pair.spec
    assert pair.open(pair.seal(datagram())) == datagram()


# Selectors


@pytest.mark.parametrize("version", [4, 6])
def test_c69_c93_inner_packet_outside_the_selectors_is_dropped(version: int) -> None:
    """A peer's keys vouch for the peer, not for whatever addresses it puts inside."""
    pair = make_pair()
    wide = (Selector.from_prefix("0.0.0.0/0"), Selector.from_prefix("::/0"))
    pair.a.remove(SPI_A)
    pair.a.install(replace(pair.spec, local_ts=wide, remote_ts=wide), 0)
    hosts = (HOST_A4, HOST_B4) if version == 4 else (A6, B6)
    for _ in range(2):
        spoofed = between((hosts[1], 5), (hosts[0], 6))
        assert reason_of(pair.open(pair.seal(spoofed))) == "selector mismatch"

    assert pair.b.sad[SPI_B].inbound.packets == 0
    assert pair.b.sad[SPI_B].inbound.drops == {Reason.SELECTOR_MISMATCH: 2}
    assert pair.open(pair.seal(datagram())) == datagram()


def test_c93_selectors_of_transport_mode_look_at_the_packet_itself() -> None:
    pair = make_pair(mode=Mode.TRANSPORT)
    pair.b.remove(SPI_B)
    narrow = replace(mirrored(pair.spec), local_ts=(Selector.host(B4, 17, (53, 53)),))
    pair.b.install(narrow, 0)

    assert reason_of(pair.open(pair.seal(between((A4, 9), (B4, 54))))) == "selector mismatch"
    assert pair.open(pair.seal(between((A4, 9), (B4, 53)))) == between((A4, 9), (B4, 53))


def test_c93_unknown_spi_is_dropped() -> None:
    pair = make_pair()
    sealed = pair.seal(datagram())
    pair.b.remove(SPI_B)

    assert reason_of(pair.open(sealed)) == "unknown SPI"


def test_later_fragments_need_a_rule_for_opaque_or_any_ports() -> None:
    fragment = datagram()
    fragment[6:8] = LATE_FRAGMENT.to_bytes(2, "big")
    ip.write_checksum(fragment)
    for ports, protected in (((0, 65535), True), (OPAQUE_PORTS, True), ((2000, 2000), False)):
        engine = bare_engine(A4)
        engine.install(make_spec(remote_ts=(Selector.host(HOST_B4, 17, ports),)), 0)

        assert isinstance(engine.outbound(fragment, 0), bytearray) == protected
        assert isinstance(engine.outbound(datagram(), 0), bytearray) == (ports != OPAQUE_PORTS)


def test_protecting_names_the_pair_that_a_packet_would_use() -> None:
    pair = make_pair()
    pair.a.spd.add(Policy("trap", Action.PROTECT, ALL, ALL))

    assert pair.a.protecting(datagram()) == SPI_A
    assert pair.a.protecting(between((B4, 1), (A4, 2))) is None
    assert pair.a.protecting(bytearray(b"\x45")) is None
    assert pair.a.sad[SPI_A].outbound.seq == 0


def test_equal_randomness_gives_equal_packets() -> None:
    for suite in SUITES:
        assert make_pair(suite).seal(datagram()) == make_pair(suite).seal(datagram())
    assert keys(*SUITES["aes128-sha1"], 1) != keys(*SUITES["aes128-sha1"], 2)


def from_port(sealed: bytearray, port: int) -> bytearray:
    """What a NAT makes of it that gave the flow another port."""
    sealed[20:22] = port.to_bytes(2, "big")
    return sealed


def test_a_pair_makes_its_ciphers_for_the_first_packet_of_each_direction() -> None:
    """Thousands of idle SAs must not hold a cipher each."""
    pair = make_pair()
    outbound, inbound = pair.a.sad[SPI_A].outbound, pair.b.sad[SPI_B].inbound
    assert outbound._wrapper is None
    assert inbound._wrapper is None

    packet = datagram()
    sealed = pair.seal(packet)
    assert outbound._wrapper is not None
    assert inbound._wrapper is None
    assert pair.open(sealed) == packet
    assert inbound._wrapper is not None
    assert pair.b.sad[SPI_B].outbound._wrapper is None
