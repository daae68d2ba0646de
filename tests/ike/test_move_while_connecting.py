"""The initiator's address changes while its IKE SA comes up (RFC 4555 3.3, 3.5; RFC 7296 2.1, 2.23)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sim.ike.context import Datagram
from sim.ike.events import IkeSaDown, IkeSaUp, MessageReceived, PathChanged, Reason
from sim.ike.view import SaView
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, LATENCY, NAT, A, End, NatBox, Pair
from tests.ike.test_eap import initiator as eap_initiator
from tests.ike.test_eap import responder as eap_responder

CAFE = pack_address("192.0.2.77")
LTE = pack_address("100.64.0.10")
Where = Callable[[Pair], None]


def _request_1_lost(pair: Pair) -> None:
    pair.drop(1)
    pair.initiate()


def _response_1_lost(pair: Pair) -> None:
    pair.initiate()
    pair.drive(LATENCY + 1)


def _request_2_lost(pair: Pair) -> None:
    pair.drop(1, after=1)
    pair.initiate()
    pair.drive(2 * LATENCY + 1)


def _request_2_in_flight(pair: Pair) -> None:
    pair.initiate()
    pair.drive(2 * LATENCY + 1)


def _response_2_lost(pair: Pair) -> None:
    pair.initiate()
    pair.drive(3 * LATENCY + 1)


POSITIONS = {
    "IKE_SA_INIT request lost": _request_1_lost,
    "IKE_SA_INIT response lost": _response_1_lost,
    "IKE_AUTH request lost": _request_2_lost,
    "IKE_AUTH request in flight": _request_2_in_flight,
    "IKE_AUTH response lost": _response_2_lost,
}
AUTH = [name for name in POSITIONS if "AUTH" in name]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("natted", [(), (HOME,), (LTE,), (HOME, LTE)], ids=["open", "leave", "enter", "both"])
@pytest.mark.parametrize("mobike", ["both", "a", "b", "none"])
def test_c72_both_ends_agree_on_the_new_address(
    position: str, natted: tuple[bytes, ...], mobike: str
) -> None:
    """Whatever was lost: where the SA with its Child SAs is, and whether a NAT is in the way."""
    before = HOME if HOME in natted else A
    after = LTE if LTE in natted else CAFE
    pair = Pair(
        replace(CONNECTION_A, mobike=mobike in ("both", "a")),
        replace(CONNECTION_B, mobike=mobike in ("both", "b")),
        a_addr=before,
    )
    nat = Nat(pair, natted)
    POSITIONS[position](pair)
    pair.a_addr = after
    pair.drive(20 * NS_PER_S)

    (a,), (b,) = live(pair.a), live(pair.b)
    assert a.local[0] == after
    (child_a,), (child_b,) = pair.a.children.values(), pair.b.children.values()
    assert (child_a.spi_in, child_a.spi_out) == (child_b.spi_out, child_b.spi_in)
    assert child_a.encap == child_b.encap == (after in natted)
    outside = nat.mappings.get(child_a.local, child_a.local)
    assert b.remote == child_b.remote == outside
    assert child_a.local[1] == (4500 if child_a.encap or mobike in ("both", "a") else 500)
    with_nat = (a.nat_local, a.nat_remote, b.nat_local, b.nat_remote)
    assert with_nat == (after in natted, False, False, after in natted)


@pytest.mark.parametrize("mobike", [True, False])
@pytest.mark.parametrize("rounds", range(1, 5))
def test_c72_a_move_in_the_middle_of_eap_is_told_afterwards(rounds: int, mobike: bool) -> None:
    """The addresses are those of the first IKE_AUTH request until the update comes (RFC 4555 3.3)."""
    pair = Pair(eap_initiator(mobike=mobike), eap_responder())
    pair.initiate()
    pair.drive((2 + 2 * rounds) * LATENCY - 1)
    assert not pair.up
    pair.a_addr = CAFE
    pair.drive(10 * NS_PER_S)

    if mobike:
        assert pair.b.last(IkeSaUp).remote == (A, 4500)
        assert pair.b.last(PathChanged).remote == (CAFE, 4500)
    (child_a,), (child_b,) = pair.a.children.values(), pair.b.children.values()
    assert child_a.local == child_b.remote
    assert child_a.local[0] == CAFE


@pytest.mark.parametrize("position", AUTH)
def test_c74_mobike_tells_of_a_move_during_ike_auth_with_an_update(position: str) -> None:
    """The request went to the responder from two addresses; only it knows which one it took."""
    pair = Pair()
    POSITIONS[position](pair)
    pair.a_addr = CAFE
    pair.settle()
    # a -> b  the same IKE_AUTH from CAFE;  b -> a  its response;  a -> b  UPDATE_SA_ADDRESSES

    auths = [s.octets for s in pair.sent if s.side == "a" and s.octets[18] == 35]
    assert len(set(auths)) == 1
    assert len(pair.a.all(IkeSaUp)) == len(pair.b.all(IkeSaUp)) == 1
    assert len([text for text in pair.a.ladder if "UPDATE_SA_ADDRESSES" in text]) == 1


def test_c75_an_address_that_is_still_there_needs_no_update() -> None:
    pair = Pair()
    _response_2_lost(pair)
    pair.set_addresses(pair.a, [A, CAFE])
    pair.settle()
    assert live(pair.b)[0].remote == (A, 4500)
    assert not [text for text in pair.a.ladder if "UPDATE_SA_ADDRESSES" in text]


@pytest.mark.parametrize("position", POSITIONS)
def test_without_mobike_the_ike_sa_starts_afresh(position: str) -> None:
    """An IKE SA without MOBIKE cannot move (RFC 7296 2.23 has no more than the responder's guess)."""
    pair = Pair(replace(CONNECTION_A, mobike=False), replace(CONNECTION_B, mobike=False))
    POSITIONS[position](pair)
    pair.a_addr = CAFE
    pair.drive(20 * NS_PER_S)

    first, second = pair.a.all(IkeSaDown)[0], pair.a.last(IkeSaUp)
    assert first.reason is Reason.MOVED
    assert first.ike_id != second.ike_id
    assert second.local[0] == CAFE
    assert len(pair.b.children) == 1, "INITIAL_CONTACT has cleared what the first attempt left"


def test_an_attempt_that_starts_afresh_has_a_spi_of_its_own() -> None:
    """The response to the first request may still come: it must fit no IKE SA (RFC 7296 2.6)."""
    pair = Pair()
    _response_1_lost(pair)
    pair.set_addresses(pair.a, [CAFE])
    spis = {s.octets[:8] for s in pair.sent if s.side == "a"}
    assert len(spis) == 2


def test_a_move_to_nowhere_waits_for_an_address() -> None:
    pair = Pair()
    _request_2_lost(pair)
    pair.set_addresses(pair.a, [])
    pair.drive(NS_PER_S)
    pair.a_addr = CAFE
    pair.settle()
    assert live(pair.b)[0].remote == (CAFE, 4500)
    assert len(pair.b.all(MessageReceived)) > 2


class Nat(NatBox):
    """A home NAT that only some of the initiator's addresses are behind."""

    def __init__(self, pair: Pair, inside: tuple[bytes, ...]) -> None:
        super().__init__(pair)
        self._inside = inside

    def __call__(self, datagram: Datagram) -> Datagram | None:
        behind = datagram.src[0] in self._inside or datagram.dst[0] == NAT
        return super().__call__(datagram) if behind else datagram


def live(end: End) -> list[SaView]:
    return [sa for sa in end.endpoint.sas if sa.state == "established"]
