"""What is remembered of SAs, the dead ones too."""

from __future__ import annotations

from sim.ike.events import IkeSaDown, MessageSent, Reason
from sim.tunnels.driver import RETRY_AFTER
from sim.tunnels.ledger import IkeRecord, Ledger
from sim.units import NS_PER_MS, NS_PER_S
from tests.tunnels.lab import CHILD, MOON, SUN, Lab
from tests.tunnels.test_mobility import LTE, road


def test_an_sa_is_recorded_with_what_both_ends_agree_on() -> None:
    lab = Lab().up()
    moon, sun = record(lab, "moon"), record(lab, "sun")
    assert (moon.state, moon.connection, moon.initiator) == ("established", "sites", True)
    assert (sun.state, sun.connection, sun.initiator) == ("established", "sites", False)
    assert (moon.spi_i, moon.spi_r) == (sun.spi_i, sun.spi_r)
    assert moon.proposal == sun.proposal == "aes128gcm16-prfsha256-x25519"
    assert (moon.local, moon.remote) == (sun.remote, sun.local) == ((MOON, 4500), (SUN, 4500))
    assert sun.established_at < moon.established_at, "the responder is first by half a round trip"
    assert moon.established_at - sun.established_at == 10 * NS_PER_MS
    assert (moon.sent, moon.received, moon.retransmits) == (sun.received, sun.sent, 0) == (2, 2, 0)


def test_the_counters_of_a_living_sa_are_those_of_now() -> None:
    lab = Lab().up()
    lab.send(size=300)
    lab.run()
    (moon,), (sun,) = (record(lab, name).children.values() for name in ("moon", "sun"))
    assert (moon.packets_out, moon.bytes_out, moon.packets_in) == (1, 300, 0)
    assert (sun.packets_in, sun.bytes_in, sun.packets_out) == (1, 300, 0)
    assert (moon.spi_in, moon.spi_out) == (sun.spi_out, sun.spi_in)
    lab.send(size=300)
    lab.run()
    assert next(iter(record(lab, "sun").children.values())).packets_in == 2


def test_a_deleted_sa_keeps_its_last_counters_and_its_reason() -> None:
    lab = Lab().up()
    lab.send(size=300)
    lab.run()
    lab.stack("moon").endpoint.delete("sites", lab.now)
    lab.stack("moon").pump(lab.now)
    ended = lab.now
    lab.run()
    moon, sun = record(lab, "moon"), record(lab, "sun")
    assert (moon.state, moon.reason, moon.ended_at) == ("closed", Reason.DELETED, ended)
    assert (sun.state, sun.reason, sun.ended_at) == ("closed", Reason.DELETED_BY_PEER, ended + 10 * NS_PER_MS)
    (child,) = sun.children.values()
    assert (child.state, child.packets_in, child.bytes_in) == ("deleted", 1, 300)


def test_an_sa_that_never_came_up_has_failed_not_closed() -> None:
    ledger = Ledger()
    ledger.enter(IkeSaDown(7, "sites", True, Reason.TIMEOUT, "nobody there"), None, NS_PER_S)
    entry = ledger.records[7]
    assert (entry.state, entry.connection, entry.text) == ("failed", "sites", "nobody there")
    assert (entry.established_at, entry.ended_at) == (-1, NS_PER_S)


def test_every_attempt_has_a_record_of_its_own() -> None:
    lab = Lab("tunnels.sites.auth={psk: a, local_id: moon, remote_id: sun, responder: {psk: b}}")
    for _ in range(3):
        lab.send()
        lab.run(RETRY_AFTER + NS_PER_S)
    records = list(lab.stack("moon").ledger.records.values())
    assert [entry.reason for entry in records] == [Reason.AUTHENTICATION_FAILED] * 3
    assert len({entry.spi_i for entry in records}) == 3


def test_retransmissions_are_counted() -> None:
    lab = Lab(
        "links.1.loss={up: 100 %, down: 0 %}", f"{CHILD}.start=at once", "tunnels.sites.retransmit=iked"
    )
    lab.run(7 * NS_PER_S)  # sent at 0, 2 and 6 s
    entry = record(lab, "moon")
    assert (entry.sent, entry.retransmits, entry.received) == (3, 2, 0)
    assert (entry.state, entry.local, entry.remote) == ("connecting", (MOON, 500), (SUN, 500))


def test_a_move_is_recorded() -> None:
    lab = road()
    assert record(lab, "alice").encap
    assert record(lab, "sun").nat_remote
    lab.world.ports["alice:wlan"].set_up(False)
    lab.run()
    for name in ("alice", "sun"):
        entry = record(lab, name)
        assert (entry.nat_local, entry.nat_remote, entry.encap) == (False, False, False)
        assert [child.encap for child in entry.children.values()] == [False]
    assert record(lab, "alice").local == record(lab, "sun").remote == (LTE, 4500)


def test_a_bounded_ledger_forgets_the_oldest_sas_that_ended_and_never_takes_them_up_again() -> None:
    ledger = Ledger(keep=2)
    for ike_id in range(1, 6):
        ledger.enter(IkeSaDown(ike_id, "sites", True, Reason.TIMEOUT, ""), None, 0)
    ledger.enter(MessageSent(6, "IKE_SA_INIT", 0, False, "HDR", 1, (MOON, 500), (SUN, 500), 0), None, 0)
    ledger.enter(IkeSaDown(1, "sites", True, Reason.TIMEOUT, "a late event of what is forgotten"), None, 0)
    assert list(ledger.records) == [4, 5, 6]


def record(lab: Lab, name: str) -> IkeRecord:
    """The newest of a node."""
    stack = lab.stack(name)
    return list(stack.ledger.settle(stack.engine.sad.get))[-1]
