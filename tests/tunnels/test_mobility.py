"""A moving host: the SAs go with it, and nothing of them begins anew (RFC 4555 3.5, RFC 7296 2.23)."""

from __future__ import annotations

import pytest

from sim.ike.events import Event, PathChanged, Reason
from sim.net.nat import NatBox
from sim.net.packet import Packet
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import udp
from sim.wire.address import pack_address
from tests.tunnels.lab import ALICE, BOB, Lab

WLAN, LTE = pack_address("192.168.1.10"), pack_address("203.0.113.77")
NAT, SUN = pack_address("198.18.0.10"), pack_address("198.51.100.1")
ROAD = """\
name: road
duration: 100 s
nodes:
  alice: {kind: host, interfaces: {wlan: 192.168.1.10/24, lte: 203.0.113.77/24}}
  home: {kind: nat, interfaces: {lan: 192.168.1.1/24, wan: 198.18.0.10/24}}
  core: {kind: router, interfaces: {home: 198.18.0.1/24, cell: 203.0.113.1/24, sun: 198.51.100.254/24}}
  sun: {kind: gateway, interfaces: {wan: 198.51.100.1/24, lan: 10.2.0.1/16}}
  bob: {kind: host, interfaces: {eth: 10.2.0.10/16}}
links:
  - {ends: [alice:wlan, home:lan], delay: 2 ms}
  - {ends: [alice:lte, core:cell], delay: 20 ms}
  - {ends: [home:wan, core:home], delay: 5 ms}
  - {ends: [core:sun, sun:wan], delay: 1 ms}
  - {ends: [sun:lan, bob:eth], delay: 1 ms}
tunnels:
  rw:
    initiator: alice
    responder: sun
    auth: {psk: secret}
    children:
      net: {remote_ts: [10.2.0.0/16], start: trap}
"""


def test_after_a_move_spis_numbers_and_counters_continue() -> None:
    lab = road()
    talk(lab, 5)
    before = {name: sa(lab, name) for name in ("alice", "sun")}
    ports = lab.world.ports
    ports["alice:wlan"].set_up(False)
    lab.run()
    ear = lab.listen("alice:lte", "sun:wan")
    talk(lab, 5)

    for name in ("alice", "sun"):
        assert sa(lab, name) == after(before[name], 5), name
    assert lab.boxes["bob"].seqs == list(range(0, 20, 2))
    assert lab.boxes["alice"].seqs == list(range(1, 20, 2))
    sent = [int.from_bytes(seen.data[24:28], "big") for seen in ear.seen if seen.outbound]
    assert sorted(sent) == sorted(2 * list(range(6, 11))), "plain ESP, whose numbers go on from 5"


@pytest.mark.parametrize("mobike", ["true", "false"])
@pytest.mark.parametrize("after_ms", [1, 20, 25])
def test_what_waits_for_an_sa_outlives_a_move_while_it_comes_up(mobike: str, after_ms: int) -> None:
    """IKE_SA_INIT and IKE_AUTH take 16 ms each; starting afresh from the new address is no failure."""
    child = "tunnels.rw.children.net.local_ts=[192.168.1.10/32]"
    lab = Lab(child, f"tunnels.rw.mobike={mobike}", "tunnels.rw.auth.local_id=alice", text=ROAD)
    lab.send(WLAN, BOB)
    lab.run(after_ms * NS_PER_MS)
    lab.world.ports["alice:wlan"].set_up(False)
    lab.run()
    lab.send(WLAN, BOB)
    lab.send(BOB, WLAN)
    lab.run()
    assert lab.boxes["bob"].seqs[-1] == 1
    assert lab.boxes["alice"].seqs == [2]
    assert lab.drops("alice").get("no SA: MOVED") is None
    spec = lab.stack("sun").engine.sad
    assert {pair.outbound.spec.remote[0] for pair in spec.values()} == {LTE}


