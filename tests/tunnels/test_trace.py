"""Every IKE message is followed to where it ends."""

from __future__ import annotations

from sim.tunnels.trace import Passage
from sim.units import NS_PER_MS, NS_PER_S
from tests.scenario.base import TEXT
from tests.tunnels.lab import Lab

QUIET = ("events=[]", "traffic=[]", "checks=[]")


def passages(lab: Lab) -> list[Passage]:
    return lab.world.trace.passages


def test_each_message_has_its_sender_its_times_and_its_words() -> None:
    lab = Lab().up()
    assert [(p.node, p.end, p.exchange, p.response) for p in passages(lab)] == [
        ("moon", "sun", "IKE_SA_INIT", False), ("sun", "moon", "IKE_SA_INIT", True),
        ("moon", "sun", "IKE_AUTH", False), ("sun", "moon", "IKE_AUTH", True),
    ]  # fmt: skip
    assert [p.received_at - p.at for p in passages(lab)] == [10 * NS_PER_MS] * 4
    assert {p.connection for p in passages(lab)} == {"sites"}
    assert all(p.payloads.startswith("HDR") and p.ike_id == 1 for p in passages(lab))


def test_what_a_host_without_ike_refuses_is_lost_there() -> None:
    lab = Lab("connections={moon: {away: {remote_addrs: [10.1.0.10], psk: x, children: {c: {}}}}}")
    lab.stack("moon").endpoint.initiate("away", None, lab.now)
    lab.stack("moon").pump(lab.now)
    lab.run()
    (passage,) = passages(lab)
    assert (passage.end, passage.received_at) == ("alice", -1)
    assert "unreachable" in passage.lost


def test_what_a_nat_keeps_out_is_lost_there() -> None:
    lab = Lab(*QUIET, "duration=40 s", "tunnels.rw.mobike=false", text=TEXT)
    lab.run(500 * NS_PER_MS)
    lab.world.nodes["home"].nat.rebind(lab.now)  # type: ignore[attr-defined]
    moon = lab.stack("moon")
    moon.endpoint.check_liveness(1, lab.now)
    moon.pump(lab.now)
    lab.run()
    assert passages(lab)[-1].end == "home"
    assert passages(lab)[-1].lost


def test_keepalives_are_no_messages() -> None:
    lab = Lab(*QUIET, "duration=40 s", "tunnels.rw.keep_alive=1 s", text=TEXT)
    lab.run(10 * NS_PER_S)
    assert lab.stack("alice").endpoint.counters["keepalives sent"] > 5
    assert len(passages(lab)) == 4


def test_a_message_that_arrives_in_fragments_arrives_once() -> None:
    lab = Lab("links.1.mtu=200 B").up()
    assert [p.lost for p in passages(lab)] == [""] * 4
    assert all(p.arrived == (p.src, p.dst) for p in passages(lab))


def test_one_lost_fragment_is_the_whole_message() -> None:
    lab = Lab("links.1.mtu=100 B", "links.2.queue=1 packet", "links.2.rate=8 kbit/s")
    lab.stack("moon").endpoint.initiate("sites", None, lab.now)
    lab.stack("moon").pump(lab.now)
    lab.run(50 * NS_PER_S)
    first = passages(lab)[0]
    assert (first.end, first.received_at) == ("net", -1)
    assert first.lost
