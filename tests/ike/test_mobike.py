"""MOBIKE (RFC 4555): the initiator moves, the responder follows once it is proved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import ReturnRoutability
from sim.ike.events import ChildSaDown, ChildSaUp, IkeSaDown, IkeSaUp, MessageSent, PathChanged, Reason
from sim.ike.tasks import mobike
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.ike.calm import check_calm
from tests.ike.pair import (
    CONNECTION_A,
    CONNECTION_B,
    HOME,
    LATENCY,
    NAT,
    NET2_A,
    NET2_B,
    NET_A,
    NET_B,
    A,
    B,
    NatBox,
    Pair,
    Used,
)
from tests.ike.test_rekey_child import rekey_ike

LTE = pack_address("100.64.0.10")
CAFE = pack_address("192.0.2.77")
TRAIN = pack_address("192.0.2.78")
WAN2 = pack_address("198.51.100.2")
LAN_B = pack_address("10.2.0.1")
V6 = pack_address("2001:db8::1")
NO_PROOF = replace(CONNECTION_B, return_routability=ReturnRoutability.NONE)
UPDATE = "HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)"


def test_c71_support_is_announced_in_ike_auth_by_both() -> None:
    pair = Pair().establish()

    assert "N(MOBIKE_SUPPORTED)" in pair.a.ladder[1]
    assert "SAi2" in pair.a.ladder[1]
    assert "N(MOBIKE_SUPPORTED)" in pair.b.ladder[1]
    assert pair.a.last(IkeSaUp).mobike
    assert pair.b.last(IkeSaUp).mobike


@pytest.mark.parametrize("side", ["a", "b"])
def test_c71_one_side_alone_has_no_mobike(side: str) -> None:
    a = replace(CONNECTION_A, mobike=side == "b")
    b = replace(CONNECTION_B, mobike=side == "a")
    pair = Pair(a, b).establish()

    assert not pair.a.last(IkeSaUp).mobike
    assert not pair.b.last(IkeSaUp).mobike
    assert "N(MOBIKE_SUPPORTED)" not in pair.b.ladder[1]


def test_c72_ike_auth_goes_to_4500_even_without_a_nat() -> None:
    pair = Pair().establish()

    assert [s.datagram.src[1] for s in pair.sent] == [500, 500, 4500, 4500]
    assert (pair.b.last(IkeSaUp).local, pair.b.last(IkeSaUp).remote) == ((B, 4500), (A, 4500))
    assert not pair.a.last(ChildSaUp).encap


def test_c73_other_addresses_are_announced_and_each_announcement_replaces_the_last() -> None:
    pair = Pair()
    pair.set_addresses(pair.b, [B, WAN2, V6])
    pair.establish()
    (sa,) = pair.a.endpoint._ctx.sas.values()
    assert pair.b.ladder[-1].endswith("N(ADDITIONAL_IP4_ADDRESS), N(ADDITIONAL_IP6_ADDRESS)}")
    assert list(sa.peer_addresses) == [WAN2, V6]

    pair.set_addresses(pair.b, [B, V6])
    pair.settle()
    assert list(sa.peer_addresses) == [V6]
    pair.set_addresses(pair.b, [B])
    pair.settle()
    assert pair.b.ladder[-1] == "HDR, SK {N(NO_ADDITIONAL_ADDRESSES)}"
    assert list(sa.peer_addresses) == []


def test_c74_the_initiator_moves_and_says_so() -> None:
    pair = Pair(b=NO_PROOF).establish()
    spis = (set(pair.a.children), set(pair.b.children))
    pair.a_addr = CAFE
    moved_at = pair.now
    pair.settle()
    # a -> b  {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_*) x 2};  b -> a  {N(NAT_DETECTION_*) x 2}

    assert pair.a.ladder[-1].startswith(UPDATE)
    assert pair.b.ladder[-1] == "HDR, SK {N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}"
    assert pair.a.times(PathChanged) == [moved_at]  # its Child SAs at once
    assert pair.b.times(PathChanged) == [moved_at + LATENCY]
    assert pair.a.last(PathChanged).local == pair.b.last(PathChanged).remote == (CAFE, 4500)
    assert (set(pair.a.children), set(pair.b.children)) == spis
    assert pair.a.last(PathChanged).spis_in == tuple(spis[0])


def test_c74_a_newer_change_restarts_the_update_and_the_old_response_is_ignored() -> None:
    pair = Pair(b=NO_PROOF, a_addr=HOME)
    NatBox(pair)
    pair.establish()
    pair.a_addr = LTE
    pair.drive(LATENCY + 1)  # the first update has arrived, its response is under way
    pair.a_addr = CAFE
    pair.drive()
    # a -> b  UPDATE from LTE;  b -> a  response;  a -> b  the same UPDATE from CAFE;  then  UPDATE for CAFE

    updates = [s for s in pair.sent if s.side == "a" and s.at > 0][-3:]
    assert updates[0].datagram.data == updates[1].datagram.data != updates[2].datagram.data
    assert [s.datagram.src[0] for s in updates] == [LTE, CAFE, CAFE]
    assert pair.b.last(PathChanged).remote[0] == NAT
    assert len(pair.b.children) == 1
    assert pair.a.endpoint.sas[0].state == pair.b.endpoint.sas[0].state == "established"


def test_c74_the_stale_response_is_no_evidence_of_a_nat() -> None:
    """Its hashes are of the address before; only the update for the present address counts."""
    pair = Pair(b=NO_PROOF).establish()
    pair.a_addr = CAFE
    pair.drive(LATENCY + 1)
    pair.a_addr = TRAIN
    pair.drive()

    assert pair.b.last(PathChanged).remote == (TRAIN, 4500)
    assert [(event.local[0], event.encap, event.nat_local) for event in pair.a.all(PathChanged)] == [
        (CAFE, False, False),
        (TRAIN, False, False),
    ]


@pytest.mark.parametrize("address", [B, bytes(4), pack_address("224.0.0.1")])
def test_c74_unacceptable_addresses_are_refused_and_the_old_ones_kept(address: bytes) -> None:
    pair = Pair(b=NO_PROOF).establish()
    pair.rewrite = lambda d: (
        replace(d, src=(address, 4500)) if d.src[0] == CAFE else replace(d, dst=(CAFE, 4500))
    )
    pair.set_addresses(pair.a, [CAFE, A])
    pair.drive(100 * NS_PER_MS)

    assert "HDR, SK {N(UNACCEPTABLE_ADDRESSES)}" in pair.b.ladder
    assert pair.b.endpoint.sas[0].remote == (A, 4500)
    assert not pair.b.all(PathChanged)
    assert pair.a.last(PathChanged).local == (A, 4500)


def test_c74_unacceptable_addresses_end_an_sa_that_cannot_go_back() -> None:
    pair = Pair(b=NO_PROOF).establish()
    pair.rewrite = lambda d: replace(d, src=(B, 4500)) if d.src[0] == CAFE else replace(d, dst=(CAFE, 4500))
    pair.a_addr = CAFE
    pair.drive(100 * NS_PER_MS)

    assert pair.a.last(IkeSaDown).reason is Reason.UNACCEPTABLE_ADDRESSES


def test_c75_the_route_is_proved_before_the_child_sas_move() -> None:
    """One more round trip: the gap that golden 2.8 gives for it."""
    pair = Pair().establish()
    pair.a_addr = CAFE
    moved_at = pair.now
    pair.settle()
    # a -> b  UPDATE_SA_ADDRESSES;  b -> a  response, {N(COOKIE2)};  a -> b  {N(COOKIE2)}

    assert pair.b.ladder[-1] == "HDR, SK {N(COOKIE2)}"
    assert pair.a.ladder[-1] == "HDR, SK {N(COOKIE2)}"
    assert pair.b.times(PathChanged) == [moved_at + 3 * LATENCY]
    assert pair.b.last(PathChanged).remote == (CAFE, 4500)
    assert pair.b.endpoint.sas[0].remote == (CAFE, 4500)


def test_c75_a_port_that_changes_needs_no_new_proof() -> None:
    """strongswan#1967: a port-only update keeps the SA and its counters."""
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S), a_addr=HOME)
    nat = NatBox(pair)
    pair.establish()
    pair.drive(15 * NS_PER_S)
    nat.rebind()
    pair.drive(10 * NS_PER_S)

    assert "HDR, SK {N(COOKIE2)}" not in pair.b.ladder
    assert pair.b.last(PathChanged).remote == (NAT, 40002)