def test_the_path_reaches_the_data_plane_with_or_without_a_nat() -> None:
    lab = road()
    spec = lab.stack("alice").engine.sad
    ((_, before, _),) = spec.values()
    assert (before.spec.local, before.spec.remote, before.spec.encap) == ((WLAN, 4500), (SUN, 4500), True)
    lab.world.ports["alice:wlan"].set_up(False)
    lab.run()
    ((_, after, _),) = spec.values()
    assert after is before
    assert (after.spec.local, after.spec.encap) == ((LTE, 4500), False)
    ((_, far, _),) = lab.stack("sun").engine.sad.values()
    assert (far.spec.remote, far.spec.encap) == ((LTE, 4500), False)


def test_the_data_plane_moves_before_the_event_is_seen() -> None:
    lab = road()
    alice = lab.stack("alice")
    seen: list[tuple[bytes, bytes]] = []

    def observe(node: str, event: Event, now: int) -> None:
        if isinstance(event, PathChanged):
            ((_, outbound, _),) = alice.engine.sad.values()
            seen.append((outbound.spec.local[0], event.local[0]))

    alice._observe = observe
    lab.world.ports["alice:wlan"].set_up(False)
    lab.run()
    assert seen
    assert all(local == told == LTE for local, told in seen)


def test_moving_back_continues_too() -> None:
    lab = road()
    lab.world.ports["alice:wlan"].set_up(False)
    lab.run()
    lab.world.ports["alice:wlan"].set_up(True)
    lab.world.ports["alice:lte"].set_up(False)
    lab.run()
    talk(lab, 3)
    ((_, outbound, _),) = lab.stack("alice").engine.sad.values()
    assert (outbound.spec.local[0], outbound.spec.encap, outbound.seq) == (WLAN, True, 3)
    assert len([e for e in lab.world.log if e.event == "child up"]) == 2, "one for each end, and no more"


def test_a_rebinding_of_the_nat_is_repaired_by_the_next_esp_packet() -> None:
    """RFC 7296 2.23: the gateway follows an authentic packet; SPIs, window and counters stay."""
    lab = road()
    talk(lab, 3)
    before = sa(lab, "sun")
    peer = remote(lab, "sun")
    home = lab.world.nodes["home"]
    assert isinstance(home, NatBox)
    home.nat.rebind(lab.now)
    answered = lab.send(WLAN, BOB)
    lab.run()
    moved = remote(lab, "sun")
    assert moved[0] == peer[0] == NAT
    assert moved[1] != peer[1]
    lab.send(BOB, WLAN)
    lab.run()
    assert lab.boxes["bob"].seqs[-1] == answered
    assert lab.boxes["alice"].seqs[-1] == answered + 1
    assert sa(lab, "sun") == after(before, 1)


def test_a_replayed_packet_from_elsewhere_moves_nothing() -> None:
    """Only what is authentic and newer than all before moves the peer (RFC 7296 2.23)."""
    lab = road()
    ear = lab.listen("sun:wan")
    talk(lab, 2)
    peer, log = remote(lab, "sun"), len(lab.world.log)
    esp = next(seen for seen in ear.seen if seen.is_esp and not seen.outbound)
    replay = udp.build((pack_address("203.0.113.66"), 666), (SUN, 4500), esp.data[28:])
    sun = lab.world.nodes["sun"]
    sun.receive(Packet(replay, lab.now), sun.ports["wan"], lab.now)
    lab.run()
    assert remote(lab, "sun") == peer
    assert lab.drops("sun") == {"replayed": 1}
    assert len(lab.world.log) == log


def test_traffic_of_a_new_address_gets_an_sa_of_its_own() -> None:
    """alice's SA is for the address that she had; a socket bound later has another (RFC 7296 2.9)."""
    lab = road()
    lab.world.ports["alice:wlan"].set_up(False)
    lab.run()
    ear = lab.listen("alice:lte")
    lab.send(LTE, BOB)
    lab.run()
    assert ear.clear == []
    assert lab.boxes["bob"].seqs == [0]
    assert len(lab.stack("alice").engine.sad) == len(lab.stack("sun").engine.sad) == 2


def test_without_any_address_the_sa_waits_for_one() -> None:
    lab = road()
    lab.world.ports["alice:wlan"].set_up(False)
    lab.world.ports["alice:lte"].set_up(False)
    lab.run(3 * NS_PER_S)
    lab.world.ports["alice:lte"].set_up(True)
    lab.run()
    talk(lab, 2)
    assert lab.boxes["bob"].seqs == [0, 2]
    assert remote(lab, "sun") == (LTE, 4500)


