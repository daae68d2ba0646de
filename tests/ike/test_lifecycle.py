"""Start, close and DPD actions, unique, reauthentication, childless (RFC 7296 2.4, 2.8.3; RFC 4478, 6023)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.ike.config import RETRANSMIT, Childless, ConnectionConfig, EndpointConfig, StartAction, Unique
from sim.ike.events import ChildFailed, ChildSaDown, ChildSaUp, IkeSaDown, IkeSaUp, Reason
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from sim.wire.selector import Selector
from tests.ike.calm import check_calm
from tests.ike.pair import CONNECTION_A, CONNECTION_B, LATENCY, NET2_A, NET2_B, NET_A, NET_B, End, Pair
from tests.ike.test_rekey_child import paired, rekey_ike

START = StartAction.START


# -- close_action and dpd_action -------------------------------------------------------------------------


def test_a_child_that_the_peer_closes_is_started_again() -> None:
    pair = pair_of(child_a={"close_action": START}).establish()
    (spi,) = pair.b.children
    pair.command(pair.b, lambda end: end.delete_child(spi, pair.now))
    pair.settle()

    assert pair.a.last(ChildSaDown).reason is Reason.DELETED_BY_PEER
    assert paired(pair, 1)
    assert len(pair.a.all(IkeSaUp)) == 1


def test_an_ike_sa_that_the_peer_closes_is_started_again_with_the_children_that_want_it() -> None:
    pair = pair_of(child_a={"close_action": START}).establish()
    pair.command(pair.b, lambda end: end.delete("rw", pair.now))
    pair.drive(NS_PER_S)

    assert len(pair.a.all(IkeSaUp)) == 2
    assert paired(pair, 1)


def test_what_we_close_ourselves_stays_closed() -> None:
    pair = pair_of(child_a={"close_action": START, "dpd_action": START}).establish()
    pair.command(pair.a, lambda end: end.delete("rw", pair.now))
    pair.drive(60 * NS_PER_S)

    assert len(pair.a.all(IkeSaUp)) == 1


@pytest.mark.parametrize(("action", "times_up"), [(START, 2), (StartAction.NONE, 1), (StartAction.TRAP, 1)])
def test_a_dead_peer_is_called_again_if_dpd_action_says_so(action: StartAction, times_up: int) -> None:
    """The responder restarts with no memory; liveness checks find out, and nothing else happens."""
    pair = pair_of(
        a={"dpd_delay": 5 * NS_PER_S, "retransmit": RETRANSMIT["libreswan"]}, child_a={"dpd_action": action}
    ).establish()
    pair.restart(pair.b, pair.b.endpoint.config)
    pair.drive(60 * NS_PER_S)

    assert pair.a.all(IkeSaDown)[0].reason is Reason.TIMEOUT
    assert len(pair.a.all(IkeSaUp)) == times_up


@pytest.mark.parametrize(("tries", "calls"), [(1, 1), (3, 3)])
def test_a_connection_is_tried_keyingtries_times(tries: int, calls: int) -> None:
    pair = pair_of(a={"keyingtries": tries, "retransmit": RETRANSMIT["libreswan"]})
    pair.drop(1000, "a")
    pair.initiate()
    pair.drive(400 * NS_PER_S)

    assert [event.reason for event in pair.a.all(IkeSaDown)] == [Reason.TIMEOUT] * calls


def test_keyingtries_0_never_gives_up() -> None:
    pair = pair_of(a={"keyingtries": 0, "retransmit": RETRANSMIT["libreswan"]})
    pair.drop(50, "a")
    pair.initiate()
    pair.drive(400 * NS_PER_S)

    assert len(pair.a.all(IkeSaDown)) == 7  # of 7 sendings each
    assert paired(pair, 1)


# -- unique ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "left", "reason"),
    [
        (Unique.NO, 2, None),
        (Unique.NEVER, 2, None),
        (Unique.REPLACE, 1, Reason.REPLACED),
        (Unique.KEEP, 1, None),
    ],
)
def test_c13_a_second_ike_sa_of_the_same_peer(policy: Unique, left: int, reason: Reason | None) -> None:
    """Without INITIAL_CONTACT the responder's policy decides."""
    pair = pair_of(b={"unique": policy}).establish()
    (first,) = pair.b.endpoint._ctx.sas.values()
    first.path.remote = (bytes((203, 0, 113, 50)), 4500)  # somewhere else
    second(pair, first_contact=False)

    assert len(alive(pair.b)) == left
    assert ([e.reason for e in pair.b.all(IkeSaDown)] == [reason]) is (reason is not None)
    if policy is Unique.KEEP:
        assert "unique = keep" in pair.b.all(IkeSaDown)[0].text


