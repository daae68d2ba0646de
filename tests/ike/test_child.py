"""Child SAs: in IKE_AUTH, in CREATE_CHILD_SA, narrowed, refused (RFC 7296 1.2, 1.3.1, 2.9, 2.17)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.ike.config import ChildConfig, EndpointConfig
from sim.ike.constants import ExchangeType, NotifyType, ProtocolId
from sim.ike.context import Datagram
from sim.ike.events import ChildFailed, ChildSaDown, ChildSaUp, IkeSaDown, IkeSaUp, Reason
from sim.ike.identity import Identity
from sim.ike.message import parse_message
from sim.ike.payloads import NotifyPayload, Payload, TsPayload
from sim.ike.sa import IkeSa
from sim.ike.tasks.base import Job, Outgoing, Task
from sim.ike.tasks.child_initiate import InitiateChild
from sim.units import NS_PER_S
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.ike.pair import CONNECTION_A, CONNECTION_B, HOME, NAT, NET_A, NET_B, A, B, NatBox, Pair, esp

HOST_TO_HOST = ChildConfig("net", esp("aes128gcm16"), mode=Mode.TRANSPORT)
DYNAMIC_A = replace(NET_A, local_ts=())
DYNAMIC_B = replace(NET_B, remote_ts=())


def prefixes(*texts: str) -> tuple[Selector, ...]:
    return tuple(Selector.from_prefix(text) for text in texts)


def pair_of(a: ChildConfig, b: ChildConfig, **changes: object) -> Pair:
    return Pair(
        replace(CONNECTION_A, children=(a,)),
        replace(CONNECTION_B, children=(b,)),
        **changes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "suite", ["aes128gcm16", "aes256-sha256", "aes128-sha1", "chacha20poly1305", "aes128gcm16-esn"]
)
def test_c39_both_ends_hold_the_same_keys_crosswise(suite: str) -> None:
    pair = pair_of(replace(NET_A, esp_proposals=esp(suite)), replace(NET_B, esp_proposals=esp(suite)))
    pair.establish()

    (a,), (b,) = pair.a.children.values(), pair.b.children.values()
    assert (a.keys_in, a.keys_out) == (b.keys_out, b.keys_in)
    assert (a.spi_in, a.spi_out) == (b.spi_out, b.spi_in)
    assert (a.local_ts, a.remote_ts) == (b.remote_ts, b.local_ts)
    assert a.suite.encryption is b.suite.encryption
    assert a.esn is b.esn is ("esn" in suite)


def test_c43_the_responder_can_receive_before_its_answer_leaves() -> None:
    """Events are applied before datagrams are sent (RFC 7296 2.8)."""
    pair = Pair()
    installed: list[bool] = []
    transmit = pair.b.transmit

    def watch(datagram: Datagram, now: int) -> None:
        installed.append(bool(pair.b.children))
        transmit(datagram, now)

    pair.b.transmit = watch  # type: ignore[method-assign]
    pair.establish()

    assert installed == [False, True]  # IKE_SA_INIT, IKE_AUTH


def test_c35_selectors_are_narrowed_and_never_widened() -> None:
    a = replace(NET_A, remote_ts=prefixes("10.2.0.0/16", "10.9.0.0/16"))
    b = replace(NET_B, local_ts=prefixes("10.2.7.0/24"), remote_ts=prefixes("10.0.0.0/8"))
    pair = pair_of(a, b)
    pair.establish()

    (child,) = pair.a.children.values()
    assert child.remote_ts == prefixes("10.2.7.0/24")
    assert child.local_ts == prefixes("10.1.0.0/16")


def test_c35_the_selectors_of_the_packet_that_asked_come_first() -> None:
    packet = (
        Selector.host(bytes((10, 1, 0, 5)), 17, (5000, 5000)),
        Selector.host(bytes((10, 2, 0, 9)), 17, (53, 53)),
    )
    pair = Pair()
    pair.command(pair.a, lambda end: end.acquire("rw", "net", packet, 0))
    pair.settle()

    (sa,) = pair.b.endpoint._ctx.sas.values()
    whole = sa.channel.decode(parse_message(pair.octets("a")[1]), pair.now)
    assert whole is not None
    asked = whole.find_all(TsPayload)
    assert [ts.selectors for ts in asked] == [(packet[0], *NET_A.local_ts), (packet[1], *NET_A.remote_ts)]
    (child,) = pair.a.children.values()
    assert (child.local_ts, child.remote_ts) == (NET_A.local_ts, NET_A.remote_ts)  # policy allows the whole


def test_c35_a_packet_from_an_address_before_a_move_does_not_narrow_the_sa_to_itself() -> None:
    """A dynamic selector stands for that address, too: policy is proposed as well (RFC 7296 2.9)."""
    old = bytes((192, 168, 1, 99))
    packet = (Selector.host(old, 17, (5000, 5000)), Selector.host(bytes((10, 2, 0, 9)), 17, (53, 53)))
    pair = Pair(
        replace(CONNECTION_A, children=(replace(NET_A, local_ts=()),)),
        replace(CONNECTION_B, children=(replace(NET_B, remote_ts=()),)),
        a_addr=HOME,
    )
    NatBox(pair)
    pair.command(pair.a, lambda end: end.acquire("rw", "net", packet, 0))
    pair.settle()

    (sa,) = pair.b.endpoint._ctx.sas.values()
    whole = sa.channel.decode(parse_message(pair.octets("a")[1]), pair.now)
    assert whole is not None
    asked = whole.find_all(TsPayload)
    assert asked[0].selectors == (packet[0], Selector.host(old), Selector.host(HOME))
    (child,) = pair.a.children.values()
    assert (child.local_ts, child.remote_ts) == ((Selector.host(old),), NET_A.remote_ts)


def test_c35_the_child_that_allows_the_first_selectors_is_chosen() -> None:
    """RFC 7296 2.9: if policy accepts the packet's selectors, the answer MUST include them."""
    first = replace(NET_B, name="first", local_ts=prefixes("10.2.1.0/24"))
    second = replace(NET_B, name="second", local_ts=prefixes("10.2.2.0/24"))
    packet = (Selector.host(bytes((10, 1, 0, 5))), Selector.host(bytes((10, 2, 2, 9))))
    pair = Pair(b=replace(CONNECTION_B, children=(first, second)))
    pair.command(pair.a, lambda end: end.acquire("rw", "net", packet, 0))
    pair.settle()

    (child,) = pair.a.children.values()
    assert child.remote_ts == prefixes("10.2.2.0/24")
    assert pair.b.last(ChildSaUp).child == "second"
    assert "N(ADDITIONAL_TS_POSSIBLE)" in pair.b.ladder[-1]