def test_c75_outstanding_requests_are_repeated_from_the_new_address() -> None:
    pair = Pair(b=NO_PROOF).establish()
    pair.drop(1)
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    lost = pair.sent[-1].datagram
    pair.a_addr = CAFE
    again = pair.sent[-1]
    assert (again.datagram.data, again.datagram.src) == (lost.data, (CAFE, 4500))
    assert again.at == pair.now
    pair.settle()

    assert pair.a.ladder[-1].startswith(UPDATE)
    assert pair.b.last(PathChanged).remote == (CAFE, 4500)


def test_c75_encapsulation_is_switched_on_and_off() -> None:
    """plain -> NAT -> plain, as in strongSwan's mobike scenarios."""
    pair = Pair(b=NO_PROOF).establish()
    nat = NatBox(pair)
    nat_on = nat

    def only_home(datagram):  # type: ignore[no-untyped-def]
        outside = datagram.src[0] not in (HOME, B) or (datagram.src[0] == B and datagram.dst[0] != NAT)
        return datagram if outside else nat_on(datagram)

    pair.rewrite = only_home
    pair.a_addr = HOME
    assert pair.a.last(PathChanged).encap  # a private address: a NAT is likely (RFC 4555 3.5)
    pair.settle()
    a, b = pair.a.last(PathChanged), pair.b.last(PathChanged)
    assert (a.encap, a.nat_local, b.encap, b.nat_remote) == (True, True, True, True)

    pair.a_addr = CAFE
    pair.settle()
    a, b = pair.a.last(PathChanged), pair.b.last(PathChanged)
    assert (a.encap, a.nat_local, b.encap, b.nat_remote) == (False, False, False, False)
    pair.drive(60 * NS_PER_S)
    assert not [s for s in pair.sent if s.datagram.data == b"\xff"]


