"""NO_NATS_ALLOWED: without NAT traversal a NAT is refused, and nothing is encapsulated (RFC 4555 3.9)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sim.ike.config import RETRANSMIT, ConnectionConfig
from sim.ike.context import Datagram
from sim.ike.events import ChildSaUp, IkeSaDown, IkeSaUp, PathChanged, Reason, Rejected
from sim.ike.tasks import no_nats
from sim.ike.tasks.mobike import UpdateAddresses
from sim.units import NS_PER_S
from sim.wire.address import Sock, pack_address
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, LATENCY, NAT, A, B, NatBox, Pair

BAN_A = replace(CONNECTION_A, nat_traversal=False)
BAN_B = replace(CONNECTION_B, nat_traversal=False)
CAFE, WAN2 = pack_address("192.0.2.77"), pack_address("198.51.100.2")
A6, B6 = pack_address("2001:db8:a::1"), pack_address("2001:db8:b::1")
NAT6, CAFE6 = pack_address("2001:db8:c::1"), pack_address("2001:db8:c::2")
UPDATE = "HDR, SK {N(UPDATE_SA_ADDRESSES), N(NO_NATS_ALLOWED)}"
REFUSAL = "HDR, SK {N(UNEXPECTED_NAT_DETECTED)}"


@pytest.mark.parametrize(
    ("a", "b"), [(BAN_A, BAN_B), (BAN_A, CONNECTION_B), (CONNECTION_A, BAN_B)], ids=["both", "a", "b"]
)
def test_c79_without_nat_traversal_everything_stays_plain_and_on_500(
    a: ConnectionConfig, b: ConnectionConfig
) -> None:
    """If either side has none, there is none (RFC 7296 2.23); the initiator asks for a path without NATs."""
    pair = Pair(a, b).establish()
    pair.a_addr = CAFE
    pair.settle()

    assert "NAT_DETECTION" not in " ".join(pair.b.ladder)
    assert pair.a.ladder[1].endswith("N(MOBIKE_SUPPORTED), N(NO_NATS_ALLOWED)}")
    assert "N(NO_NATS_ALLOWED)" not in pair.b.ladder[1], "it is for requests"
    assert pair.a.ladder[2] == UPDATE
    assert {s.datagram.src[1] for s in pair.sent} == {s.datagram.dst[1] for s in pair.sent} == {500}
    assert not pair.a.last(ChildSaUp).encap
    assert not pair.b.last(PathChanged).encap
    assert pair.b.last(PathChanged).remote == (CAFE, 500)
    check_calm(pair)


@pytest.mark.parametrize("size", [12, 36])
def test_c79_it_holds_the_addresses_and_ports_of_the_ip_header(size: int) -> None:
    """Source, destination, source port, destination port (RFC 4555 4.2.6)."""
    src, dst = ((A, 500), (B, 500)) if size == 12 else ((A6, 4500), (B6, 61000))
    data = no_nats.addresses_octets(src, dst)

    assert len(data) == size
    if size == 12:
        assert data.hex() == "c0000201" + "c6336401" + "01f4" + "01f4"
    else:
        assert (
            data.hex() == "20010db8000a" + "0" * 19 + "1" + "20010db8000b" + "0" * 19 + "1" + "1194" + "ee48"
        )


def test_c79_over_ipv6_as_well() -> None:
    pair = Pair(replace(BAN_A, remote_addrs=(B6,)), BAN_B, a_addr=A6)
    pair.set_addresses(pair.b, [B6])
    pair.establish()
    pair.a_addr = CAFE6
    pair.settle()
    assert pair.b.last(PathChanged).remote == (CAFE6, 500)
    Through(pair, {A6: NAT6})
    pair.set_addresses(pair.a, [A6, CAFE6])
    pair.settle()

    assert REFUSAL in pair.b.ladder
    assert pair.b.endpoint.sas[0].remote == pair.a.endpoint.sas[0].local == (CAFE6, 500)


def test_c79_a_nat_in_ike_auth_is_refused_and_the_set_up_tried_again_by_the_schedule() -> None:
    """As often as a request leaves, each time from a new IKE_SA_INIT; then both ends know why it failed."""
    pair = Pair(BAN_A, BAN_B, a_addr=HOME)
    NatBox(pair)
    pair.initiate()
    pair.drive(200 * NS_PER_S)

    assert not pair.up
    waits = RETRANSMIT["strongswan"].delays
    first: dict[bytes, int] = {}
    refused: dict[bytes, int] = {}
    for sent in pair.sent:
        times = first if sent.side == "a" else refused
        times[sent.octets[:8]] = sent.at if sent.side == "b" else times.get(sent.octets[:8], sent.at)
    begun, ended = list(first.values()), [at + LATENCY for at in refused.values()]
    assert len(begun) == len(ended) == len(waits)
    assert [start - end for end, start in zip(ended[:-1], begun[1:], strict=True)] == list(waits[:-1])
    refusals = [s.datagram for s in pair.sent if s.side == "b" and s.octets[18] == 35]
    assert {d.dst[0] for d in refusals} == {NAT}, "where the packet came from"
    assert len(refusals) == len(waits)
    for end in (pair.a, pair.b):
        assert end.last(IkeSaDown).reason is Reason.UNEXPECTED_NAT_DETECTED
    assert re.search("nat_traversal is off", pair.a.last(IkeSaDown).text)
    assert "192.168.1.10[500] to 198.51.100.1[500]" in pair.b.last(IkeSaDown).text
    assert "203.0.113.10" in pair.b.last(IkeSaDown).text
    pair.calm()
    assert pair.a.endpoint._ctx.sas == pair.b.endpoint._ctx.sas == {}


def test_c79_a_set_up_that_waits_can_be_given_up_or_moved() -> None:
    """Between two attempts: the user ends it, and nothing is left; a host that moves sets out at once."""
    pair = Pair(BAN_A, BAN_B, a_addr=HOME)
    nat = NatBox(pair)
    pair.initiate()
    pair.drive(NS_PER_S)
    assert pair.a.endpoint.sas[0].state == "connecting"
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.calm()
    assert pair.a.endpoint._ctx.sas == {}

    pair.initiate()
    pair.drive(NS_PER_S)
    pair.rewrite = lambda datagram: nat(datagram) if datagram.src[0] == HOME else datagram
    pair.a_addr = CAFE
    pair.drive(NS_PER_S)
    assert pair.b.last(IkeSaUp).remote == (CAFE, 500)
    pair.calm()
    check_calm(pair)


def test_c79_whoever_changes_a_single_packet_does_not_keep_the_tunnel_down() -> None:
    pair = Pair(BAN_A, BAN_B)
    changed: list[Datagram] = []

    def attack(datagram: Datagram) -> Datagram:
        if datagram.src == (A, 500) and datagram.data[18] == 35 and not changed:
            changed.append(datagram)
            return replace(datagram, src=(NAT, 500))
        return replace(datagram, dst=(A, 500)) if datagram.dst == (NAT, 500) else datagram

    pair.rewrite = attack
    pair.initiate()
    pair.drive(10 * NS_PER_S)

    assert changed
    assert pair.up
    assert len(pair.a.children) == len(pair.b.children) == 1
    assert pair.a.endpoint.sas[0].state == "established"
    pair.calm()
    check_calm(pair)


def test_c79_without_mobike_nobody_forbids_nats() -> None:
    """The notification is MOBIKE's; plain IKE crosses a NAT that leaves ports alone."""
    pair = Pair(replace(BAN_A, mobike=False), BAN_B, a_addr=HOME)
    NatBox(pair)
    pair.establish()

    assert "NO_NATS" not in " ".join(pair.a.ladder)
    assert not pair.a.last(IkeSaUp).encap