def test_c35_additional_selectors_are_announced_only_where_there_are_some() -> None:
    """A second configured child that serves nothing more than the first is no reason."""
    copy = replace(NET_B, name="copy", local_ts=prefixes("10.2.1.0/24"))
    pair = Pair(b=replace(CONNECTION_B, children=(NET_B, copy))).establish()
    assert "ADDITIONAL_TS_POSSIBLE" not in pair.b.ladder[-1]


def test_a_packet_for_a_peer_without_an_address_is_told_why_nothing_happens() -> None:
    pair = Pair()
    packet = (Selector.host(bytes((10, 2, 0, 9))), Selector.host(bytes((10, 1, 0, 5))))
    pair.command(pair.b, lambda end: end.acquire("rw", "net", packet, 0))

    assert pair.b.last(ChildFailed).reason is Reason.NO_ADDRESS
    assert pair.sent == []


def test_c35_c28_unacceptable_selectors_keep_the_ike_sa() -> None:
    pair = pair_of(NET_A, replace(NET_B, local_ts=prefixes("10.7.0.0/16")))
    pair.initiate()
    pair.settle()
    # a -> b  {IDi, AUTH, SAi2, TSi, TSr};  b -> a  {IDr, AUTH, N(TS_UNACCEPTABLE)}

    assert pair.up
    assert "N(TS_UNACCEPTABLE)" in pair.b.ladder[-1]
    assert pair.a.children == pair.b.children == {}
    failed = pair.a.last(ChildFailed)
    assert (failed.child, failed.reason) == ("net", Reason.TS_UNACCEPTABLE)
    assert failed.text == (
        "198.51.100.1[4500] refused it: TS_UNACCEPTABLE; "
        "we offered aes128gcm16 for 10.1.0.0/16 === 10.2.0.0/16"
    )
    assert pair.b.last(ChildFailed).text == (
        "no traffic selectors in common: alice@example.org offered 10.1.0.0/16 === 10.2.0.0/16; "
        "we allow 10.1.0.0/16 === 10.7.0.0/16"
    )


def test_c28_no_common_esp_suite_keeps_the_ike_sa() -> None:
    pair = pair_of(NET_A, replace(NET_B, esp_proposals=esp("aes256-sha256")))
    pair.initiate()
    pair.settle()

    assert pair.up
    assert not pair.a.all(IkeSaDown)
    assert pair.a.last(ChildFailed).reason is Reason.NO_PROPOSAL_CHOSEN
    assert "alice@example.org offered aes128gcm16; we accept aes256-sha256" in pair.b.last(ChildFailed).text


