"""Addresses change and a real NAT forgets, while pings run through a tunnel.

strongSwan's user-space ESP cannot move an SA, so it makes a new Child SA after UPDATE_SA_ADDRESSES. Between
two of our own peers nobody rekeys. In any case an SA's sequence number only grows (RFC 4303 2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from sim.ike.config import RetransmitPolicy
from sim.ike.events import IkeSaDown, MessageReceived, PathChanged
from sim.ipsec.sad import Pair
from sim.units import NS_PER_MS
from sim.wire.address import pack_address
from tests.interop.nat import forget
from tests.interop.netns import Lab, Namespace, until
from tests.interop.ours import Ours
from tests.interop.ping import Pings, replies, start_pinging, stop_pinging
from tests.interop.scene import INITIATOR, OUTSIDE, RESPONDER, ROLES, Role, Scene, connections, ground, set_up
from tests.interop.sniffer import Sniffer

INTERVAL = 0.05
AT_MOST_LOST = round(1 / INTERVAL)
"""Pings in a row, which is a second."""
PACKETS = 30
"""So many each way at least: ten before something happens and twenty after it."""
ANYWHERE = {"local": "%any"}
SECOND = "203.0.113.3"
SHORT = RetransmitPolicy((100 * NS_PER_MS,) * 20)

Numbers = dict[int, list[int]]

pytestmark = pytest.mark.peers


def test_strongswan_moves_and_we_follow(lab: Lab) -> None:
    scene = set_up(lab, "we respond", "masquerade", theirs=ANYWHERE)
    wire = Sniffer(scene.responder, "eth0")
    scene.establish()
    before = scene.ours.pair()

    pings = ping_over(scene, lambda: move(scene.initiator))

    assert scene.ours.received("N(UPDATE_SA_ADDRESSES)")
    assert scene.ours.events(PathChanged)
    assert_recovered(scene, pings)
    assert_rekeyed_once(before, scene.ours, wire.close())


def test_we_move_and_strongswan_follows(lab: Lab) -> None:
    scene = set_up(lab, "we initiate", "masquerade", ours=ANYWHERE)
    wire = Sniffer(scene.initiator, "eth0")
    scene.establish()
    before = scene.ours.pair()

    pings = ping_over(scene, lambda: move(scene.initiator))

    assert scene.ours.sent("N(UPDATE_SA_ADDRESSES)")
    assert scene.ours.sa().local[0] == bytes([192, 168, 1, 77])
    assert_recovered(scene, pings)
    assert_rekeyed_once(before, scene.ours, wire.close())


def test_we_follow_esp_from_a_new_port_of_the_nat(lab: Lab) -> None:
    """Nobody rekeys: SPIs stay and the sequence number goes on (RFC 4555 3.8)."""
    scene = set_up(lab, "we respond", "masquerade", random_ports=True)
    wire = Sniffer(scene.responder, "eth0")
    scene.establish()
    before = scene.ours.pair()
    port = before.outbound.spec.remote[1]

    pings = ping_over(scene, lambda: forget(router_of(scene)))

    assert scene.ours.pair().outbound.spec.remote[1] != port
    assert_recovered(scene, pings)
    assert_same_sa_goes_on(before, scene.ours, wire.close())


def test_we_find_the_way_back_through_a_nat_that_forgot_us(lab: Lab) -> None:
    """strongSwan's ESP does not follow, so our liveness check finds out (RFC 4555 3.8)."""
    ours = {"settings": {"dpd_delay": "200 ms"}}
    scene = set_up(lab, "we initiate", "masquerade", ours=ours, random_ports=True)
    wire = Sniffer(scene.initiator, "eth0")
    scene.establish()
    before = scene.ours.pair()

    pings = ping_over(scene, lambda: forget(router_of(scene)))

    assert scene.ours.sent("N(UPDATE_SA_ADDRESSES)")
    assert_recovered(scene, pings)
    assert_rekeyed_once(before, scene.ours, wire.close())


def test_we_follow_ourselves_with_the_same_sa(lab: Lab) -> None:
    """An address changes and a NAT forgets, but keys, SPIs and sequence numbers stay (RFC 4555 3.5)."""
    initiator, responder, router = ground(lab, "masquerade", random_ports=True)
    assert router is not None
    one, other = connections("masquerade", "aes128gcm16-prfsha256-x25519")
    answering = Ours(lab, responder, other)
    calling = Ours(lab, initiator, replace(one, local="%any", settings={"dpd_delay": "200 ms"}))
    wires = Sniffer(initiator, "eth0"), Sniffer(responder, "eth0")
    calling.initiate()
    assert calling.child().spi_in == answering.child().spi_out
    before = calling.pair(), answering.pair()
    for happens in (lambda: move(initiator), lambda: forget(router)):
        pings = ping_while(initiator, happens, lambda: f"{calling.story()}\n{answering.story()}")
        assert pings.longest_gap <= AT_MOST_LOST, pings

    assert calling.sent("N(UPDATE_SA_ADDRESSES)")
    assert answering.events(PathChanged)
    for wire, ours, was in zip(wires, (calling, answering), before, strict=True):
        assert not ours.events(IkeSaDown)
        assert_same_sa_goes_on(was, ours, wire.close())