def test_c75_a_lost_update_starts_again_by_the_schedule() -> None:
    """Golden 2.8: if the first k requests are lost the exchange starts 4, 11.2, 24.2 s later."""
    for lost, at in ((0, 0), (1, 4), (2, 11.2), (3, 24.16)):
        pair = Pair(b=NO_PROOF).establish()
        pair.drop(lost)
        pair.a_addr = CAFE
        moved_at = pair.now
        pair.drive(40 * NS_PER_S)
        assert pair.b.times(PathChanged) == [moved_at + round(at * NS_PER_S) + LATENCY]


def test_c75_a_responder_moves_alone_only_if_its_address_dies() -> None:
    pair = Pair()
    pair.set_addresses(pair.b, [B, WAN2])
    pair.establish()
    pair.set_addresses(pair.b, [WAN2, B])  # a preference alone moves nothing
    pair.settle()
    assert not pair.b.all(PathChanged)

    pair.set_addresses(pair.b, [WAN2])
    pair.drive()
    assert pair.b.last(PathChanged).local == (WAN2, 4500)
    assert pair.a.last(PathChanged).remote == (WAN2, 4500)
    assert pair.a.ladder[-1].startswith(UPDATE) or "N(UPDATE_SA_ADDRESSES)" in " ".join(pair.a.ladder)


def test_c76_a_cookie2_is_echoed_verbatim() -> None:
    pair = Pair().establish()
    pair.a_addr = CAFE
    pair.settle()

    assert pair.a.ladder[-1] == pair.b.ladder[-1] == "HDR, SK {N(COOKIE2)}"
    assert pair.b.endpoint.sas[0].state == "established"


def test_c76_a_wrong_cookie2_closes_the_ike_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    _mangle_cookies(monkeypatch)
    pair = Pair().establish()
    pair.a_addr = CAFE
    pair.settle()

    assert pair.b.last(IkeSaDown).reason is Reason.COOKIE2_MISMATCH
    assert pair.b.all(PathChanged) == []
    assert pair.a.last(IkeSaDown).reason is Reason.DELETED_BY_PEER