@pytest.mark.parametrize("count", [1, 3])
def test_c79_an_update_that_meets_a_nat_is_tried_again(count: int) -> None:
    pair = Pair(BAN_A, BAN_B).establish()
    box = Through(pair, {CAFE: NAT}, count)
    pair.a_addr = CAFE
    pair.settle()

    assert pair.b.ladder.count(REFUSAL) == count
    assert pair.a.ladder.count(UPDATE) == count + 1
    assert {s.datagram.dst for s in pair.sent if s.datagram.data in box.answers} == {(NAT, 500)}
    assert pair.b.last(PathChanged).remote == (CAFE, 500)
    assert [e.text for e in pair.b.all(Rejected)] == [pair.b.all(Rejected)[0].text] * count
    check_calm(pair)


def test_c79_a_nat_that_stays_ends_the_ike_sa_and_both_ends_say_why() -> None:
    pair = Pair(BAN_A, BAN_B).establish()
    Through(pair, {CAFE: NAT})
    pair.a_addr = CAFE
    pair.settle()

    tries = len(RETRANSMIT["strongswan"].delays)
    assert pair.a.ladder.count(UPDATE) == tries
    assert not pair.b.all(PathChanged)
    assert pair.a.last(IkeSaDown).reason is Reason.UNEXPECTED_NAT_DETECTED
    assert f"{tries} times" in pair.a.last(IkeSaDown).text
    assert pair.b.last(IkeSaDown).reason is Reason.UNEXPECTED_NAT_DETECTED
    assert pair.b.endpoint.counters["UNEXPECTED_NAT_DETECTED"] == tries
    assert "192.0.2.77[500]" in pair.b.last(Rejected).text
    assert "203.0.113.10[500]" in pair.b.last(Rejected).text


