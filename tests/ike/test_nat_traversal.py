"""NAT detection, the port of NAT traversal, keepalives, moving mappings (RFC 7296 2.23, RFC 3948)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha1

import pytest

from sim.ike.config import EndpointConfig
from sim.ike.constants import NotifyType
from sim.ike.events import IkeSaUp, MessageReceived, PathChanged
from sim.ike.message import NO_SPI, emit_message, parse_message
from sim.ike.payloads import NoncePayload, NotifyPayload
from sim.units import NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, NAT, A, B, NatBox, Pair, Used

NO_MOBIKE = (replace(CONNECTION_A, mobike=False), replace(CONNECTION_B, mobike=False))


def behind_nat(**changes: object) -> tuple[Pair, NatBox]:
    pair = Pair(*NO_MOBIKE, a_addr=HOME, **changes)  # type: ignore[arg-type]
    return pair, NatBox(pair)


def test_c59_the_hashes_stand_behind_the_nonce_and_cover_spis_address_and_port() -> None:
    pair = Pair()
    pair.initiate()
    message = parse_message(pair.octets("a")[0])

    kinds = [type(payload) for payload in message.payloads]
    source = message.notify(NotifyType.NAT_DETECTION_SOURCE_IP)
    destination = message.notify(NotifyType.NAT_DETECTION_DESTINATION_IP)
    assert kinds.index(NotifyPayload) == kinds.index(NoncePayload) + 1
    assert source is not None
    assert source.data == sha1(message.header.spi_i + NO_SPI + A + (500).to_bytes(2, "big")).digest()
    assert destination is not None
    assert destination.data == sha1(message.header.spi_i + NO_SPI + B + (500).to_bytes(2, "big")).digest()


def test_c59_one_fitting_source_hash_of_several_is_enough() -> None:
    """A host that does not know its source address sends one for each (strongswan#861)."""
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    sent = pair.sent[-1].datagram
    message = parse_message(sent.data)
    extra = NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes(20))
    pair.inject(pair.b, emit_message(message.header, [*message.payloads, extra]), sent.src, sent.dst)

    (view,) = pair.b.endpoint.sas
    assert not view.nat_remote


def test_c60_who_is_behind_the_nat_is_known_at_both_ends() -> None:
    pair, _ = behind_nat()
    pair.establish()

    a, b = pair.a.last(IkeSaUp), pair.b.last(IkeSaUp)
    assert (a.nat_local, a.nat_remote, a.encap) == (True, False, True)
    assert (b.nat_local, b.nat_remote, b.encap) == (False, True, True)


def test_c60_no_nat_is_found_where_there_is_none() -> None:
    a = Pair().establish().a.last(IkeSaUp)
    assert (a.nat_local, a.nat_remote, a.encap) == (False, False, False)


def test_c61_everything_moves_to_4500_from_ike_auth_on() -> None:
    pair, nat = behind_nat()
    pair.establish()

    ports = [(s.datagram.src[1], s.datagram.dst[1]) for s in pair.sent if s.side == "a"]
    assert ports == [(500, 500), (4500, 4500)]
    assert pair.b.last(IkeSaUp).remote == nat.mappings[HOME, 4500] == (NAT, 40001)
    (child,) = pair.a.children.values()
    assert (child.local, child.remote, child.encap) == ((HOME, 4500), (B, 4500), True)


def test_c61_without_nat_and_mobike_port_500_stays() -> None:
    pair = Pair(*NO_MOBIKE).establish()
    assert {s.datagram.src[1] for s in pair.sent} == {500}