def test_c38_transport_mode_is_echoed() -> None:
    pair = pair_of(HOST_TO_HOST, HOST_TO_HOST)
    pair.establish()

    assert "N(USE_TRANSPORT_MODE)" in pair.b.ladder[-1]
    (a,), (b,) = pair.a.children.values(), pair.b.children.values()
    assert a.mode is b.mode is Mode.TRANSPORT
    assert (a.local_ts, a.remote_ts) == ((Selector.host(A),), (Selector.host(B),))


def test_c38_tunnel_mode_results_if_transport_mode_is_not_echoed() -> None:
    pair = pair_of(HOST_TO_HOST, replace(HOST_TO_HOST, mode=Mode.TUNNEL))
    pair.establish()

    (a,), (b,) = pair.a.children.values(), pair.b.children.values()
    assert a.mode is b.mode is Mode.TUNNEL


def test_dynamic_selectors_are_the_addresses_of_the_ike_sa() -> None:
    pair = pair_of(DYNAMIC_A, DYNAMIC_B)
    pair.establish()

    (child,) = pair.b.children.values()
    assert child.remote_ts == (Selector.host(A),)


def test_a_dynamic_peer_behind_a_nat_keeps_its_private_address() -> None:
    pair = pair_of(DYNAMIC_A, DYNAMIC_B, a_addr=HOME)
    NatBox(pair)
    pair.establish()

    (child,) = pair.b.children.values()
    assert child.remote_ts == (Selector.host(HOME),)
    assert child.remote == (NAT, 40001)


def test_two_peers_cannot_use_the_same_private_address() -> None:
    """RFC 3948 5.1: the second one is refused, and keeps an IKE SA without a Child SA."""
    anyone = replace(CONNECTION_B, remote_id=None, children=(DYNAMIC_B,))
    pair = Pair(replace(CONNECTION_A, children=(DYNAMIC_A,)), anyone, a_addr=HOME)
    NatBox(pair)
    pair.establish()
    carol = replace(CONNECTION_A, local_id=Identity.parse("carol"), children=(DYNAMIC_A,))
    pair.restart(pair.a, EndpointConfig(connections=(carol,)))
    NatBox(pair, first_port=50000)
    pair.initiate()
    pair.settle()

    assert pair.a.last(IkeSaUp).local_id == "carol"
    assert pair.a.last(ChildFailed).reason is Reason.TS_UNACCEPTABLE
    assert len(pair.b.children) == 1


def test_other_children_follow_in_exchanges_of_their_own() -> None:
    other_a = replace(
        NET_A, name="dmz", remote_ts=prefixes("10.3.0.0/16"), esp_proposals=esp("aes128gcm16-x25519")
    )
    other_b = replace(
        NET_B, name="dmz", local_ts=prefixes("10.3.0.0/16"), esp_proposals=esp("aes128gcm16-x25519")
    )
    pair = Pair(
        replace(CONNECTION_A, children=(NET_A, other_a)), replace(CONNECTION_B, children=(NET_B, other_b))
    )
    pair.initiate(None)
    pair.settle()
    # IKE_SA_INIT, IKE_AUTH {... SAi2, TSi, TSr}, CREATE_CHILD_SA {SA, Ni, KEi, TSi, TSr}

    assert pair.a.ladder[-1] == "HDR, SK {SAi, Ni, KEi, TSi, TSr}"
    assert pair.b.ladder[-1] == "HDR, SK {SAr, Nr, KEr, TSi, TSr}"
    assert [child.child for child in pair.b.children.values()] == ["net", "dmz"]
    a, b = pair.a.last(ChildSaUp), pair.b.last(ChildSaUp)
    assert (a.keys_in, a.keys_out) == (b.keys_out, b.keys_in)


def test_c40_a_wrong_group_for_a_child_is_corrected() -> None:
    """CREATE_CHILD_SA's INVALID_KE_PAYLOAD (RFC 7296 1.3.1)."""
    a = replace(NET_A, name="dmz", esp_proposals=esp("aes128gcm16-modp2048-x25519"))
    b = replace(NET_B, name="dmz", esp_proposals=esp("aes128gcm16-x25519"))
    pair = Pair(
        replace(CONNECTION_A, children=(NET_A, a)),
        replace(CONNECTION_B, children=(NET_B, b)),
    )
    pair.establish()
    pair.drop(0)
    pair.command(pair.a, lambda end: end.initiate("rw", "dmz", pair.now))
    pair.settle()

    assert "HDR, SK {N(INVALID_KE_PAYLOAD)}" in pair.b.ladder
    assert len(pair.a.children) == 2
    assert {c.spi_out for c in pair.a.children.values()} == set(pair.b.children)


