"""Windows of more than one request, and message IDs outside of them (RFC 7296 2.2, 2.3)."""

from __future__ import annotations

from dataclasses import replace

from sim.ike.constants import NotifyType
from sim.ike.endpoint import IkeEndpoint
from sim.ike.events import MessageReceived, MessageSent
from sim.units import NS_PER_MS, NS_PER_S
from tests.ike.pair import CONNECTION_A, CONNECTION_B, LATENCY, NET_A, NET_B, Pair
from tests.ike.test_rekey_child import paired, rekey_ike
from tests.ike.test_rekey_ike import single

COUNT = 6
CHILDREN_A = tuple(replace(NET_A, name=f"net{n}") for n in range(COUNT))
CHILDREN_B = tuple(replace(NET_B, name=f"net{n}") for n in range(COUNT))


def test_c06_the_window_is_1_until_the_peer_says_more() -> None:
    pair = pair_with(1, 1)
    begun = pair.now
    ask_for_all(pair)
    pair.settle()

    assert pair.now - begun == 2 * LATENCY * (COUNT - 1)
    assert paired(pair, COUNT)


def test_c06_as_many_requests_as_the_peer_takes_are_outstanding_and_no_more() -> None:
    """The responder takes 3: five requests need two round trips, those of 3 and of 2."""
    pair = pair_with(1, 3)
    begun = pair.now
    ask_for_all(pair)
    outstanding = [e for at, e in pair.a.events if at == begun and isinstance(e, MessageSent)]
    pair.settle()

    assert len(outstanding) == 3
    assert pair.now - begun == 2 * LATENCY * 2
    assert paired(pair, COUNT)


def test_c06_a_lost_request_holds_the_window_where_it_is() -> None:
    """Message ID n + 3 does not leave before n is answered, though others were (RFC 7296 2.3)."""
    pair = pair_with(1, 3)
    pair.drop(1, "a")
    ask_for_all(pair)
    pair.drive(NS_PER_S)
    first = min(e.message_id for e in requests(pair))
    before = {e.message_id for e in requests(pair)}
    pair.drive(10 * NS_PER_S)

    assert before == {first, first + 1, first + 2}
    assert paired(pair, COUNT)


def test_c06_requests_that_overtake_each_other_are_served_and_remembered() -> None:
    """The first of three is late: the others are answered meanwhile; a repetition gets the same answer."""
    pair = pair_with(1, 3)
    pair.delay(50 * NS_PER_MS, "a")
    pair.drop(1, "b", after=1)  # the answer to the third
    ask_for_all(pair)
    pair.drive(20 * NS_PER_S)

    received = [e for e in pair.b.all(MessageReceived) if e.exchange == "CREATE_CHILD_SA"]
    fresh = [e.message_id for e in received if not e.retransmission]
    assert fresh[:3] == [fresh[0], fresh[0] + 1, fresh[0] - 1]
    assert len(fresh) == len(set(fresh)) == COUNT - 1
    assert any(e.retransmission for e in received)
    assert paired(pair, COUNT)


def test_c06_a_new_ike_sa_starts_at_1_and_is_told_again() -> None:
    pair = pair_with(4, 4)
    rekey_ike(pair, pair.a)
    pair.settle()
    ike_id = single(pair.a).ike_id
    assert pair.a.endpoint._ctx.sas[ike_id].requests.window == 1
    pair.command(pair.a, lambda end: end.check_liveness(ike_id, pair.now))
    pair.settle()

    assert "N(SET_WINDOW_SIZE)" in pair.a.ladder[-1]
    assert "N(SET_WINDOW_SIZE)" in pair.b.ladder[-1]
    assert pair.a.endpoint._ctx.sas[ike_id].requests.window == 4


def test_c08_an_id_outside_the_window_is_told_in_a_request_of_its_own_at_most_once_a_minute() -> None:
    """INVALID_MESSAGE_ID is no answer, and the request that it is about gets none."""
    pair = pair_with(1, 1)
    (sa,) = pair.a.endpoint._ctx.sas.values()
    for _ in range(3):
        sa.requests._next_id += 5
        pair.command(pair.a, lambda end: end.check_liveness(sa.ike_id, pair.now))
        sa.requests.abandon()
        pair.settle()

    told = [text for text in pair.b.ladder if NotifyType.INVALID_MESSAGE_ID.name in text]
    assert told == ["HDR, SK {N(INVALID_MESSAGE_ID)}"]
    assert pair.b.endpoint.counters["message ID outside the window"] == 3


# -- helpers ---------------------------------------------------------------------------------------------


def pair_with(a: int, b: int) -> Pair:
    """Established with the first Child SA; the responder takes `b` requests at once."""
    return Pair(
        replace(CONNECTION_A, children=CHILDREN_A, window=a),
        replace(CONNECTION_B, children=CHILDREN_B, window=b),
    ).establish_with("net0")


def ask_for_all(pair: Pair) -> None:
    def ask(endpoint: IkeEndpoint) -> None:
        for n in range(1, COUNT):
            endpoint.initiate("rw", f"net{n}", pair.now)

    pair.command(pair.a, ask)


def requests(pair: Pair) -> list[MessageSent]:
    return [e for e in pair.a.all(MessageSent) if e.exchange == "CREATE_CHILD_SA" and not e.response]
