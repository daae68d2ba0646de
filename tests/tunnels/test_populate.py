"""A policy whose SAs take their selectors from packets makes one for each flow (RFC 4301 4.4.1.2)."""

from __future__ import annotations

import pytest

from sim.net.packet import Packet
from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import dump, load_text
from sim.scenario.schema import Scenario
from sim.units import NS_PER_S
from sim.wire import ip, udp
from sim.wire.address import pack_address
from tests.tunnels.lab import ALICE, BOB, CHILD, SITES, Lab

ALL = f"{CHILD}.populate_from_packet=[all]"
OTHER = pack_address("10.1.0.11")


def test_each_flow_gets_an_sa_of_its_own() -> None:
    lab = Lab(ALL)
    for port in (1, 2, 3):
        send(lab, port)
    lab.run()
    assert selectors(lab) == [(f"10.1.0.10/32[17/{port}]", "10.2.0.10/32[17/9]") for port in (1, 2, 3)]
    assert arrived(lab) == 3
    send(lab, 2)
    lab.run()
    assert arrived(lab) == 4
    assert [pair.outbound.packets for pair in lab.stack("moon").engine.sad.values()] == [1, 2, 1]


def test_both_ends_hold_the_packets_selectors() -> None:
    lab = Lab(ALL)
    send(lab, 7)
    lab.run()
    (moon,), (sun,) = (lab.stack(name).engine.sad.values() for name in ("moon", "sun"))
    assert (sun.inbound.spec.remote_ts, sun.inbound.spec.local_ts) == (
        moon.outbound.spec.local_ts,
        moon.outbound.spec.remote_ts,
    )


def test_a_field_without_its_flag_is_the_policys() -> None:
    lab = Lab(f"{CHILD}.populate_from_packet=[remote_addr]")
    send(lab, 1)
    send(lab, 2)
    lab.run()
    assert selectors(lab) == [("10.1.0.0/16", "10.2.0.10/32")]


def test_the_policys_part_is_all_of_it() -> None:
    lab = Lab(f"{CHILD}.populate_from_packet=[remote_addr]", f"{CHILD}.local_ts=[10.1.0.0/24, 10.1.1.0/24]")
    send(lab, 1)
    lab.run()
    (pair,) = lab.stack("moon").engine.sad.values()
    assert [str(ts) for ts in pair.outbound.spec.local_ts] == ["10.1.0.0/24", "10.1.1.0/24"]
    assert [str(ts) for ts in pair.outbound.spec.remote_ts] == ["10.2.0.10/32"]


@pytest.mark.parametrize("make", ["true", "false"])
def test_flows_keep_their_sas_through_a_reauthentication(make: str) -> None:
    lab = Lab(ALL, f"tunnels.sites.make_before_break={make}")
    for port in (1, 2):
        send(lab, port)
    lab.run()
    stack = lab.stack("moon")
    stack.command("reauthenticate", "sites", None, lab.now)
    lab.run(10 * NS_PER_S)
    assert selectors(lab) == [(f"10.1.0.10/32[17/{port}]", "10.2.0.10/32[17/9]") for port in (1, 2)]


def test_protocol_alone_makes_one_sa_for_udp() -> None:
    lab = Lab(f"{CHILD}.populate_from_packet=[protocol]")
    send(lab, 1)
    lab.run()
    assert selectors(lab) == [("10.1.0.0/16[17/any]", "10.2.0.0/16[17/any]")]


def test_later_fragments_have_an_sa_of_their_own() -> None:
    """RFC 4301 7.2: ports that cannot be seen are OPAQUE, and never open an SA for all ports."""
    lab = Lab(ALL)
    later = ip.build(ALICE, BOB, 17, bytes(80), identification=3)
    later[6:8] = (5).to_bytes(2, "big")
    ip.write_checksum(later)
    lab.world.nodes["alice"].send(Packet(later, lab.now), lab.now)
    send(lab, 1)
    lab.run()
    assert selectors(lab) == [
        ("10.1.0.10/32[17/opaque]", "10.2.0.10/32[17/opaque]"),
        ("10.1.0.10/32[17/1]", "10.2.0.10/32[17/9]"),
    ]