@pytest.mark.parametrize("policy", list(Unique))
def test_c13_make_before_break_goes_well_with_every_policy(policy: Unique) -> None:
    """A second IKE SA from the same place may be a reauthentication: `keep` does not refuse it."""
    pair = pair_of(
        a={"reauth_time": 100 * NS_PER_S, "rand_time": 0, "make_before_break": True}, b={"unique": policy}
    ).establish()
    pair.drive(110 * NS_PER_S)

    assert len(pair.a.all(IkeSaUp)) == 2
    assert len(alive(pair.a)) == len(alive(pair.b)) == 1
    assert paired(pair, 1)


def test_break_before_make_brings_back_what_a_packet_has_not_asked_for() -> None:
    """A packet begins the new IKE SA before the old one is confirmed as gone: all Child SAs come back."""
    pair = pair_of(children=3).establish_with(None)
    (sa,) = pair.a.endpoint.sas
    pair.command(pair.a, lambda end: end.reauthenticate(sa.ike_id, pair.now))
    packet = (Selector.host(bytes((10, 1, 0, 5))), Selector.host(bytes((10, 2, 0, 9))))
    pair.command(pair.a, lambda end: end.acquire("rw", "net", packet, pair.now))
    pair.drive(NS_PER_S)

    assert len(alive(pair.a)) == 1
    assert sorted(up.child for up in pair.a.children.values()) == ["net", "net1", "net2"]
    assert paired(pair, 3)


@pytest.mark.parametrize(("policy", "left"), [(Unique.NO, 1), (Unique.NEVER, 2), (Unique.KEEP, 1)])
def test_c13_initial_contact_ends_what_is_left_over(policy: Unique, left: int) -> None:
    """A peer that has lost its state says so, and `unique = never` alone does not heed it."""
    pair = pair_of(b={"unique": policy}).establish()
    second(pair, first_contact=True)

    assert len(alive(pair.b)) == left
    assert alive(pair.b)[-1].established_at > 0


def test_c13_initial_contact_ends_what_came_up_in_the_instant_in_which_its_ike_sa_begins() -> None:
    """The order counts, not the time: without MOBIKE this host starts afresh as soon as it has moved."""
    pair = pair_of(a={"mobike": False})
    pair.initiate()
    pair.drive(2 * LATENCY)  # IKE_AUTH leaves
    pair.a_addr = pack_address("192.0.2.77")
    check_calm(pair.calm())

    assert pair.b.last(IkeSaDown).reason is Reason.REPLACED


def test_c13_another_connection_between_the_same_two_is_no_initial_contact() -> None:
    """It would end the first one: INITIAL_CONTACT is about identities, not about connections."""
    both = (CONNECTION_A, replace(CONNECTION_A, name="second", children=(NET2_A,)))
    pair = Pair(CONNECTION_A, replace(CONNECTION_B, children=(NET_B, NET2_B)))
    pair.restart(pair.a, EndpointConfig(connections=both))
    for name in ("rw", "second"):
        pair.command(pair.a, lambda end, name=name: end.initiate(name, None, pair.now))  # type: ignore[misc]
        pair.calm()
    check_calm(pair)

    assert len(pair.a.children) == 2
    assert "N(INITIAL_CONTACT)" not in pair.a.ladder[-1]


# -- reauthentication ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_before_break", [False, True])
def test_reauthentication_makes_a_new_ike_sa_with_all_children(make_before_break: bool) -> None:
    """The old one goes first, or once the new one has all Child SAs (RFC 7296 2.8.3)."""
    pair = pair_of(
        a={"reauth_time": 100 * NS_PER_S, "rand_time": 0, "make_before_break": make_before_break},
        children=3,
    ).establish_with(None)
    pair.drive(110 * NS_PER_S)

    assert len(pair.a.all(IkeSaUp)) == len(pair.b.all(IkeSaUp)) == 2
    assert [event.reason for event in pair.a.all(IkeSaDown)] == [Reason.REAUTHENTICATED]
    assert paired(pair, 3)
    down_at = pair.a.times(IkeSaDown)[0]
    assert (pair.a.times(ChildSaUp)[-1] <= down_at) is make_before_break
    assert len(alive(pair.b)) == 1


def test_reauthentication_is_due_in_spite_of_rekeyings() -> None:
    pair = pair_of(a={"reauth_time": 100 * NS_PER_S, "rand_time": 0}).establish()
    pair.drive(50 * NS_PER_S)
    rekey_ike(pair, pair.b)
    pair.drive(60 * NS_PER_S)

    assert pair.a.all(IkeSaDown)[-1].reason is Reason.REAUTHENTICATED
    assert paired(pair, 1)


