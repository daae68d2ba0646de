"""Path tests over all pairs of addresses, and how long either side tries (RFC 4555 3.10 to 3.12)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import RETRANSMIT, ReturnRoutability
from sim.ike.context import Datagram
from sim.ike.events import IkeSaDown, MessageSent, PathChanged, Reason
from sim.ike.path_test import MAX_PAIRS
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, LATENCY, NAT, A, B, NatBox, Pair, Used
from tests.ike.test_rekey_child import rekey, rekey_ike

CAFE, WAN2 = pack_address("192.0.2.77"), pack_address("198.51.100.2")
A6, B6 = pack_address("2001:db8:a::1"), pack_address("2001:db8:b::1")
NO_PROOF = replace(CONNECTION_B, return_routability=ReturnRoutability.NONE)
DPD = 10 * NS_PER_S
WATCHFUL = replace(CONNECTION_A, dpd_delay=DPD)
TESTED_AT = 4 * NS_PER_S + round(7.2 * NS_PER_S)
"""After a request: the first two copies are lost, by strongSwan's schedule."""
UPDATE = "HDR, SK {N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)"


class Broken:
    """Nothing passes between certain pairs of addresses, in either direction, and nobody is told."""

    def __init__(self, pair: Pair, *paths: tuple[bytes, bytes]) -> None:
        self.paths = set(paths)
        pair.rewrite = self

    def __call__(self, datagram: Datagram) -> Datagram | None:
        ends = datagram.src[0], datagram.dst[0]
        return None if self.paths & {ends, ends[::-1]} else datagram


def multihomed(a: list[bytes], b: list[bytes]) -> Pair:
    """Both ends with these addresses, and the tunnel between the first ones."""
    pair = Pair(WATCHFUL, NO_PROOF)
    pair.set_addresses(pair.a, a)
    pair.set_addresses(pair.b, b)
    return pair.establish()


def test_c80_the_gateway_s_first_address_dies_and_the_second_is_found() -> None:
    """Detection is the liveness check and its repetitions; two round trips later all is moved."""
    pair = multihomed([A], [B, WAN2])
    broken_at = pair.now
    Broken(pair, (A, B))
    pair.drive(30 * NS_PER_S)
    # a -> b  {N(NAT_DETECTION_*) x 2}, three times, the third also to WAN2;  b -> a  response from there
    # a -> b  UPDATE_SA_ADDRESSES to WAN2

    tested_at = broken_at + DPD + TESTED_AT
    assert next(s.at for s in pair.sent if s.datagram.dst[0] == WAN2) == tested_at
    assert pair.a.times(PathChanged) == [tested_at + 2 * LATENCY]
    assert pair.b.times(PathChanged) == [tested_at + 3 * LATENCY]
    assert pair.a.last(PathChanged).remote == pair.b.last(PathChanged).local == (WAN2, 4500)
    assert any(payloads.startswith(UPDATE) for payloads in pair.a.ladder)
    assert len(pair.a.children) == 1


def test_c80_messages_come_in_strongswan_s_order() -> None:
    """Probe, UPDATE_SA_ADDRESSES with NAT detection, COOKIE2 (golden 2.8)."""
    pair = Pair(WATCHFUL)
    pair.set_addresses(pair.a, [A, CAFE])
    pair.establish()
    Broken(pair, (A, B))
    said = len(pair.a.ladder), len(pair.b.ladder)
    pair.drive(DPD + TESTED_AT + NS_PER_S)

    natd = "N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)"
    probe, cookie = f"HDR, SK {{{natd}}}", "HDR, SK {N(COOKIE2)}"
    # Three times from the first address, and once from the second.
    update = f"HDR, SK {{N(UPDATE_SA_ADDRESSES), {natd}, N(ADDITIONAL_IP4_ADDRESS)}}"
    assert pair.a.ladder[said[0] :] == [probe] * 4 + [update, cookie]
    assert pair.b.ladder[said[1] :] == [probe, probe, cookie]


def test_c80_and_back_again_when_that_one_dies() -> None:
    """The first address is no additional one, but it is known."""
    pair = multihomed([A], [B, WAN2])
    path = Broken(pair, (A, B))
    pair.drive(30 * NS_PER_S)
    path.paths = {(A, WAN2)}
    pair.drive(40 * NS_PER_S)

    assert pair.a.last(PathChanged).remote == pair.b.last(PathChanged).local == (B, 4500)