def test_c61_a_peer_without_nat_traversal_stays_on_500(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NAT detection there is nothing to float to."""
    monkeypatch.setattr("sim.ike.tasks.sa_init.natd_payloads", lambda *rest: ())
    pair = Pair().establish()

    assert {s.datagram.src[1] for s in pair.sent} == {500}


def test_c61_other_ports_by_configuration() -> None:
    config = EndpointConfig(ike_port=5500, natt_port=5545)
    pair = Pair(a_config=config, b_config=config).establish()
    assert {s.datagram.src[1] for s in pair.sent} == {5500, 5545}


def test_c62_the_non_esp_marker_is_before_every_message_on_4500_and_none_on_500() -> None:
    pair, _ = behind_nat()
    pair.establish()

    for sent in pair.sent:
        marked = sent.datagram.data[:4] == bytes(4)
        assert marked is (sent.datagram.src[1] == 4500)


def test_c62_a_keepalive_is_one_octet_and_no_proof_of_life() -> None:
    pair, _ = behind_nat()
    pair.establish()
    heard = len(pair.b.all(MessageReceived))
    (before,) = pair.b.endpoint.sas
    pair.inject(pair.b, b"\xff", (A, 4500), (B, 4500))

    assert len(pair.b.all(MessageReceived)) == heard
    assert pair.b.endpoint.sas == [before]
    assert pair.b.endpoint.counters["keepalives received"] == 1


def test_c62_what_is_no_ike_message_is_counted() -> None:
    pair = Pair()
    for junk in (b"", b"\x00", b"\xff\xff", bytes(3), b"\x01" * 20, b"\x01\x02\x03\x04"):
        pair.inject(pair.b, junk, (A, 4500), (B, 4500))

    assert pair.b.endpoint.counters["not an IKE message"] == 6


def test_c63_encap_forces_udp_by_a_hash_that_cannot_fit() -> None:
    pair = Pair(replace(CONNECTION_A, encap=True)).establish()

    a, b = pair.a.last(IkeSaUp), pair.b.last(IkeSaUp)
    assert a.encap
    assert b.encap
    assert b.nat_remote
    pair.drive(60 * NS_PER_S)
    assert not [s for s in pair.sent if s.datagram.data == b"\xff"]  # there is no mapping to keep


def test_c65_a_keepalive_is_sent_when_nothing_else_was_for_20_s() -> None:
    pair, _ = behind_nat()
    pair.establish()
    up_at = pair.now
    pair.drive(65 * NS_PER_S)

    kept = [s.at for s in pair.sent if s.datagram.data == b"\xff"]
    assert [at - up_at for at in kept] == [20 * NS_PER_S, 40 * NS_PER_S, 60 * NS_PER_S]
    assert {s.side for s in pair.sent if s.datagram.data == b"\xff"} == {"a"}


def test_c65_esp_keeps_the_mapping_as_well_as_a_keepalive() -> None:
    pair, _ = behind_nat()
    pair.establish()
    (spi,) = pair.a.children
    up_at = pair.now
    pair.drive(15 * NS_PER_S)
    pair.a.uses[spi] = Used(last_out_at=pair.now)
    pair.drive(25 * NS_PER_S)

    assert [s.at - up_at for s in pair.sent if s.datagram.data == b"\xff"] == [35 * NS_PER_S]


def test_c65_an_ike_message_counts_too() -> None:
    pair, _ = behind_nat()
    pair.establish()
    up_at = pair.now
    pair.drive(15 * NS_PER_S)
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.drive(25 * NS_PER_S)

    assert [s.at - up_at for s in pair.sent if s.datagram.data == b"\xff"] == [35 * NS_PER_S]


def test_c66_without_mobike_a_new_mapping_is_followed_by_ike_and_esp() -> None:
    """libreswan#1492: IKE followed and ESP did not, so the tunnel looked alive and was dead."""
    pair, nat = behind_nat()
    pair.establish()
    nat.rebind()
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.settle()

    moved = pair.b.last(PathChanged)
    assert moved.remote == (NAT, 40002)
    assert moved.spis_in == tuple(pair.b.children)
    assert pair.b.endpoint.sas[0].remote == (NAT, 40002)


def test_c66_an_esp_packet_from_elsewhere_moves_the_peer() -> None:
    pair, _ = behind_nat()
    pair.establish()
    (spi,) = pair.b.children
    pair.command(pair.b, lambda end: end.esp_peer_moved(spi, (NAT, 61000), pair.now))

    assert pair.b.last(PathChanged).remote == (NAT, 61000)
    assert pair.b.endpoint.sas[0].remote == (NAT, 61000)


def test_c66_only_new_messages_move_the_peer() -> None:
    """A replayed request from another address is answered there, and changes nothing."""
    pair, _ = behind_nat()
    pair.establish()
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.settle()
    request = [s.datagram for s in pair.sent if s.side == "a"][-1]
    pair.inject(pair.b, request.data, (A, 6666), request.dst)

    assert not pair.b.all(PathChanged)
    assert pair.sent[-1].datagram.dst == (A, 6666)
    assert pair.b.endpoint.sas[0].remote == (NAT, 40001)


def test_c66_a_host_behind_a_nat_follows_nobody() -> None:
    pair, _ = behind_nat()
    pair.establish()
    (spi,) = pair.a.children
    pair.command(pair.a, lambda end: end.esp_peer_moved(spi, (A, 61000), pair.now))

    assert not pair.a.all(PathChanged)
    pair.command(pair.b, lambda end: end.check_liveness(1, pair.now))
    pair.rewrite = lambda d: replace(d, src=(A, 1), dst=(HOME, 4500)) if d.src[0] == B else d
    pair.settle()
    assert not pair.a.all(PathChanged)


@pytest.mark.parametrize("loss", [0, 1])
def test_two_clients_behind_one_nat(loss: int) -> None:
    """Same NAT address, other ports: the SPIs tell them apart."""
    gateway = Pair(*NO_MOBIKE, a_addr=HOME, b_config=EndpointConfig(cookie_threshold_ip=0))
    nat = NatBox(gateway)
    gateway.drop(loss)
    gateway.initiate()
    gateway.drive()
    gateway.restart(gateway.a, EndpointConfig(connections=(replace(NO_MOBIKE[0], children=()),)))
    nat.rebind()
    gateway.initiate(None)
    gateway.drive()

    assert len(gateway.b.all(IkeSaUp)) == 2
    assert len({event.remote for event in gateway.b.all(IkeSaUp)}) == 2


def test_a_peer_with_one_port_of_its_own_is_called_there_from_the_start() -> None:
    """Every message has the non-ESP marker, also the first, and no port changes (RFC 7296 2.23)."""
    pair = Pair(
        replace(CONNECTION_A, remote_port=14500), b_config=EndpointConfig(ike_port=1500, natt_port=14500)
    ).establish()
    assert {(sent.datagram.src[1], sent.datagram.dst[1]) for sent in pair.sent if sent.side == "a"} == {
        (4500, 14500)
    }
    assert all(sent.datagram.data.startswith(bytes(4)) for sent in pair.sent)
    (child,) = pair.a.children.values()
    assert (child.local[1], child.remote[1]) == (4500, 14500)


def test_it_is_called_there_again_when_the_address_changes_before_the_sa_is_up() -> None:
    pair = Pair(
        replace(CONNECTION_A, remote_port=14500, mobike=False),
        b_config=EndpointConfig(ike_port=1500, natt_port=14500),
    )
    pair.drop(1)
    pair.initiate()
    pair.a_addr = HOME
    pair.settle()
    assert pair.up
    assert {sent.datagram.dst[1] for sent in pair.sent if sent.side == "a"} == {14500}