def test_c79_whoever_still_has_its_old_address_goes_back_to_it() -> None:
    pair = Pair(BAN_A, BAN_B).establish()
    Through(pair, {CAFE: NAT})
    pair.set_addresses(pair.a, [CAFE, A])
    pair.settle()

    assert pair.a.last(PathChanged).local == (A, 500)
    assert pair.b.endpoint.sas[0].remote == (A, 500)
    assert pair.a.endpoint.sas[0].state == pair.b.endpoint.sas[0].state == "established"


def test_c79_other_addresses_are_announced_without_nats_alone() -> None:
    """A NAT in front of the responder: what it announces is not taken, and it does not announce for ever."""
    pair = Pair(BAN_A, BAN_B).establish()
    Through(pair, {B: NAT})
    pair.set_addresses(pair.b, [B, WAN2])
    pair.settle()

    announcement = "HDR, SK {N(ADDITIONAL_IP4_ADDRESS), N(NO_NATS_ALLOWED)}"
    assert pair.b.ladder.count(announcement) == len(RETRANSMIT["strongswan"].delays)
    assert pair.a.ladder.count(REFUSAL) == len(RETRANSMIT["strongswan"].delays)
    (sa,) = pair.a.endpoint._ctx.sas.values()
    assert sa.peer_addresses == ()
    assert sa.state.value == "established"


@pytest.mark.parametrize("octets", [0, 11, 13, 35, 37])
def test_c79_addresses_of_another_size_are_others(octets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(BAN_A, BAN_B).establish()
    build = UpdateAddresses.build

    def mangle(self, sa, out, now):  # type: ignore[no-untyped-def]
        build(self, sa, out, now)
        out.payloads = [replace(p, data=bytes(octets)) if p.type == 16402 else p for p in out.payloads]

    monkeypatch.setattr(UpdateAddresses, "build", mangle)
    pair.a_addr = CAFE
    pair.settle()

    assert not pair.b.all(PathChanged)
    assert f"with {octets} octets" in pair.b.all(Rejected)[0].text


def test_c79_ike_auth_holds_its_addresses_and_starts_afresh_after_a_move() -> None:
    """Sent again from elsewhere it would contradict itself."""
    pair = Pair(BAN_A, BAN_B)
    pair.drop(1, "a", after=1)
    pair.initiate()
    pair.settle()
    pair.a_addr = CAFE
    pair.settle()

    assert pair.up
    assert REFUSAL not in pair.b.ladder
    assert pair.b.last(IkeSaUp).remote == (CAFE, 500)


def test_c79_encapsulation_cannot_be_forced_without_nat_traversal() -> None:
    with pytest.raises(ValueError, match="NAT traversal, which is switched off"):
        replace(BAN_A, encap=True)


class Through:
    """Basic NATs: an address inside has another one outside, for the first `count` packets of IKE."""

    def __init__(self, pair: Pair, outside: dict[bytes, bytes], count: int = 10**9) -> None:
        self.outside, self.left = outside, count
        self.answers: list[bytes] = []
        pair.rewrite = self

    def __call__(self, datagram: Datagram) -> Datagram:
        inside = {outside: inside for inside, outside in self.outside.items()}
        if datagram.dst[0] in inside:
            self.answers.append(datagram.data)
            return replace(datagram, dst=_at(inside[datagram.dst[0]], datagram.dst))
        if datagram.src[0] in self.outside and self.left:
            self.left -= 1
            return replace(datagram, src=_at(self.outside[datagram.src[0]], datagram.src))
        return datagram


def _at(address: bytes, sock: Sock) -> Sock:
    return address, sock[1]