@pytest.mark.parametrize("works", [(A, WAN2), (CAFE, B), (CAFE, WAN2), (A6, B6)])
def test_c80_every_pair_is_tried_whatever_the_family(works: tuple[bytes, bytes]) -> None:
    """Several interfaces, IPv4 and IPv6: only one pair works."""
    pair = multihomed([A, CAFE, A6], [B, WAN2, B6])
    pairs = {(A, B), (A, WAN2), (CAFE, B), (CAFE, WAN2), (A6, B6)}
    Broken(pair, *(pairs - {works}))
    pair.drive(30 * NS_PER_S)

    tried = {(s.datagram.src[0], s.datagram.dst[0]) for s in pair.sent if s.side == "a"}
    assert tried == pairs, "and none of two families"
    for end, ends in ((pair.a, works), (pair.b, works[::-1])):
        last = end.last(PathChanged)
        assert (last.local[0], last.remote[0]) == ends
        assert end.endpoint.sas[0].state == "established"


def test_c80_from_ipv4_to_ipv6_and_back() -> None:
    """The addresses that the gateway has announced are all that is needed (RFC 4555 3.4)."""
    pair = multihomed([A, A6], [B, B6])
    pair.set_addresses(pair.a, [A6])
    pair.settle()
    assert pair.b.last(PathChanged).remote == (A6, 4500)
    assert pair.b.last(PathChanged).local == (B6, 4500)
    pair.set_addresses(pair.a, [A])
    pair.settle()
    assert pair.a.last(PathChanged).remote == pair.b.last(PathChanged).local == (B, 4500)
    assert pair.b.last(PathChanged).remote == (A, 4500)


def test_c80_one_lost_message_is_no_broken_path() -> None:
    pair = multihomed([A, CAFE], [B, WAN2])
    pair.drop(1, "a")
    pair.drive(20 * NS_PER_S)

    assert pair.a.endpoint.sas[0].retransmits == 1
    assert not pair.a.all(PathChanged)


@pytest.mark.parametrize("act", [rekey, rekey_ike], ids=["child", "ike"])
def test_c80_a_rekeying_in_the_way_is_the_test(act: object) -> None:
    """Whatever request is not answered finds the path, and its exchange is finished over it."""
    pair = multihomed([A, CAFE], [B, WAN2])
    Broken(pair, (A, B), (CAFE, B), (CAFE, WAN2))
    act(pair, pair.a)  # type: ignore[operator]
    pair.drive(30 * NS_PER_S)

    assert pair.a.last(PathChanged).remote == pair.b.last(PathChanged).local == (WAN2, 4500)
    assert len(pair.a.children) == len(pair.b.children) == 1
    assert [sa.remote for sa in pair.a.endpoint.sas] == [(WAN2, 4500)]
    assert [sa.local for sa in pair.b.endpoint.sas] == [(WAN2, 4500)]


def test_c80_an_update_that_meets_a_broken_path_is_made_anew_on_a_working_one() -> None:
    """The responder may have taken any copy: what it said is void (RFC 4555 3.5)."""
    pair = multihomed([A], [B, WAN2])
    Broken(pair, (CAFE, B))
    pair.set_addresses(pair.a, [CAFE])
    pair.drive(20 * NS_PER_S)

    updates = [e for e in pair.a.all(MessageSent) if e.payloads.startswith(UPDATE)]
    assert {e.message_id for e in updates} == {updates[0].message_id, updates[0].message_id + 1}
    assert updates[-1].dst == (WAN2, 4500)
    assert pair.b.last(PathChanged).remote == (CAFE, 4500)
    assert pair.b.last(PathChanged).local == pair.a.last(PathChanged).remote == (WAN2, 4500)


def test_c80_a_gateway_behind_a_nat_is_found_by_its_configured_addresses() -> None:
    """It cannot announce the addresses outside."""
    outside = pack_address("203.0.113.20"), pack_address("203.0.113.21")
    pair = Pair(replace(WATCHFUL, remote_addrs=outside), NO_PROOF)
    dead: set[bytes] = set()
    seen: dict[bytes, bytes] = {}

    def forwards(d: Datagram) -> Datagram | None:
        if d.dst[0] in outside:
            seen[d.src[0]] = d.dst[0]
            return None if d.dst[0] in dead else replace(d, dst=(B, d.dst[1]))
        if d.src[0] == B:
            return replace(d, src=(seen[d.dst[0]], d.src[1]))
        return d

    pair.rewrite = forwards
    pair.establish()
    dead.add(outside[0])
    pair.drive(30 * NS_PER_S)

    assert pair.a.last(PathChanged).remote == (outside[1], 4500)
    assert pair.a.last(PathChanged).nat_remote
    assert pair.b.endpoint.sas[0].nat_local


def test_c80_what_answers_from_elsewhere_moves_nothing() -> None:
    """Only a pair that was tried counts: whoever is on the way could change addresses."""
    pair = multihomed([A], [B, WAN2])
    path = Broken(pair, (A, B), (A, WAN2))
    pair.drive(DPD + TESTED_AT + NS_PER_S)
    check = next(s.datagram for s in pair.sent if s.datagram.dst[0] == WAN2)
    path.paths = set()
    pair.inject(pair.b, check.data, check.src, check.dst)
    response = pair.sent[-1].datagram
    path.paths = {(A, B), (A, WAN2)}
    pair.inject(pair.a, response.data, (NAT, 4500), response.dst)

    assert not pair.a.all(PathChanged)