def test_c76_a_cookie_that_went_to_several_addresses_proves_none() -> None:
    pair = Pair().establish()
    pair.a_addr = CAFE
    pair.drop(1, "b", after=1)
    pair.drive(2 * LATENCY + 1)  # the response came, the COOKIE2 request was lost
    pair.a_addr = LTE
    pair.drive(20 * NS_PER_S)

    proofs = [s for s in pair.sent if s.side == "b" and s.at > 0]
    cookies = [e for e in pair.b.all(MessageSent) if e.payloads == "HDR, SK {N(COOKIE2)}" and not e.response]
    assert [e.dst[0] for e in cookies] == [CAFE, LTE, LTE]
    assert [e.retransmission for e in cookies] == [0, 1, 0]
    assert pair.b.last(PathChanged).remote == (LTE, 4500)
    assert proofs


def test_c77_liveness_checks_notice_a_new_mapping() -> None:
    """The NAT reboots, the check sees another hash of our address, an update follows."""
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S), a_addr=HOME)
    nat = NatBox(pair)
    pair.establish()
    pair.drive(15 * NS_PER_S)
    check = "HDR, SK {N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}"
    assert pair.a.ladder[-1] == pair.b.ladder[-1] == check
    nat.rebind()
    pair.drive(10 * NS_PER_S)

    assert pair.a.ladder[-1].startswith(UPDATE)
    assert pair.b.endpoint.sas[0].remote == (NAT, 40002)
    assert {c.remote for c in pair.b.children.values()} == {(NAT, 40002)}


def test_c77_the_first_mapping_is_asked_for_before_it_can_change() -> None:
    """Packets keep coming until the NAT reboots, so no silence has caused a check before."""
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S), a_addr=HOME)
    nat = NatBox(pair)
    pair.establish()
    pair.drive(NS_PER_S)
    nat.rebind()
    pair.drive(15 * NS_PER_S)

    assert pair.a.ladder[-1].startswith(UPDATE)
    assert {c.remote for c in pair.b.children.values()} == {(NAT, 40002)}


def test_c77_esp_does_not_stand_in_for_a_check_of_the_mapping() -> None:
    """The peer's ESP follows the new mapping: its IKE learns of that by the check alone (RFC 4555 3.8)."""
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S), a_addr=HOME)
    nat = NatBox(pair)
    pair.establish()
    (spi_a,), (spi_b,) = pair.a.children, pair.b.children
    use = pair.a.uses[spi_a] = Used()
    pair.drive(NS_PER_S)
    nat.rebind()
    for _ in range(20):
        pair.drive(NS_PER_S)
        use.last_in_at = use.last_out_at = pair.now
        pair.command(pair.b, lambda end: end.esp_peer_moved(spi_b, (NAT, 40002), pair.now))
    pair.command(pair.b, lambda end: end.check_liveness(1, pair.now))
    pair.drive(NS_PER_S)

    assert pair.b.endpoint.sas[0].remote == (NAT, 40002)
    assert pair.b.endpoint.sas[0].retransmits == 0


def test_c77_without_a_nat_esp_is_a_sign_of_life() -> None:
    pair = Pair(replace(CONNECTION_A, dpd_delay=10 * NS_PER_S)).establish()
    (spi,) = pair.a.children
    use = pair.a.uses[spi] = Used()
    sent = len(pair.a.ladder)
    for _ in range(30):
        pair.drive(NS_PER_S)
        use.last_in_at = pair.now
    assert len(pair.a.ladder) == sent


def test_c78_an_ike_message_from_elsewhere_does_not_move_the_peer() -> None:
    """A path can be tried without moving anything."""
    pair = Pair(a_addr=HOME)
    nat = NatBox(pair)
    pair.establish()
    nat.rebind()
    pair.command(pair.a, lambda end: end.check_liveness(1, pair.now))
    pair.settle()

    assert not pair.b.all(PathChanged)
    assert pair.b.endpoint.sas[0].remote == (NAT, 40001)
    assert pair.sent[-1].datagram.dst == (NAT, 40002)  # but the answer goes there