def test_acquire_creates_a_child_on_an_ike_sa_that_is_up() -> None:
    pair = Pair().establish()
    (spi,) = pair.a.children
    pair.command(pair.a, lambda end: end.delete_child(spi, pair.now))
    pair.settle()
    packet = (Selector.host(bytes((10, 1, 0, 5))), Selector.host(bytes((10, 2, 0, 9))))
    for _ in range(3):  # packets go on asking
        pair.command(pair.a, lambda end: end.acquire("rw", "net", packet, pair.now))
    pair.settle()

    assert len(pair.a.all(IkeSaUp)) == 1
    assert len(pair.a.children) == len(pair.b.children) == 1
    assert pair.a.ladder[-1] == "HDR, SK {SAi, Ni, TSi, TSr}"


def test_acquire_while_connecting_adds_nothing() -> None:
    pair = Pair()
    packet = (Selector.host(bytes((10, 1, 0, 5))), Selector.host(bytes((10, 2, 0, 9))))
    for _ in range(3):
        pair.command(pair.a, lambda end: end.acquire("rw", "net", packet, 0))
    pair.settle()

    assert len(pair.a.endpoint.sas) == len(pair.b.endpoint.sas) == 1
    assert len(pair.a.children) == 1


@pytest.mark.parametrize("suite", ["aes128gcm16", "aes128gcm16-x25519"])
def test_c41_c43_a_child_is_rekeyed_when_the_peer_asks(suite: str) -> None:
    """Both pairs of SAs are there until the peer deletes the old one."""
    pair = pair_of(
        replace(NET_A, esp_proposals=esp(suite)), replace(NET_B, esp_proposals=esp(suite))
    ).establish()
    (old,) = pair.a.children
    rekey(pair, old)
    # a -> b  {N(REKEY_SA), SA, Ni, [KEi,] TSi, TSr};  b -> a  {SA, Nr, [KEr,] TSi, TSr};  a -> b  {D}

    assert len(pair.b.children) == len(pair.a.children) == 2
    a, b = pair.a.last(ChildSaUp), pair.b.last(ChildSaUp)
    assert (a.keys_in, a.keys_out, a.spi_in) == (b.keys_out, b.keys_in, b.spi_out)
    pair.command(pair.a, lambda end: end.delete_child(old, pair.now))
    pair.settle()
    assert set(pair.a.children) == {a.spi_in}
    assert set(pair.b.children) == {b.spi_in}


def test_c46_rekeying_a_child_that_is_gone_is_refused_by_name() -> None:
    pair = Pair().establish()
    rekey(pair, 4711)

    assert pair.b.ladder[-1] == "HDR, SK {N(CHILD_SA_NOT_FOUND)}"
    assert len(pair.b.children) == 1


def test_c50_rekeying_a_child_that_is_being_deleted_must_wait() -> None:
    pair = Pair().establish()
    (old,), (other,) = pair.a.children, pair.b.children
    pair.drop(1, "b")
    pair.command(pair.b, lambda end: end.delete_child(other, pair.now))
    rekey(pair, old)

    assert pair.b.ladder[-1] == "HDR, SK {N(TEMPORARY_FAILURE)}"


def test_a_child_can_be_deleted_and_made_again() -> None:
    pair = Pair().establish()
    for _ in range(5):
        (spi,) = pair.a.children
        pair.command(pair.a, lambda end, spi=spi: end.delete_child(spi, pair.now))  # type: ignore[misc]
        pair.settle()
        assert pair.b.last(ChildSaDown).reason is Reason.DELETED_BY_PEER
        pair.command(pair.a, lambda end: end.initiate("rw", "net", pair.now))
        pair.settle()
    pair.drive(NS_PER_S)

    assert len(pair.a.children) == len(pair.b.children) == 1
    assert pair.b.endpoint.next_timer() is None


class Ask(Task):
    def __init__(self, payloads: list[Payload]) -> None:
        self._payloads = payloads

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(*self._payloads)


class Rekey(InitiateChild):
    """A rekeying as a peer would start it."""

    def __init__(self, config: ChildConfig, spi: int) -> None:
        super().__init__(ExchangeType.CREATE_CHILD_SA, config)
        self._rekeyed = spi.to_bytes(4, "big")

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(NotifyPayload(NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=self._rekeyed))
        super().build(sa, out, now)


def ask(pair: Pair, payloads: list[Payload]) -> None:
    submit(pair, Ask(payloads))


def rekey(pair: Pair, spi: int) -> None:
    submit(pair, Rekey(pair.a.endpoint.config.connections[0].children[0], spi))


def submit(pair: Pair, task: Task) -> None:
    sa = next(iter(pair.a.endpoint._ctx.sas.values()))
    sa.requests.submit(Job(ExchangeType.CREATE_CHILD_SA, [task]), pair.now)
    pair.a.pump(pair.now)
    pair.settle()