def test_a_gateway_of_strongswan_s_is_found_at_its_other_address(lab: Lab) -> None:
    """The path to its first address breaks, and nobody is told: our liveness check finds the other (3.10)."""
    ours = {"local": "%any", "settings": {"dpd_delay": "200 ms"}}
    scene = set_up(lab, "we initiate", ours=ours, theirs=ANYWHERE, retransmit=SHORT)
    scene.responder.ip("address", "add", f"{SECOND}/24", "dev", "eth0")
    scene.establish()
    scene.ours.event(MessageReceived, lambda event: "N(ADDITIONAL_IP4_ADDRESS)" in event.payloads)

    pings = ping_over(scene, lambda: cut_off(scene.responder, RESPONDER))

    assert scene.ours.sa().remote[0] == pack_address(SECOND)
    assert scene.ours.sent("N(UPDATE_SA_ADDRESSES)")
    assert_recovered(scene, pings)


def test_our_gateway_tells_strongswan_its_other_address(lab: Lab) -> None:
    """The first one is gone: we may move alone, and strongSwan follows (RFC 4555 3.5)."""
    scene = set_up(lab, "we respond", ours=ANYWHERE)
    scene.responder.ip("address", "add", f"{SECOND}/24", "dev", "eth0")
    scene.establish()

    pings = ping_over(scene, lambda: lose_first(scene.responder, RESPONDER))

    assert scene.ours.sa().local[0] == pack_address(SECOND)
    assert scene.theirs.sa().remote[0] == SECOND
    assert_recovered(scene, pings)


@pytest.mark.parametrize("role", ROLES)
def test_an_initiator_goes_from_ipv4_to_ipv6(lab: Lab, role: Role) -> None:
    """It knows the responder's address there from ADDITIONAL_IP6_ADDRESS alone (RFC 4555 3.4)."""
    scene = set_up(lab, role, ours=ANYWHERE, theirs=ANYWHERE)
    for namespace, address in ((scene.initiator, "2001:db8::1"), (scene.responder, "2001:db8::2")):
        namespace.ip("address", "add", f"{address}/64", "dev", "eth0", "nodad")
    scene.establish()

    pings = ping_over(scene, lambda: lose_first(scene.initiator, INITIATOR["veth"]))

    assert len(scene.ours.sa().remote[0]) == len(scene.ours.sa().local[0]) == 16
    assert_recovered(scene, pings)


def cut_off(host: Namespace, address: str) -> None:
    """Nothing comes to an address or leaves from it, without a word."""
    rules = f"""table inet broken {{
        chain in {{ type filter hook input priority 0; ip daddr {address} drop; }}
        chain out {{ type filter hook output priority 0; ip saddr {address} drop; }}
    }}"""
    host.run("nft", "-f", "-", stdin=rules)


def lose_first(host: Namespace, address: str) -> None:
    """The IPv4 address that the interface has had from the beginning; others stay."""
    host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries")
    host.ip("address", "del", f"{address}/24", "dev", "eth0")


def ping_over(scene: Scene, happens: Callable[[], None]) -> Pings:
    """Ping from the initiator's network, let something happen in between and replies come again after it."""
    return ping_while(scene.initiator, happens, lambda: f"{scene.ours.story()}\n{scene.theirs.log()}")


def ping_while(source: Namespace, happens: Callable[[], None], story: Callable[[], str]) -> Pings:
    pinging = start_pinging(source, OUTSIDE, interval=INTERVAL)
    until(lambda: len(replies(pinging)) >= 10, pinging.output)
    happens()
    here = max(replies(pinging))
    until(
        lambda: len([seq for seq in replies(pinging) if seq > here + 2]) >= 20,
        lambda: f"no pings any more:\n{pinging.output()}\n{story()}",
    )
    return stop_pinging(pinging)


def move(host: Namespace) -> None:
    """Another address behind the same NAT."""
    host.move("eth0", "192.168.1.77/24", "192.168.1.1")


def router_of(scene: Scene) -> Namespace:
    assert scene.router is not None
    return scene.router


def assert_recovered(scene: Scene, pings: Pings) -> None:
    assert pings.longest_gap <= AT_MOST_LOST, pings
    assert not scene.ours.events(IkeSaDown)
    until(lambda: len(scene.ours.pairs()) == 1, scene.ours.story)
    assert len(scene.ours.sas()) == len(scene.theirs.sas()) == 1


def assert_same_sa_goes_on(before: Pair, ours: Ours, seen: Numbers) -> None:
    """The one SA that there was is there, and numbered what passed our interface from first to last."""
    after = ours.pair()
    assert after.inbound is before.inbound
    assert seen.keys() == {after.inbound.spi, after.outbound.spi}
    assert_only_grow(seen)
    sent = seen[after.outbound.spi]
    assert (sent[0], sent[-1]) == (1, after.outbound.seq)
    assert len(sent) >= PACKETS


def assert_rekeyed_once(before: Pair, ours: Ours, seen: Numbers) -> None:
    """strongSwan has made one SA more; the numbers of the first went on until then."""
    after = ours.pair()
    old, new = ({pair.inbound.spi, pair.outbound.spi} for pair in (before, after))
    assert seen.keys() == old | new
    assert not old & new
    assert_only_grow(seen)
    first, second = seen[before.outbound.spi], seen[after.outbound.spi]
    assert (first[0], second[0], second[-1]) == (1, 1, after.outbound.seq)
    assert first[-1] <= before.outbound.seq  # without an address the last ones could not leave
    assert len(first) + len(second) >= PACKETS


def assert_only_grow(seen: Numbers) -> None:
    for numbers in seen.values():
        assert all(one < next_one for one, next_one in pairwise(numbers)), numbers