def test_c78_esp_from_elsewhere_moves_esp_and_not_ike() -> None:
    pair = Pair(a_addr=HOME)
    NatBox(pair)
    pair.establish()
    (spi,) = pair.b.children
    pair.command(pair.b, lambda end: end.esp_peer_moved(spi, (NAT, 61000), pair.now))

    assert pair.b.last(PathChanged).remote == (NAT, 61000)
    assert pair.b.last(PathChanged).ike_remote == (NAT, 40001)
    assert pair.b.endpoint.sas[0].remote == (NAT, 40001)
    pair.command(pair.b, lambda end: end.esp_peer_moved(spi, (NAT, 61000), pair.now))
    assert len(pair.b.all(PathChanged)) == 1


def test_break_before_make_updates_once_there_is_an_address_again() -> None:
    pair = Pair(b=NO_PROOF).establish()
    pair.set_addresses(pair.a, [])
    pair.drive(NS_PER_S)
    assert not pair.a.all(PathChanged)

    pair.a_addr = LTE
    pair.settle()
    assert pair.b.last(PathChanged).remote == (LTE, 4500)


def test_make_before_break_follows_the_preferred_address() -> None:
    pair = Pair(b=NO_PROOF).establish()
    pair.set_addresses(pair.a, [CAFE, A])
    pair.settle()
    assert pair.b.last(PathChanged).remote == (CAFE, 4500)

    pair.set_addresses(pair.a, [CAFE])
    pair.settle()
    assert len(pair.a.all(PathChanged)) == 1
    assert pair.a.ladder[-1] == "HDR, SK {N(NO_ADDITIONAL_ADDRESSES)}"


def test_an_address_that_changes_before_ike_auth_is_used_at_once() -> None:
    pair = Pair()
    pair.drop(1)
    pair.initiate()
    pair.a_addr = CAFE
    pair.settle()

    assert pair.up
    assert pair.b.last(IkeSaUp).remote == (CAFE, 4500)


def test_a_replayed_update_changes_nothing() -> None:
    pair = Pair(b=NO_PROOF).establish()
    pair.a_addr = CAFE
    pair.settle()
    update = [s.datagram for s in pair.sent if s.side == "a"][-1]
    pair.a_addr = LTE
    pair.settle()
    pair.inject(pair.b, update.data, update.src, update.dst)

    assert pair.b.last(PathChanged).remote == (LTE, 4500)
    assert pair.b.endpoint.sas[0].remote == (LTE, 4500)


def test_c75_a_responder_with_a_single_address_tells_the_next_one() -> None:
    """It has no others to announce: NO_ADDITIONAL_ADDRESSES, from where it is now (RFC 4555 3.5, 3.6)."""
    pair = Pair().establish()
    pair.set_addresses(pair.b, [WAN2])
    pair.settle()

    assert "HDR, SK {N(NO_ADDITIONAL_ADDRESSES)}" in pair.b.ladder
    assert pair.a.last(PathChanged).remote == pair.b.last(PathChanged).local == (WAN2, 4500)


@pytest.mark.parametrize("rekeyed_by", ["a", "b"])
def test_c74_the_initiator_of_the_first_ike_sa_decides_whoever_rekeys(rekeyed_by: str) -> None:
    """Rekeying swaps the roles of the IKE SA, not those of MOBIKE (RFC 4555 3.1)."""
    pair = Pair().establish()
    rekey_ike(pair, getattr(pair, rekeyed_by))
    pair.settle()
    pair.a_addr = CAFE
    pair.settle()

    assert pair.a.ladder[-2].startswith(UPDATE)
    assert pair.b.last(PathChanged).remote == (CAFE, 4500)


def test_c74_an_update_that_the_rekeying_of_the_ike_sa_overtakes_is_said_again() -> None:
    """The request is lost and its IKE SA replaced: the responder is told in the new one."""
    pair = Pair().establish()
    pair.drop(1, "a")
    pair.set_addresses(pair.a, [CAFE, A])
    rekey_ike(pair, pair.b)
    pair.settle()

    assert pair.b.last(PathChanged).remote == (CAFE, 4500)