def test_c32_auth_lifetime_makes_the_initiator_authenticate_in_time() -> None:
    """The responder cannot call: it says how long the authentication holds (RFC 4478 2)."""
    pair = pair_of(b={"reauth_time": 200 * NS_PER_S, "rand_time": 0}).establish()
    assert "N(AUTH_LIFETIME)" in pair.b.ladder[-1]
    pair.drive(190 * NS_PER_S)

    assert len(pair.b.all(IkeSaUp)) == 2
    assert 170 * NS_PER_S <= pair.a.times(IkeSaUp)[1] <= 182 * NS_PER_S
    assert paired(pair, 1)


def test_c32_who_does_not_authenticate_again_is_out_when_the_lifetime_is_over() -> None:
    pair = pair_of(b={"reauth_time": 200 * NS_PER_S, "rand_time": 0}).establish()
    for sa in pair.a.endpoint._ctx.sas.values():
        sa.lifetimes.stop_ike()  # an initiator that knows nothing of RFC 4478
    pair.drive(200 * NS_PER_S)
    assert alive(pair.b), "a little longer than it has announced"
    pair.drive(30 * NS_PER_S)

    assert pair.b.last(IkeSaDown).reason is Reason.EXPIRED
    assert alive(pair.a) == []


# -- childless -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [Childless.PREFER, Childless.FORCE])
@pytest.mark.parametrize("theirs", [Childless.ALLOW, Childless.PREFER, Childless.FORCE])
def test_c56_the_child_follows_an_ike_auth_without_one(ours: Childless, theirs: Childless) -> None:
    """a -> b {IDi, AUTH}; a <- b {IDr, AUTH}; then CREATE_CHILD_SA (RFC 6023 3)."""
    pair = pair_of(a={"childless": ours}, b={"childless": theirs}).establish()

    assert "SAi" not in pair.a.ladder[1]
    assert pair.a.ladder[2] == "HDR, SK {SAi, Ni, TSi, TSr}"
    assert paired(pair, 1)


def test_c56_no_child_at_all() -> None:
    """An IKE SA alone: regular_manual."""
    pair = Pair(replace(CONNECTION_A, children=()), CONNECTION_B)
    pair.initiate(None)
    pair.settle()

    assert pair.up
    assert paired(pair, 0)


def test_c56_a_responder_that_does_not_announce_it_is_not_asked() -> None:
    """failure_init: `force` fails before IKE_AUTH, `prefer` does without."""
    pair = pair_of(a={"childless": Childless.FORCE}, b={"childless": Childless.NEVER})
    pair.initiate()
    pair.settle()
    assert pair.a.last(IkeSaDown).reason is Reason.CHILDLESS_UNSUPPORTED

    pair = pair_of(a={"childless": Childless.PREFER}, b={"childless": Childless.NEVER}).establish()
    assert "SAi" in pair.a.ladder[1]


def test_c56_a_responder_that_insists_refuses_the_child_alone() -> None:
    """failure_resp: the IKE SA is up, its Child SA is not (RFC 7296 2.21.2)."""
    pair = pair_of(b={"childless": Childless.FORCE}).establish()

    assert pair.a.last(ChildFailed).reason is Reason.NO_PROPOSAL_CHOSEN
    assert paired(pair, 0)


# -- helpers ---------------------------------------------------------------------------------------------


def pair_of(
    a: dict[str, Any] | None = None,
    b: dict[str, Any] | None = None,
    child_a: dict[str, Any] | None = None,
    children: int = 1,
) -> Pair:
    return Pair(
        _connection(CONNECTION_A, NET_A, children, a or {}, child_a or {}),
        _connection(CONNECTION_B, NET_B, children, b or {}, {}),
    )


def _connection(
    base: ConnectionConfig, child: Any, count: int, changes: dict[str, Any], child_changes: dict[str, Any]
) -> ConnectionConfig:
    names = ["net", *(f"net{n}" for n in range(1, count))]
    children = tuple(replace(child, name=name, **child_changes) for name in names)
    return replace(base, children=children, **changes)


def second(pair: Pair, *, first_contact: bool) -> None:
    """`a` sets the connection up once more; if it says INITIAL_CONTACT, it has forgotten the first."""
    context = pair.a.endpoint._ctx
    (old,) = context.sas.values()
    context.unindex(old)
    if not first_contact:
        context.by_connection["rw"] = _Never()  # looks empty, counts two
    pair.initiate()
    pair.settle()


class _Never(dict):  # type: ignore[type-arg]
    def values(self) -> Any:
        return [value for key, value in self.items() if key != 1]

    def __len__(self) -> int:
        return super().__len__() + 1


def alive(end: End) -> list[Any]:
    return [sa for sa in end.endpoint._ctx.sas.values() if sa.state.value == "established"]
