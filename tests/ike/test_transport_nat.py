"""Transport mode through a NAT: whose selectors have which addresses (RFC 7296 2.23.1, RFC 3948 5.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.crypto.cipher import Cipher
from sim.ike.config import ChildConfig, EndpointConfig, SharedNat
from sim.ike.constants import PayloadType
from sim.ike.context import Datagram
from sim.ike.events import ChildFailed, ChildSaUp, NatShared, Reason
from sim.ike.identity import Identity
from sim.ike.message import Message, open_message
from sim.ike.payloads import TsPayload
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, NAT, B, NatBox, Pair, esp
from tests.ike.test_rekey_child import paired, rekey

HOST_TO_HOST = ChildConfig("net", esp("aes128gcm16"), mode=Mode.TRANSPORT, rekey_time=0, life_time=0)
FRONT = pack_address("203.0.113.99")
"""The address that leads through a NAT to `b`."""


def test_c67_each_side_has_the_addresses_that_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """TSi on the wire is the initiator's own address both ways; the responder's policy has the NAT's."""
    seen = selectors_on_the_wire(monkeypatch)
    pair = behind_nat().establish()

    (a,), (b,) = pair.a.children.values(), pair.b.children.values()
    assert a.mode is b.mode is Mode.TRANSPORT
    assert (a.local_ts, a.remote_ts) == ((Selector.host(HOME),), (Selector.host(B),))
    assert (b.local_ts, b.remote_ts) == ((Selector.host(B),), (Selector.host(NAT),))
    assert seen == [((Selector.host(HOME),), (Selector.host(B),))] * 2


def test_c67_a_responder_behind_a_nat_puts_its_own_address_in_place_of_the_nat_s() -> None:
    pair = behind_nat(replace(CONNECTION_A, remote_addrs=(FRONT,), children=(HOST_TO_HOST,)))
    forward_to_b(pair)
    pair.establish()

    (a,), (b,) = pair.a.children.values(), pair.b.children.values()
    assert a.mode is b.mode is Mode.TRANSPORT
    assert a.remote_ts == (Selector.host(FRONT),)
    assert (b.local_ts, b.remote_ts) == ((Selector.host(B),), (Selector.host(NAT),))


def test_c67_protocol_and_ports_stay() -> None:
    """L2TP: only UDP port 1701 of the responder is protected."""
    l2tp = Selector.host(B, 17, (1701, 1701))
    pair = behind_nat(
        replace(CONNECTION_A, children=(replace(HOST_TO_HOST, remote_ts=(l2tp,)),)),
        replace(CONNECTION_B, children=(replace(HOST_TO_HOST, local_ts=(l2tp,)),)),
    ).establish()

    (a,), (b,) = pair.a.children.values(), pair.b.children.values()
    assert a.mode is b.mode is Mode.TRANSPORT
    assert (a.remote_ts, b.local_ts) == ((l2tp,), (l2tp,))


@pytest.mark.parametrize("side", ["a", "b"])
def test_c67_a_rekeying_by_either_side_keeps_mode_and_addresses(side: str) -> None:
    pair = behind_nat().establish()
    before = {end: next(iter(end.children.values())) for end in (pair.a, pair.b)}
    rekey(pair, getattr(pair, side))
    pair.settle()

    assert paired(pair, 1)
    for end, old in before.items():
        (new,) = end.children.values()
        assert new.spi_in != old.spi_in
        assert (new.mode, new.local_ts, new.remote_ts) == (old.mode, old.local_ts, old.remote_ts)


def test_c67_what_is_for_more_than_one_address_falls_back_to_tunnel_mode() -> None:
    """Exactly one address a side can be substituted."""
    net = (Selector.from_prefix("192.168.1.0/24"),)
    pair = behind_nat(
        replace(CONNECTION_A, children=(replace(HOST_TO_HOST, local_ts=net),)),
        replace(CONNECTION_B, children=(replace(HOST_TO_HOST, remote_ts=net),)),
    ).establish()

    assert {up.mode for end in (pair.a, pair.b) for up in end.children.values()} == {Mode.TUNNEL}


def test_c70_a_second_client_behind_the_same_nat_gets_tunnel_mode() -> None:
    """In transport mode the two could not be told apart (RFC 3948 5.2); the first one keeps it."""
    pair = behind_nat(b=replace(CONNECTION_B, remote_id=None, children=(HOST_TO_HOST,))).establish()
    carol = replace(CONNECTION_A, local_id=Identity.parse("carol"), children=(HOST_TO_HOST,))
    pair.restart(pair.a, EndpointConfig(connections=(carol,)))
    NatBox(pair, first_port=50000)
    pair.initiate()
    pair.settle()

    assert [up.mode for up in pair.b.all(ChildSaUp)] == [Mode.TRANSPORT, Mode.TUNNEL]
    assert pair.b.last(ChildSaUp).remote_ts == (Selector.host(HOME),)


def test_c70_a_second_client_is_refused_with_the_reason_where_that_is_wanted() -> None:
    pair = two_clients(SharedNat.REFUSE)

    assert [up.mode for up in pair.b.all(ChildSaUp)] == [Mode.TRANSPORT]
    assert pair.a.last(ChildFailed).reason is Reason.TS_UNACCEPTABLE
    assert "carol and alice@example.org are behind one NAT, 203.0.113.10," in pair.b.last(ChildFailed).text