@pytest.mark.parametrize("side", ["a", "b"])
def test_c75_a_delete_follows_a_side_that_moves_meanwhile(side: str) -> None:
    """Who deletes moves, or its peer does: the Delete is repeated from there, or to there."""
    pair = Pair().establish()
    pair.drop(1, "a")
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    if side == "a":
        pair.a_addr = CAFE
    else:
        pair.set_addresses(pair.b, [WAN2])
    pair.settle()

    assert pair.b.last(IkeSaDown).reason is Reason.DELETED_BY_PEER


@pytest.mark.parametrize("other", [LAN_B, WAN2])
def test_c75_a_responder_uses_no_address_that_cannot_reach_its_peer(other: bytes) -> None:
    """One inside the network that it protects, and one that leads nowhere: it waits for the old one."""
    pair = Pair()
    pair.b.dead_ends = {WAN2}
    pair.set_addresses(pair.b, [B, other])
    pair.establish()
    sent = len(pair.b.ladder)
    pair.set_addresses(pair.b, [other])
    pair.drive()
    pair.set_addresses(pair.b, [B, other])
    pair.drive()

    assert "ADDITIONAL" not in " ".join(pair.b.ladder), "nor does it announce such an address (3.4)"
    assert len(pair.b.ladder) == sent
    assert not pair.a.all(PathChanged) + pair.b.all(PathChanged)
    pair.a_addr = CAFE
    pair.settle()
    assert pair.b.last(PathChanged).remote == (CAFE, 4500)


def test_c75_an_initiator_uses_no_address_that_cannot_reach_its_peer() -> None:
    pair = Pair()
    pair.a.dead_ends = {CAFE}
    pair.set_addresses(pair.a, [A, CAFE])
    pair.establish()
    pair.set_addresses(pair.a, [CAFE])
    pair.drive()
    assert not pair.a.all(PathChanged)
    pair.set_addresses(pair.a, [CAFE, LTE])
    pair.settle()
    assert pair.a.last(PathChanged).local == (LTE, 4500)


def test_a_connection_waits_for_an_address_that_leads_to_its_peer() -> None:
    pair = Pair()
    pair.a.dead_ends = {CAFE}
    pair.set_addresses(pair.a, [CAFE])
    pair.initiate()
    pair.settle()
    assert not pair.sent
    assert pair.a.endpoint.waiting == {"rw"}
    pair.set_addresses(pair.a, [CAFE, A])
    pair.settle()
    assert pair.a.last(IkeSaUp).local[0] == A


def test_c74_an_initiator_does_not_follow_its_peer_into_the_network_behind_it() -> None:
    """The peer protects less, and takes its address there for one outside; for us that is inside."""
    narrow = replace(NET_B, local_ts=(Selector.from_prefix("10.2.3.0/24"),))
    pair = Pair(b=replace(CONNECTION_B, children=(narrow,)))
    pair.set_addresses(pair.b, [B, LAN_B])
    pair.establish()
    pair.set_addresses(pair.b, [LAN_B])
    pair.drive()
    assert pair.b.last(PathChanged).local[0] == LAN_B
    assert not pair.a.all(PathChanged)
    pair.set_addresses(pair.a, [CAFE, A])
    pair.settle()
    assert pair.a.last(PathChanged).remote[0] == B


def test_a_tunnel_for_everything_leaves_all_addresses_to_choose_from() -> None:
    """The peer is inside the selector where it is: so it may be elsewhere, too."""
    everything = (Selector.from_prefix("0.0.0.0/0"),)
    (a,), (b,) = CONNECTION_A.children, CONNECTION_B.children
    pair = Pair(
        replace(CONNECTION_A, children=(replace(a, remote_ts=everything),)),
        replace(CONNECTION_B, children=(replace(b, local_ts=everything),)),
    )
    pair.set_addresses(pair.b, [B, WAN2])
    pair.establish()
    pair.set_addresses(pair.b, [WAN2])
    pair.drive()
    assert pair.a.last(PathChanged).remote[0] == WAN2