def test_c80_there_are_no_more_copies_than_a_bound() -> None:
    others = [pack_address(f"198.51.100.{n}") for n in range(2, 100)]
    pair = multihomed([A, CAFE], [B, *others])
    pair.rewrite = lambda datagram: None
    pair.drive(DPD + TESTED_AT)
    last = [s for s in pair.sent if s.side == "a" and s.at == pair.now]

    assert len(last) == MAX_PAIRS + 1


def test_c80_when_nothing_works_the_reason_says_what_was_tried() -> None:
    pair = multihomed([A, CAFE], [B, WAN2])
    pair.rewrite = lambda datagram: None
    pair.drive(200 * NS_PER_S)

    down = pair.a.last(IkeSaDown)
    assert down.reason is Reason.TIMEOUT
    assert down.text.endswith("sent 6 times, and by 3 other paths")


@pytest.mark.parametrize("preset", sorted(RETRANSMIT))
def test_c80_a_responder_goes_on_for_five_minutes(preset: str) -> None:
    """The initiator needs time to find another path (RFC 4555 3.11)."""
    policy = RETRANSMIT[preset]
    pair = Pair(replace(CONNECTION_A, retransmit=policy), replace(NO_PROOF, retransmit=policy)).establish()
    pair.rewrite = lambda datagram: None
    begun_at = pair.now
    pair.command(pair.b, lambda end: end.check_liveness(1, pair.now))
    pair.drive(299 * NS_PER_S)
    assert not pair.b.all(IkeSaDown)
    pair.drive(200 * NS_PER_S)

    (down_at,) = pair.b.times(IkeSaDown)
    assert 300 * NS_PER_S <= down_at - begun_at < 300 * NS_PER_S + policy.delays[-1]
    waits = [s.at - begun_at for s in pair.sent if s.side == "b" and s.at >= begun_at]
    assert waits[-1] + policy.delays[-1] == down_at - begun_at
    assert {s.datagram.dst[0] for s in pair.sent if s.side == "b"} == {A}, "and tries no other path"


def test_c80_without_mobike_a_responder_is_as_patient_as_an_initiator() -> None:
    pair = Pair(replace(CONNECTION_A, mobike=False)).establish()
    pair.rewrite = lambda datagram: None
    pair.command(pair.b, lambda end: end.check_liveness(1, pair.now))
    pair.drive(170 * NS_PER_S)

    assert pair.b.last(IkeSaDown).reason is Reason.TIMEOUT


def test_c80_a_responder_waits_for_the_answer_to_its_delete_no_longer_than_an_initiator() -> None:
    """What is down already has nothing left to move."""
    pair = Pair(b=NO_PROOF).establish()
    pair.rewrite = lambda datagram: None
    pair.command(pair.b, lambda end: end.delete(1, pair.now))
    assert [view.state for view in pair.b.endpoint.sas] == ["deleting"]
    pair.drive(sum(NO_PROOF.retransmit.delays) + NS_PER_S)

    assert [view.state for view in pair.b.endpoint.sas] == ["closed"]
    assert pair.b.last(IkeSaDown).reason is Reason.DELETED


def test_c80_a_responder_answers_after_four_minutes_of_silence() -> None:
    """Its own request has waited, and is answered when the initiator is there again."""
    pair = Pair(b=NO_PROOF).establish()
    pair.set_addresses(pair.a, [])
    pair.command(pair.b, lambda end: end.check_liveness(1, pair.now))
    pair.drive(240 * NS_PER_S)
    pair.a_addr = CAFE
    pair.drive(NS_PER_S)

    assert pair.b.last(PathChanged).remote == (CAFE, 4500)
    pair.calm()
    check_calm(pair)


def test_c80_a_nat_between_is_crossed_by_every_pair() -> None:
    """The other address of the gateway gets a mapping of its own, and encapsulation goes on."""
    pair = Pair(WATCHFUL, NO_PROOF, a_addr=HOME)
    nat = NatBox(pair)
    pair.set_addresses(pair.b, [B, WAN2])
    pair.establish()

    def broken(datagram: Datagram) -> Datagram | None:
        return None if B in (datagram.src[0], datagram.dst[0]) else nat(datagram)

    pair.rewrite = broken
    (spi,) = pair.a.children
    pair.a.uses[spi] = Used()
    pair.drive(30 * NS_PER_S)

    assert pair.a.last(PathChanged).remote == (WAN2, 4500)
    assert pair.a.last(PathChanged).encap
    assert pair.b.last(PathChanged).encap
    assert pair.b.last(PathChanged).remote[0] == NAT