def test_a_packet_of_another_flow_in_a_flows_sa_is_refused() -> None:
    """Row 93: inbound, the SA's selectors are those of its flow."""
    lab = Lab(ALL)
    send(lab, 1)
    lab.run()
    (pair,) = lab.stack("moon").engine.sad.values()
    foreign = pair.outbound.seal(datagram(2), lab.now)
    assert isinstance(foreign, bytearray)
    sun = lab.world.nodes["sun"]
    sun.receive(Packet(foreign, lab.now), sun.ports["wan"], lab.now)
    assert lab.drops("sun") == {"selector mismatch": 1}
    assert lab.stack("sun").xfrm == {"XfrmInNoPols": 1}


def test_a_responder_takes_the_packets_part_of_a_wider_offer() -> None:
    """An initiator without flags offers its packet first, then all that it allows (RFC 7296 2.9)."""
    lab = Lab(text=one_end("sun"))
    send(lab, 5)
    lab.run()
    assert selectors(lab) == [("10.1.0.10/32[17/5]", "10.2.0.10/32[17/9]")]
    assert arrived(lab) == 1


def test_a_responder_refuses_an_offer_without_a_packet() -> None:
    """RFC 7296 2.9: SINGLE_PAIR_REQUIRED, where no packet says for which pair."""
    lab = Lab(text=one_end("sun"))
    stack = lab.stack("moon")
    stack.endpoint.initiate("sites", None, lab.now)
    stack.pump(lab.now)
    lab.run()
    assert not stack.engine.sad
    assert [e.detail for e in lab.world.log if "SINGLE_PAIR_REQUIRED" in e.detail]


def test_a_flows_sa_is_rekeyed_as_it_is() -> None:
    lab = Lab(ALL, f"{CHILD}.rekey_time=3 s", f"{CHILD}.life_time=6 s", f"{CHILD}.rand_time=0 s")
    send(lab, 1)
    lab.run(4 * NS_PER_S)
    assert set(selectors(lab)) == {("10.1.0.10/32[17/1]", "10.2.0.10/32[17/9]")}
    assert len(lab.stack("moon").ledger.records[1].children) > 1
    send(lab, 1)
    lab.run()
    assert arrived(lab) == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("start=at once", "waits for packets"),
        ("close_action=start", "write trap"),
        ("populate_from_packet=[local_port]", "add `protocol`"),
        ("populate_from_packet=[port]", "populate_from_packet"),
    ],
)
def test_what_cannot_work_is_refused(override: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_text(SITES, "lab.yaml", [ALL, f"{CHILD}.{override}"])


def one_end(node: str) -> str:
    """The lab with the flags at one end alone."""
    plain = expand(load_text(SITES, "lab.yaml", [ALL])).plain()
    other = "moon" if node == "sun" else "sun"
    plain["connections"][other]["sites"]["children"]["lans"]["populate_from_packet"] = []
    return dump(Scenario.model_validate(plain))


def datagram(port: int) -> bytearray:
    return udp.build((ALICE, port), (BOB, 9), bytes(20))


def send(lab: Lab, port: int) -> None:
    lab.world.nodes["alice"].send(Packet(datagram(port), lab.now, lab.boxes["bob"], port), lab.now)


def arrived(lab: Lab) -> int:
    return len(lab.boxes["bob"].seqs)


def selectors(lab: Lab) -> list[tuple[str, str]]:
    found = []
    for pair in lab.stack("moon").engine.sad.values():
        (local,), (remote,) = pair.outbound.spec.local_ts, pair.outbound.spec.remote_ts
        found.append((str(local), str(remote)))
    return found