AFTER = replace(CONNECTION_B, return_routability=ReturnRoutability.AFTER)


def test_c75_the_proof_may_be_postponed() -> None:
    """No packet waits for it (RFC 4555 3.7), and one round trip is saved."""
    pair = Pair(b=AFTER).establish()
    pair.a_addr = CAFE
    moved_at = pair.now
    pair.settle()
    # a -> b  UPDATE_SA_ADDRESSES, and the Child SAs move;  b -> a  response, {N(COOKIE2)}

    assert pair.b.times(PathChanged) == [moved_at + LATENCY]
    assert pair.a.ladder[-1] == pair.b.ladder[-1] == "HDR, SK {N(COOKIE2)}"
    (sa,) = pair.b.endpoint._ctx.sas.values()
    assert sa.path.proven == CAFE
    pair.a_addr = TRAIN
    pair.settle()
    assert pair.b.last(PathChanged).remote == (TRAIN, 4500)


def test_c76_a_wrong_cookie2_closes_the_ike_sa_after_the_move_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _mangle_cookies(monkeypatch)
    pair = Pair(b=AFTER).establish()
    pair.a_addr = CAFE
    pair.settle()

    assert pair.b.last(IkeSaDown).reason is Reason.COOKIE2_MISMATCH
    assert pair.b.last(PathChanged).remote == (CAFE, 4500), "packets went there meanwhile"
    assert not pair.b.children
    assert pair.a.last(IkeSaDown).reason is Reason.DELETED_BY_PEER