@pytest.mark.parametrize(("policy", "stolen"), [(SharedNat.NEWEST, True), (SharedNat.TRACK, False)])
def test_c70_both_clients_have_transport_mode_where_that_is_wanted(policy: SharedNat, stolen: bool) -> None:
    pair = two_clients(policy)

    first, second = pair.b.all(ChildSaUp)
    assert (first.mode, second.mode) == (Mode.TRANSPORT, Mode.TRANSPORT)
    assert (first.local_ts, first.remote_ts) == (second.local_ts, second.remote_ts)
    assert first.tracked is second.tracked is (policy is SharedNat.TRACK)
    (told,) = pair.b.all(NatShared)
    assert told.stolen is stolen
    assert "carol and alice@example.org are behind one NAT" in told.text


def test_c70_clients_with_other_ports_are_told_apart_by_their_selectors() -> None:
    one, other = (Selector.host(HOME, 17, (port, port)) for port in (1701, 1702))
    at_nat = tuple(Selector.host(NAT, 17, (port, port)) for port in (1701, 1702))
    pair = two_clients(SharedNat.REFUSE, (one,), (other,), at_nat)

    assert [up.remote_ts for up in pair.b.all(ChildSaUp)] == [at_nat[:1], at_nat[1:]]
    assert {up.mode for up in pair.b.all(ChildSaUp)} == {Mode.TRANSPORT}
    assert pair.b.all(NatShared) == []


def test_c67_the_responder_keeps_the_original_addresses() -> None:
    """For checksums (RFC 3948 3.1.2 a); the initiator is not told the responder's, but by its rekeying."""
    pair = behind_nat().establish()

    assert pair.b.last(ChildSaUp).original == (HOME, B)
    assert pair.a.last(ChildSaUp).original is None
    rekey(pair, pair.a)
    pair.settle()
    assert pair.b.last(ChildSaUp).original == (HOME, B)
    rekey(pair, pair.b)
    pair.settle()
    assert pair.b.last(ChildSaUp).original == (HOME, B)
    assert pair.a.last(ChildSaUp).original == (B, NAT)


@pytest.mark.parametrize("net", ["", "192.168.1.0/24"])
def test_c70_a_second_client_with_the_same_address_behind_another_nat_is_refused(net: str) -> None:
    """In tunnel mode, also where the configuration allows that address (RFC 3948 5.1)."""
    tunnel = replace(HOST_TO_HOST, mode=Mode.TUNNEL, remote_ts=(Selector.from_prefix(net),) if net else ())
    here = replace(HOST_TO_HOST, mode=Mode.TUNNEL, local_ts=(Selector.host(HOME),) if net else ())
    pair = behind_nat(
        replace(CONNECTION_A, children=(here,)), replace(CONNECTION_B, remote_id=None, children=(tunnel,))
    ).establish()
    assert pair.b.last(ChildSaUp).remote_ts == (Selector.host(HOME),)
    second_client(pair, here)

    assert len(pair.b.all(ChildSaUp)) == 1
    told = "192.168.1.10 is alice@example.org's, behind another NAT (RFC 3948 5.1)"
    assert told in pair.b.last(ChildFailed).text


def test_c70_an_ended_child_makes_room() -> None:
    pair = behind_nat().establish()
    (spi,) = pair.a.children
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.settle()

    assert pair.b.endpoint._ctx.behind_nat == {}


def two_clients(
    policy: SharedNat,
    first: tuple[Selector, ...] = (),
    second: tuple[Selector, ...] = (),
    allowed: tuple[Selector, ...] = (),
) -> Pair:
    """A second one comes out of the same NAT when the first has its Child SA."""
    a = replace(CONNECTION_A, children=(replace(HOST_TO_HOST, local_ts=first),))
    child = replace(HOST_TO_HOST, shared_nat=policy, remote_ts=allowed)
    pair = behind_nat(a, replace(CONNECTION_B, remote_id=None, children=(child,))).establish()
    second_client(pair, replace(HOST_TO_HOST, local_ts=second))
    return pair


def second_client(pair: Pair, child: ChildConfig) -> None:
    carol = replace(CONNECTION_A, local_id=Identity.parse("carol"), children=(child,))
    pair.restart(pair.a, EndpointConfig(connections=(carol,)))
    NatBox(pair, first_port=50000)
    pair.initiate()
    pair.settle()


# -- helpers ---------------------------------------------------------------------------------------------


def behind_nat(
    a: object = replace(CONNECTION_A, children=(HOST_TO_HOST,)),
    b: object = replace(CONNECTION_B, children=(HOST_TO_HOST,)),
) -> Pair:
    """`a` has a private address, behind a NAT."""
    pair = Pair(a, b, a_addr=HOME)  # type: ignore[arg-type]
    NatBox(pair)
    return pair


def forward_to_b(pair: Pair) -> None:
    """A second NAT, in front of `b`, that hands everything on to it."""
    near = pair.rewrite

    def rewrite(datagram: Datagram) -> Datagram | None:
        if datagram.dst[0] == FRONT:
            return near(replace(datagram, dst=(B, datagram.dst[1])))
        if datagram.src[0] == B:
            return near(replace(datagram, src=(FRONT, datagram.src[1])))
        return near(datagram)

    pair.rewrite = rewrite


def selectors_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, object]]:
    """(TSi, TSr) of each message that either end opens, as they come."""
    found: list[tuple[object, object]] = []

    def open_and_note(message: Message, cipher: Cipher) -> Message:
        opened = open_message(message, cipher)
        sides = (opened.of_type(kind) for kind in (PayloadType.TS_I, PayloadType.TS_R))
        found.append(tuple(side.selectors for side in sides if isinstance(side, TsPayload)))  # type: ignore[arg-type]
        return opened

    monkeypatch.setattr("sim.ike.channel.open_message", open_and_note)
    return found