def test_without_mobike_nothing_leaves_from_an_address_that_the_host_has_left() -> None:
    """The SA stays where it was; no NAT sees its packets on the other network, as with EADDRNOTAVAIL."""
    lab = Lab("tunnels.rw.mobike=false", "tunnels.rw.keep_alive=1 s", text=ROAD).up()
    talk(lab, 2)
    lab.world.ports["alice:wlan"].set_up(False)
    ear = lab.listen("alice:lte")
    stack = lab.stack("alice")
    stack.endpoint.check_liveness(1, lab.now)
    stack.pump(lab.now)
    talk(lab, 3)
    lab.run(3 * NS_PER_S)
    assert not [seen for seen in ear.seen if seen.outbound]
    assert lab.boxes["bob"].seqs == [0, 2]
    assert (
        lab.drops("alice")["its outer address is no longer ours"] >= 3 + 1 + 2
    )  # ESP, the check, keepalives

    lab.world.ports["alice:wlan"].set_up(True)
    lab.run(10 * NS_PER_S)
    talk(lab, 1)
    assert lab.boxes["bob"].seqs == [0, 2, 10], "the address is back, and so is the SA"


@pytest.mark.parametrize(("identity", "reasons"), [("alice", [Reason.REPLACED]), ("", [])])
def test_without_mobike_a_peer_that_starts_afresh_ends_what_it_left_behind(
    identity: str, reasons: list[Reason]
) -> None:
    """INITIAL_CONTACT is about one identity (RFC 7296 2.4); where that is the address, it is another now."""
    named = [f"tunnels.rw.auth.local_id={identity}"] if identity else []
    lab = Lab("tunnels.rw.mobike=false", "tunnels.rw.retransmit=libreswan", *named, text=ROAD).up()
    lab.world.ports["alice:wlan"].set_up(False)
    stack = lab.stack("alice")
    stack.endpoint.check_liveness(1, lab.now)
    stack.pump(lab.now)
    lab.run(40 * NS_PER_S)
    lab.send(LTE, BOB)
    lab.run(2 * NS_PER_S)

    records = lab.stack("sun").ledger.records.values()
    assert [record.reason for record in records if record.state == "closed"] == reasons
    assert len([record for record in records if record.state == "established"]) == 2 - len(reasons)
    assert len(lab.boxes["bob"].seqs) == 1


@pytest.mark.parametrize("gateway", ["moon", "sun"])
def test_a_gateway_that_loses_its_way_out_waits_for_it(gateway: str) -> None:
    """Its LAN address leads to nobody; RFC 4555 3.5 is about addresses that do."""
    lab = Lab().up()
    wan = lab.world.ports[f"{gateway}:wan"]
    wan.set_up(False)
    lab.run()
    wan.set_up(True)
    lab.run()
    lab.send(ALICE, BOB)
    lab.send(BOB, ALICE)
    lab.run()
    assert (lab.boxes["bob"].seqs, lab.boxes["alice"].seqs) == ([0], [1])
    assert not [entry for entry in lab.world.log if entry.event == "path changed"]


def road() -> Lab:
    """Up over the WLAN, through the NAT."""
    return Lab(text=ROAD).up()


def talk(lab: Lab, count: int) -> None:
    """So many packets in both directions."""
    for _ in range(count):
        lab.send(WLAN, BOB)
        lab.send(BOB, WLAN)
        lab.run(100 * NS_PER_MS)


def sa(lab: Lab, name: str) -> tuple[int, ...]:
    """Both SPIs, the last sequence numbers in and out, and the counters of a node's only Child SA."""
    ((inbound, outbound, _),) = lab.stack(name).engine.sad.values()
    return inbound.spi, outbound.spi, inbound.window.top, outbound.seq, inbound.packets, outbound.packets


def after(before: tuple[int, ...], packets: int) -> tuple[int, ...]:
    """The same SAs when so many packets more have passed in each direction."""
    return (*before[:2], *(value + packets for value in before[2:]))


def remote(lab: Lab, name: str) -> tuple[bytes, int]:
    ((_, outbound, _),) = lab.stack(name).engine.sad.values()
    return outbound.spec.remote