@pytest.mark.parametrize("size", [0, 7, 8, 64, 65])
def test_c76_cookies_from_8_to_64_octets_are_echoed(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any other size none is (RFC 4555 4.2.5), and no route is proved."""
    monkeypatch.setattr(mobike, "_COOKIE2_BYTES", size)
    pair = Pair().establish()
    pair.a_addr = CAFE
    pair.settle()

    assert ("HDR, SK {N(COOKIE2)}" in pair.a.ladder) is (size in (8, 64))
    assert bool(pair.b.all(PathChanged)) is (size in (8, 64))


def test_c74_the_responder_heeds_the_order_of_updates_that_overtake_each_other() -> None:
    """With a window of more than one the older one may come later: it changes nothing (RFC 4555 3.5)."""
    pair = Pair(replace(CONNECTION_A, window=4), replace(NO_PROOF, window=4)).establish()
    pair.delay(5 * LATENCY, "a")
    pair.set_addresses(pair.a, [CAFE, A])
    pair.delay(6 * LATENCY, "a")  # the older one, again from the newer address
    pair.set_addresses(pair.a, [TRAIN, CAFE, A])
    pair.drive(NS_PER_S)

    updates = [e for e in pair.a.all(MessageSent) if e.payloads.startswith(UPDATE)]
    assert len({e.message_id for e in updates}) == 2
    assert [event.remote[0] for event in pair.b.all(PathChanged)] == [TRAIN]
    assert pair.a.endpoint.sas[0].local == pair.b.endpoint.sas[0].remote == (TRAIN, 4500)


def test_c73_the_order_of_announcements_counts_as_well() -> None:
    """Each replaces the one before, not the one that arrived before (RFC 4555 3.6)."""
    pair = Pair(replace(CONNECTION_A, window=4), replace(CONNECTION_B, window=4))
    pair.establish()
    pair.delay(5 * LATENCY, "b")
    pair.set_addresses(pair.b, [B, WAN2])
    pair.set_addresses(pair.b, [B, V6])
    pair.settle()

    announcements = [e for e in pair.b.all(MessageSent) if "ADDITIONAL_IP" in e.payloads]
    assert [e.payloads for e in announcements[-2:]] == [
        "HDR, SK {N(ADDITIONAL_IP4_ADDRESS)}",
        "HDR, SK {N(ADDITIONAL_IP6_ADDRESS)}",
    ]
    (sa,) = pair.a.endpoint._ctx.sas.values()
    assert list(sa.peer_addresses) == [V6]


TRANSPORT_A = replace(NET_A, mode=Mode.TRANSPORT, local_ts=(), remote_ts=())
TRANSPORT_B = replace(NET_B, mode=Mode.TRANSPORT, local_ts=(), remote_ts=())


def test_c81_a_transport_mode_sa_does_not_move_and_is_replaced() -> None:
    """It is for two addresses: the tunnel moves, for the other there is a new one (RFC 4555 1.2)."""
    tunnel_a, tunnel_b = replace(NET2_A), replace(NET2_B)
    pair = Pair(
        replace(CONNECTION_A, children=(TRANSPORT_A, tunnel_a)),
        replace(NO_PROOF, children=(TRANSPORT_B, tunnel_b)),
    ).establish_with(None)
    before = {up.child: up for up in pair.a.children.values()}
    pair.a_addr = CAFE
    pair.settle()
    pair.drive(10 * NS_PER_S)
    # a -> b  UPDATE;  CREATE_CHILD_SA with the new address in TSi;  {D} for the old one

    after = {up.child: up for up in pair.a.children.values()}
    assert after["net2"].spi_in == before["net2"].spi_in
    assert after["net2"].local == (CAFE, 4500)
    assert after["net"].spi_in != before["net"].spi_in
    assert after["net"].mode is Mode.TRANSPORT
    assert after["net"].local_ts == (Selector.host(CAFE),)
    assert before["net"].spi_in not in pair.a.last(PathChanged).spis_in
    assert before["net"].spi_out not in pair.b.last(PathChanged).spis_in
    (down,) = [event for event in pair.a.all(ChildSaDown) if event.spi_in == before["net"].spi_in]
    assert down.reason is Reason.MOVED
    check_calm(pair)


def test_c81_one_that_is_configured_for_the_old_address_ends() -> None:
    own = (Selector.host(A),)
    pair = Pair(
        replace(CONNECTION_A, children=(replace(TRANSPORT_A, local_ts=own),)),
        replace(NO_PROOF, children=(replace(TRANSPORT_B, remote_ts=own),)),
    ).establish()
    pair.a_addr = CAFE
    pair.settle()
    pair.drive(10 * NS_PER_S)

    assert not pair.a.children
    assert not pair.b.children
    assert "does not move with its IKE SA" in pair.a.last(ChildSaDown).text
    assert pair.a.endpoint.sas[0].state == "established"


def test_c81_a_nat_s_new_port_is_no_move() -> None:
    """Transport mode through a NAT goes on with the port that it has now."""
    pair = Pair(
        replace(CONNECTION_A, children=(TRANSPORT_A,), dpd_delay=10 * NS_PER_S),
        replace(NO_PROOF, children=(TRANSPORT_B,)),
        a_addr=HOME,
    )
    nat = NatBox(pair)
    pair.establish()
    (spi,) = pair.b.children
    pair.drive(15 * NS_PER_S)
    nat.rebind()
    pair.drive(10 * NS_PER_S)

    assert pair.b.children[spi].remote == (NAT, 40002)
    assert pair.b.children[spi].mode is Mode.TRANSPORT


def test_c81_one_follows_a_responder_that_changes_its_address() -> None:
    pair = Pair(
        replace(CONNECTION_A, children=(TRANSPORT_A,)), replace(NO_PROOF, children=(TRANSPORT_B,))
    ).establish()
    pair.set_addresses(pair.b, [WAN2])
    pair.settle()
    pair.drive(10 * NS_PER_S)

    (up,) = pair.a.children.values()
    assert up.remote_ts == (Selector.host(WAN2),)
    assert pair.b.children[up.spi_out].local_ts == (Selector.host(WAN2),)


def _mangle_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    build = mobike.RespondMobike.build

    def mangle(self, sa, out, now):  # type: ignore[no-untyped-def]
        build(self, sa, out, now)
        out.payloads = [replace(p, data=p.data[::-1]) if p.type == 16401 else p for p in out.payloads]

    monkeypatch.setattr(mobike.RespondMobike, "build", mangle)
