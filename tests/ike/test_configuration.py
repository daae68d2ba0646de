"""Virtual IPs between two endpoints: request, lease, narrowing, failure, and how long they last."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sim.ike.config import ChildConfig, ConnectionConfig, EndpointConfig, Unique
from sim.ike.configuration import asked_for, read_reply, request_for
from sim.ike.constants import ConfigAttributeType, ConfigType, ExchangeType, NotifyType
from sim.ike.endpoint import IkeEndpoint
from sim.ike.events import (
    ChildFailed,
    ChildSaUp,
    IkeSaDown,
    IkeSaUp,
    MessageReceived,
    Reason,
    VirtualIpAssigned,
    VirtualIpReleased,
)
from sim.ike.identity import Identity
from sim.ike.payloads import ConfigAttribute, CpPayload, NotifyPayload, Payload
from sim.ike.pool import PoolConfig
from sim.ike.tasks.base import Inbound, Job, Outgoing, Step, Task
from sim.ike.tasks.child_respond import RespondChild
from sim.ike.tasks.configure import AssignConfiguration
from sim.wire.address import pack_address
from sim.wire.selector import Selector
from tests.ike.pair import ALICE, CONNECTION_A, CONNECTION_B, HOME, NET_A, NET_B, NatBox, Pair
from tests.ike.test_eap import initiator, responder

STRONGSWAN = Path(__file__).parent.parent / "data" / "strongswan" / "cp.json"
Type = ConfigAttributeType
DNS = pack_address("10.2.0.20")
ANY4, ANY6 = bytes(4), bytes(16)
MASK = pack_address("255.255.0.0")
V4 = PoolConfig(
    "v4",
    pack_address("10.3.0.1"),
    pack_address("10.3.0.2"),
    (
        ConfigAttribute(Type.INTERNAL_IP4_DNS, DNS),
        ConfigAttribute(Type.INTERNAL_IP4_NETMASK, b"\xff\xff\0\0"),
    ),
)
V6 = PoolConfig("v6", pack_address("fd00:3::1"), pack_address("fd00:3::2"))
NETS = (Selector.from_prefix("10.2.0.0/16"), Selector.from_prefix("fd00:2::/64"))
CHILD_A = replace(NET_A, local_ts=(), remote_ts=NETS)
CHILD_B = replace(NET_B, local_ts=NETS, remote_ts=())
WANTS = replace(CONNECTION_A, children=(CHILD_A,), vips=(ANY4,))
GIVES = replace(CONNECTION_B, children=(CHILD_B,), pools=("v4", "v6"), remote_id=None)
CAROL = Identity.parse("carol@example.org")
FIRST, SECOND = pack_address("10.3.0.1"), pack_address("10.3.0.2")


def road(a: ConnectionConfig = WANTS, b: ConnectionConfig = GIVES, *pools: PoolConfig) -> Pair:
    return Pair(a, b, b_config=EndpointConfig(pools=pools or (V4, V6), connections=(b,)))


def vips(pair: Pair) -> list[bytes]:
    return [vip for sa in pair.a.endpoint.sas if sa.state == "established" for vip in sa.vips]


def leased(pair: Pair) -> dict[bytes, Identity]:
    pools = pair.b.endpoint._ctx.pools.by_name.values()
    return {address: who for pool in pools for address, who in pool.online.items()}


# -- what goes over the wire -----------------------------------------------------------------------------


def test_c31_the_request_is_in_ike_auth_and_the_netmask_in_it_empty() -> None:
    request = request_for((ANY4, ANY6, SECOND, pack_address("fd00:3::2")))
    assert request.type == ConfigType.CFG_REQUEST
    assert request.attributes[:4] == (
        ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, b""),
        ConfigAttribute(Type.INTERNAL_IP6_ADDRESS, b""),
        ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, SECOND),
        ConfigAttribute(Type.INTERNAL_IP6_ADDRESS, pack_address("fd00:3::2") + b"\x80"),
    )
    assert ConfigAttribute(Type.INTERNAL_IP4_NETMASK, b"") in request.attributes
    assert CpPayload.parse(request.emit(), 47, 0) == request

    pair = road().establish()
    assert "HDR, SK {IDi, IDr, AUTH, CP, SAi2, TSi, TSr" in pair.a.ladder[1]
    assert "HDR, SK {IDr, AUTH, CP, SAr2, TSi, TSr" in pair.b.ladder[1]


def test_c31_strongswan_s_payloads_are_read_and_emitted_again_octet_for_octet() -> None:
    """Its reply has an IPv6 address with a prefix length of 64; the address alone is ours all the same."""
    octets = {name: bytes.fromhex(text) for name, text in json.loads(STRONGSWAN.read_text()).items()}
    request, reply = (CpPayload.parse(octets[name], 47, 0) for name in ("request", "reply"))
    assert (request.emit(), reply.emit()) == (octets["request"], octets["reply"])
    assert asked_for(request.attributes) == [ANY4, ANY6]
    assigned = read_reply(reply, (ANY4, ANY6), ())
    assert assigned.vips == (FIRST, V6.first)
    assert assigned.dns == (DNS, pack_address("fd00:2::20"))


def test_c31_an_address_is_leased_and_both_sides_narrow_to_it() -> None:
    pair = road().establish()
    host = (Selector.host(FIRST),)
    assert pair.a.last(ChildSaUp).local_ts == pair.b.last(ChildSaUp).remote_ts == host
    assert vips(pair) == [FIRST]
    assert leased(pair) == {FIRST: ALICE}
    ours, theirs = pair.a.last(VirtualIpAssigned), pair.b.last(VirtualIpAssigned)
    assert (ours.ours, ours.address, ours.dns) == (True, FIRST, (DNS,))
    assert (theirs.ours, theirs.address, theirs.peer) == (False, FIRST, "alice@example.org")


def test_c31_both_families_are_leased_at_once() -> None:
    pair = road(replace(WANTS, vips=(ANY4, ANY6))).establish()
    both = [FIRST, V6.first]
    assert vips(pair) == both
    assert [ts.start for ts in pair.a.last(ChildSaUp).local_ts] == both


def test_c31_one_family_is_enough_where_the_other_has_no_pool() -> None:
    pair = road(replace(WANTS, vips=(ANY4, ANY6)), replace(GIVES, pools=("v4",))).establish()
    assert vips(pair) == [FIRST]
    assert pair.a.last(ChildSaUp).local_ts == (Selector.host(FIRST),)


def test_c31_a_wanted_address_is_given_if_it_is_free() -> None:
    assert vips(road(replace(WANTS, vips=(SECOND,))).establish()) == [SECOND]
    elsewhere = replace(WANTS, vips=(pack_address("192.0.2.77"),))
    assert vips(road(elsewhere).establish()) == [FIRST]


def test_c31_a_later_child_sa_has_the_same_address() -> None:
    more = ChildConfig("more", NET_A.esp_proposals, remote_ts=NETS, rekey_time=0, life_time=0)
    pair = road(
        replace(WANTS, children=(CHILD_A, more)),
        replace(GIVES, children=(CHILD_B, replace(CHILD_B, name="more"))),
    )
    pair.initiate(None)
    pair.settle()
    assert [event.local_ts for event in pair.a.all(ChildSaUp)] == [(Selector.host(FIRST),)] * 2
    assert len(pair.a.all(VirtualIpAssigned)) == 1


@pytest.mark.parametrize(
    "attribute",
    [
        ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, bytes(4)),
        ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, pack_address("224.0.0.1")),
        ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, pack_address("127.0.0.1")),
        ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, pack_address("192.0.2.1")),  # our own already
        ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, b"\x0a"),
        ConfigAttribute(Type.INTERNAL_IP6_ADDRESS, V6.first + b"\x80"),  # not asked for
        ConfigAttribute(0x3FFF, b"unknown"),
    ],
)
def test_c31_an_assignment_that_is_of_no_use_makes_no_child_sa(
    attribute: ConfigAttribute, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = CpPayload(ConfigType.CFG_REPLY, (attribute,))
    monkeypatch.setattr(AssignConfiguration, "build", lambda self, sa, out, now: out.add(reply) or Step.DONE)
    pair = road()
    pair.initiate()
    pair.settle()

    assert pair.up
    assert "assigned no virtual IP" in pair.a.last(ChildFailed).text
    assert not pair.a.children
    assert not pair.b.children, "the responder was told to delete it again"


def test_c31_unknown_attributes_are_ignored_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = ConfigAttribute(0x7001, b"whatever", reserved=True)
    pools = (replace(V4, attributes=(extra, ConfigAttribute(Type.INTERNAL_IP4_DNS, DNS))),)
    odd = replace(request_for((ANY4,)), attributes=(extra, *request_for((ANY4,)).attributes))
    monkeypatch.setattr("sim.ike.tasks.configure.request_for", lambda wanted: odd)
    pair = road(WANTS, replace(GIVES, pools=("v4",)), *pools).establish()
    assert vips(pair) == [FIRST]
    assert pair.a.last(VirtualIpAssigned).dns == (DNS,)


def test_c31_a_peer_that_asks_for_many_addresses_does_not_drain_the_pool() -> None:
    big = replace(V4, last=pack_address("10.3.0.200"))
    pair = road(replace(WANTS, vips=(ANY4,) * 100), replace(GIVES, pools=("v4",)), big).establish()
    assert len(leased(pair)) == 4


def test_c31_the_version_and_the_supported_attributes_are_told_in_an_informational_exchange() -> None:
    pair = road().establish()
    query = (ConfigAttribute(Type.APPLICATION_VERSION), ConfigAttribute(Type.SUPPORTED_ATTRIBUTES))
    answer = ask(pair, CpPayload(ConfigType.CFG_REQUEST, query))

    version, supported = (attribute for payload in answer for attribute in payload.attributes)
    assert version == (Type.APPLICATION_VERSION, b"ipsec-sim", False)
    numbers = [int.from_bytes(supported.value[n : n + 2], "big") for n in range(0, len(supported.value), 2)]
    assert {1, 2, 3, 7, 8, 10, 13, 14, 15} <= set(numbers)


def test_c31_settings_are_acknowledged_without_taking_any() -> None:
    pair = road().establish()
    wish = ConfigAttribute(Type.INTERNAL_IP4_ADDRESS, SECOND)
    assert ask(pair, CpPayload(ConfigType.CFG_SET, (wish,))) == [CpPayload(ConfigType.CFG_ACK)]
    assert leased(pair) == {FIRST: ALICE}


# -- failures ---------------------------------------------------------------------------------------------


def test_c28_an_exhausted_pool_answers_internal_address_failure_and_keeps_the_ike_sa() -> None:
    pair = road(WANTS, replace(GIVES, pools=("v4",)), replace(V4, last=V4.first)).establish()
    carol = replace(WANTS, local_id=CAROL)
    pair.restart(pair.a, EndpointConfig(connections=(carol,)))
    pair.initiate()
    pair.settle()

    assert pair.a.last(ChildFailed).reason is Reason.INTERNAL_ADDRESS_FAILURE
    assert "N(INTERNAL_ADDRESS_FAILURE)" in pair.b.ladder[-1]
    assert "carol@example.org" in pair.b.last(ChildFailed).text
    assert [sa.state for sa in pair.a.endpoint.sas] == ["established"]
    assert not pair.a.all(VirtualIpAssigned)
    assert leased(pair) == {FIRST: ALICE}


def test_c31_who_got_no_address_asks_again_with_the_next_child_sa() -> None:
    pair = road(WANTS, replace(GIVES, pools=("v4",)), replace(V4, last=V4.first)).establish()
    pair.restart(pair.a, EndpointConfig(connections=(replace(WANTS, local_id=CAROL),)))
    pair.initiate()
    pair.settle()
    first = next(sa.ike_id for sa in pair.b.endpoint.sas if sa.vips)
    pair.command(pair.b, lambda endpoint: endpoint.delete(first, pair.now))
    pair.initiate()
    pair.settle()

    assert vips(pair) == [FIRST]
    assert pair.a.last(ChildSaUp).local_ts == (Selector.host(FIRST),)
    assert leased(pair) == {FIRST: CAROL}


def test_c28_who_asks_for_no_address_where_everybody_gets_one_is_told_failed_cp_required() -> None:
    pair = road(replace(WANTS, vips=()))
    pair.initiate()
    pair.settle()

    assert pair.a.last(ChildFailed).reason is Reason.FAILED_CP_REQUIRED
    assert pair.up
    assert not leased(pair)


def test_c28_a_request_without_any_pool_is_an_internal_address_failure() -> None:
    pair = road(WANTS, replace(GIVES, pools=()))
    pair.initiate()
    pair.settle()
    assert pair.a.last(ChildFailed).reason is Reason.INTERNAL_ADDRESS_FAILURE
    assert pair.up


def test_c28_single_pair_required_leaves_the_ike_sa_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """We never say it, but a peer may (RFC 7296 2.9)."""
    refusal = NotifyPayload(NotifyType.SINGLE_PAIR_REQUIRED)
    monkeypatch.setattr(RespondChild, "_create", lambda self, sa, message, now: None)
    monkeypatch.setattr(RespondChild, "build", lambda self, sa, out, now: out.add(refusal) or Step.DONE)
    pair = Pair()
    pair.initiate()
    pair.settle()

    assert pair.a.last(ChildFailed).reason is Reason.SINGLE_PAIR_REQUIRED
    assert pair.up
    assert [sa.state for sa in pair.a.endpoint.sas] == ["established"]
    assert not pair.a.all(IkeSaDown)


def test_c70_a_private_address_is_no_selector_where_virtual_ips_are_leased() -> None:
    """Else two peers behind different NATs could have the same one (RFC 3948 5.1)."""
    stubborn = replace(CHILD_A, local_ts=(Selector.host(HOME),))
    pair = Pair(
        replace(WANTS, children=(stubborn,)),
        GIVES,
        a_addr=HOME,
        b_config=EndpointConfig(pools=(V4, V6), connections=(GIVES,)),
    )
    NatBox(pair)
    pair.initiate()
    pair.settle()
    assert pair.a.last(ChildFailed).reason is Reason.TS_UNACCEPTABLE


# -- how long a lease lasts --------------------------------------------------------------------------------


def test_c31_the_address_is_free_again_when_the_ike_sa_ends() -> None:
    pair = road().establish()
    pair.command(pair.a, lambda endpoint: endpoint.delete("rw", pair.now))
    pair.settle()
    assert not leased(pair)
    for end in (pair.a, pair.b):
        kinds = [type(event) for _, event in end.events]
        assert end.last(VirtualIpReleased).address == FIRST
        assert kinds.index(VirtualIpReleased) < kinds.index(IkeSaDown)


def test_c31_who_comes_back_gets_the_same_address_though_another_was_there_meanwhile() -> None:
    pair = road().establish()
    carol, alice = (EndpointConfig(connections=(replace(WANTS, local_id=who),)) for who in (CAROL, ALICE))
    pair.command(pair.a, lambda endpoint: endpoint.delete("rw", pair.now))
    pair.settle()
    for config, expected in ((carol, SECOND), (alice, FIRST)):
        pair.restart(pair.a, config, seed=expected.hex())
        pair.initiate()
        pair.settle()
        assert vips(pair) == [expected]


@pytest.mark.parametrize("side", ["a", "b"])
def test_c31_rekeying_the_ike_sa_keeps_the_address(side: str) -> None:
    pair = road().establish()
    end = pair.a if side == "a" else pair.b
    (view,) = end.endpoint.sas
    pair.command(end, lambda endpoint: endpoint.rekey_ike(view.ike_id, pair.now))
    pair.settle()
    pair.drive()

    assert pair.a.last(IkeSaUp).replaces
    assert vips(pair) == [FIRST]
    assert leased(pair) == {FIRST: ALICE}
    assert not pair.a.all(VirtualIpReleased)
    pair.command(pair.a, lambda endpoint: endpoint.delete("rw", pair.now))
    pair.settle()
    assert not leased(pair)
    assert pair.a.last(VirtualIpReleased).address == FIRST


@pytest.mark.parametrize("side", ["a", "b"])
def test_c31_rekeying_a_child_sa_keeps_its_selectors(side: str) -> None:
    pair = road().establish()
    end = pair.a if side == "a" else pair.b
    pair.command(end, lambda endpoint: endpoint.rekey(next(iter(end.children)), pair.now))
    pair.settle()
    assert pair.a.last(ChildSaUp).replaces
    assert pair.a.last(ChildSaUp).local_ts == (Selector.host(FIRST),)


@pytest.mark.parametrize(
    ("make_before_break", "unique"),
    [(False, each) for each in Unique] + [(True, each) for each in Unique if each is not Unique.KEEP],
)
def test_c31_reauthentication_keeps_the_address(make_before_break: bool, unique: Unique) -> None:
    """With unique = keep the responder refuses a second IKE SA beside the first."""
    calling = replace(WANTS, make_before_break=make_before_break)
    pair = road(calling, replace(GIVES, unique=unique)).establish()
    (view,) = pair.a.endpoint.sas
    pair.command(pair.a, lambda endpoint: endpoint.reauthenticate(view.ike_id, pair.now))
    pair.settle()
    pair.drive()

    assert len(pair.a.all(IkeSaUp)) == 2
    assert vips(pair) == [FIRST]
    assert leased(pair) == {FIRST: ALICE}
    assert len(pair.a.all(VirtualIpReleased)) == (
        0 if make_before_break and unique is not Unique.REPLACE else 1
    )
    assert len(pair.a.children) == 1


def test_c70_a_second_host_with_the_same_identity_gets_an_address_of_its_own() -> None:
    """Even if it asks for that of the first one, from behind the same NAT (libreswan#166)."""
    pair = Pair(WANTS, GIVES, a_addr=HOME, b_config=EndpointConfig(pools=(V4, V6), connections=(GIVES,)))
    nat = NatBox(pair)
    pair.initiate()
    pair.settle()
    other = replace(WANTS, vips=(FIRST,))
    nat.rebind()  # the second host has ports of its own
    pair.restart(pair.a, EndpointConfig(connections=(other,)))
    no_contact(pair.a.endpoint)
    pair.initiate()
    pair.settle()

    assert vips(pair) == [SECOND]
    assert leased(pair) == {FIRST: ALICE, SECOND: ALICE}


def test_c31_a_lease_belongs_to_whom_eap_has_proved() -> None:
    """IDi says alice, EAP says carol; the request is in the first message, the reply in the last (2.16)."""
    calling = initiator(children=(CHILD_A,), vips=(ANY4,))
    answering = responder(children=(CHILD_B,), pools=("v4",))
    pair = road(calling, answering).establish()
    assert leased(pair) == {FIRST: CAROL}
    assert ["CP" in line for line in pair.a.ladder] == [False, True] + [False] * (len(pair.a.ladder) - 2)
    assert "CP" in pair.b.ladder[-1]
    assert pair.a.last(ChildSaUp).local_ts == (Selector.host(FIRST),)


def test_c31_a_peer_that_starts_afresh_gets_its_address_again() -> None:
    """INITIAL_CONTACT ends the old IKE SA first (RFC 7296 2.4)."""
    pair = road().establish()
    pair.restart(pair.a, EndpointConfig(connections=(WANTS,)))
    pair.initiate()
    pair.settle()
    assert vips(pair) == [FIRST]
    assert leased(pair) == {FIRST: ALICE}


def test_a_connection_cannot_name_a_pool_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="no pool v6"):
        EndpointConfig(pools=(V4,), connections=(GIVES,))


# -- helpers -----------------------------------------------------------------------------------------------


def no_contact(endpoint: IkeEndpoint) -> None:
    """Let it believe that it has another IKE SA with the peer, so that it does not say INITIAL_CONTACT."""
    endpoint._ctx.by_connection.setdefault("rw", {})[-1] = None  # type: ignore[assignment]
    endpoint._ctx.connected = lambda connection: None  # type: ignore[method-assign]


class Ask(Task):
    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self.answer: list[CpPayload] = []

    def build(self, sa: object, out: Outgoing, now: int) -> None:
        out.add(self._payload)

    def process(self, sa: object, received: Inbound, now: int) -> Step:
        self.answer += [each for each in received.message.payloads if isinstance(each, CpPayload)]
        return Step.DONE


def ask(pair: Pair, payload: Payload) -> list[CpPayload]:
    task = Ask(payload)
    sa = next(iter(pair.a.endpoint._ctx.sas.values()))
    sa.requests.submit(Job(ExchangeType.INFORMATIONAL, [task]), pair.now)
    pair.a.pump(pair.now)
    pair.settle()
    assert pair.a.all(MessageReceived)
    return task.answer
