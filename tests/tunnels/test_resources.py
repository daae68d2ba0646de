"""Gateways whose CPUs send on Child SAs of their own (RFC 9611), over a whole network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import sim
from sim.ike.events import Reason
from sim.scenario.load import load, load_text
from sim.tunnels.ledger import ChildRecord
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import ip, udp
from sim.wire.resource import ALL
from tests.tunnels.lab import ALICE, BOB, CHILD, SITES, Lab
from tests.tunnels.test_path_mtu import Errors

SHARED = (f"{CHILD}.per_cpu_sas=yes", "nodes.moon.cpus=4", "nodes.sun.cpus=2")
PORTS = range(7000, 7040)


def test_every_packet_arrives_and_all_but_the_first_of_each_cpu_take_its_own_sa() -> None:
    lab = Lab(*SHARED)
    for _ in range(3):
        send_all(lab)
    assert len(lab.boxes["bob"].seqs) == 3 * len(PORTS)
    records = {record.cpu: record.record.packets_out for record in installed(lab, "moon")}
    assert set(records) == {ALL, 0, 1, 2, 3}
    assert sum(records.values()) == 3 * len(PORTS)
    assert min(records[cpu] for cpu in range(4)) > 10
    assert lab.drops("moon") == lab.drops("sun") == {}


def test_packets_that_were_forwarded_quickly_take_the_same_sa_as_before() -> None:
    """Lanes hold what was decided for a flow: when its CPU gets an SA, they are decided anew."""
    lab = Lab(*SHARED)
    for _ in range(5):
        send(lab, 7000)
        lab.run(100 * NS_PER_MS)
    counts = {record.cpu: record.record.packets_out for record in installed(lab, "moon")}
    assert sorted(counts.values()) == [1, 4]


def test_a_refused_cpu_goes_on_with_the_sa_for_all() -> None:
    """sun has one CPU and takes two; moon's other CPUs ask once and never again."""
    lab = Lab(*SHARED, "nodes.sun.cpus=1")
    for _ in range(4):
        send_all(lab)
    assert len(lab.boxes["bob"].seqs) == 4 * len(PORTS)
    refused = [entry for entry in lab.world.log if entry.event == "resource refused"]
    assert [entry.node for entry in refused] == ["sun", "moon"] * 2
    assert all(str(Reason.TS_MAX_QUEUE) in entry.detail for entry in refused)
    assert len(installed(lab, "moon")) == 3
    (record,) = [r for r in lab.stack("moon").ledger.records.values() if r.connection]
    assert (record.state, record.reason) == ("established", Reason.NONE)


@pytest.mark.parametrize("node", ["moon", "sun"])
def test_all_of_them_are_rekeyed_without_loss(node: str) -> None:
    lab = Lab(*SHARED)
    send_all(lab)
    before = {record.cpu for record in installed(lab, "moon")}
    lab.stack(node).command("rekey", "sites", "lans", lab.now)
    for _ in range(20):
        send_all(lab, wait=5 * NS_PER_MS)
    lab.run(10 * NS_PER_S)
    assert len(lab.boxes["bob"].seqs) == 21 * len(PORTS)
    assert {record.cpu for record in installed(lab, "moon")} == before
    assert len(lab.stack("moon").engine.sad) == 5
    common = next(r.record for r in installed(lab, "moon") if r.cpu == ALL)
    assert common.packets_out == 0, "each CPU has a successor of its own"


def test_a_deleted_sa_of_a_cpu_is_asked_for_again_by_its_next_packet() -> None:
    lab = Lab(*SHARED)
    send_all(lab)
    own = next(r.record for r in installed(lab, "moon") if r.cpu == 2)
    lab.stack("sun").endpoint.delete_child(own.spi_out, lab.now)
    lab.stack("sun").pump(lab.now)
    lab.run()
    assert 2 not in {record.cpu for record in installed(lab, "moon")}
    send_all(lab)
    send_all(lab)
    assert 2 in {record.cpu for record in installed(lab, "moon")}
    assert len(lab.boxes["bob"].seqs) == 3 * len(PORTS)


def test_terminating_the_child_ends_all_of_them() -> None:
    lab = Lab(*SHARED)
    send_all(lab)
    lab.stack("moon").command("terminate", "sites", "lans", lab.now)
    lab.run()
    assert not lab.stack("moon").engine.sad
    assert not lab.stack("sun").engine.sad
    send_all(lab)
    send_all(lab)
    assert len(installed(lab, "moon")) == 5


@pytest.mark.parametrize("per_cpu", ["yes", "encap"])
def test_in_udp_only_scattered_ones_have_source_ports_of_their_own(per_cpu: str) -> None:
    """And the peer takes no notice of them: the connection's path stays what it is."""
    lab = Lab(*SHARED, f"{CHILD}.per_cpu_sas={per_cpu}", "tunnels.sites.encap=true")
    send_all(lab)
    ear = lab.listen("sun:wan")
    send_all(lab)
    send_all(lab, back=True)
    parsed = [udp.parse(seen.data, ip.parse(seen.data).upper_offset) for seen in ear.seen if seen.is_esp]
    out = {header.src_port for header in parsed}
    assert {header.dst_port for header in parsed} == {4500}
    assert (len(out) == 1) is (per_cpu == "yes")
    assert len(lab.boxes["bob"].seqs) == 2 * len(PORTS)
    assert len(lab.boxes["alice"].seqs) == len(PORTS)
    assert not [entry for entry in lab.world.log if entry.event == "path changed"]


def test_c91_a_report_about_a_packet_from_a_port_of_its_own_is_about_its_sa() -> None:
    """RFC 4301 8.2.1: a router quotes the UDP header that the packet had, not that of the connection."""
    scattered = (*SHARED, f"{CHILD}.per_cpu_sas=encap", "tunnels.sites.encap=true")
    lab = Lab(*scattered, "links.2.mtu=1300 B")
    send_all(lab)
    errors = Errors(lab, "alice")
    lab.send(size=1290, df=True)
    lab.run()
    assert (lab.drops("net"), errors.mtus) == ({"packet too big": 1}, [])
    lab.send(size=1290, df=True)
    lab.run()
    assert len(errors.mtus) == 1
    arrived = lab.send(size=errors.mtus[0], df=True)
    lab.run()
    assert lab.boxes["bob"].seqs[-1] == arrived


@pytest.mark.parametrize("per_cpu", ["yes", "encap"])
def test_transport_mode_through_a_nat_shares_and_its_successors_do(per_cpu: str) -> None:
    """Each source port of its own gets a mapping of its own; addresses are restored as for the first SA."""
    child = "tunnels.first.children.l2tp"
    cpus = ["nodes.alice.cpus=2", "nodes.moon.cpus=2"]
    settings = [f"{child}.per_cpu_sas={per_cpu}", f"{child}.ipcomp=true", f"{child}.rekey_time=3 s"]
    result = sim.run(load("topologies/transport-nat.yaml", cpus + settings))
    assert result.ok, result.summary["checks"]
    ends = [row["children"] for row in result.summary["connections"] if row["name"] == "first"]
    assert [{child["mode"] for child in end} for end in ends] == [{"transport"}] * 2
    assert all(any(child["cpu"] is not None for child in end) for end in ends)


def test_ipcomp_and_transport_mode_share_as_well() -> None:
    hosts = SITES.replace(
        "local_ts: [10.1.0.0/16], remote_ts: [10.2.0.0/16]", "mode: transport, ipcomp: true"
    )
    lab = Lab(*SHARED, text=hosts)
    moon, sun = (next(iter(lab.world.nodes[name].ports["wan"].addresses))[0] for name in ("moon", "sun"))
    for _ in range(2):
        send_all(lab, src=moon, dst=sun)
    assert len(lab.boxes["sun"].seqs) == 2 * len(PORTS)
    assert len(installed(lab, "moon")) == 5
    assert all(entry.record.compression for entry in installed(lab, "moon"))


def test_ah_shares_and_compresses_too() -> None:
    lab = Lab(*SHARED, f"{CHILD}.ah_proposals=[sha256-esn-noesn]", f"{CHILD}.ipcomp=true")
    for _ in range(2):
        send_all(lab)
    lab.stack("sun").command("rekey", "sites", "lans", lab.now)
    lab.run(10 * NS_PER_S)
    send_all(lab)
    assert len(lab.boxes["bob"].seqs) == 3 * len(PORTS)
    found = installed(lab, "moon")
    assert {entry.record.protocol for entry in found} == {"AH"}
    assert sorted(entry.cpu for entry in found) == [ALL, 0, 1, 2, 3]
    assert all(entry.record.compression for entry in found)


def test_aggregates_travel_on_the_sas_of_their_cpus() -> None:
    """AGGFRAG mode (RFC 9347), where each SA has a stream of its own to reassemble."""
    lab = Lab(*SHARED, f"{CHILD}.mode=iptfs")
    for _ in range(3):
        send_all(lab)
    assert len(lab.boxes["bob"].seqs) == 3 * len(PORTS)
    found = installed(lab, "moon")
    assert {entry.record.mode for entry in found} == {"iptfs"}
    assert min(entry.record.packets_out for entry in found if entry.cpu != ALL) > 10


def test_one_cpu_has_one_of_its_own() -> None:
    lab = Lab(f"{CHILD}.per_cpu_sas=yes")
    send_all(lab)
    assert sorted(record.cpu for record in installed(lab, "moon")) == [ALL, 0]


def test_the_same_seed_gives_the_same_octets() -> None:
    text = "topologies/per-resource-sas.yaml"
    one, other = (sim.run(text, capture=True).summary["capture_sha256"] for _ in range(2))
    assert one == other


def test_a_tunnel_that_shares_nothing_is_as_it_was() -> None:
    """`cpus` alone changes no octet."""
    runs = [load_text(SITES, overrides=overrides) for overrides in ([], ["nodes.moon.cpus=8"])]
    assert len({sim.run(run, capture=True).summary["capture_sha256"] for run in runs}) == 1


# -- helpers ---------------------------------------------------------------------------------------------


class Installed:
    def __init__(self, record: ChildRecord) -> None:
        assert record.share is not None
        self.record, self.cpu = record, record.share.cpu


def installed(lab: Lab, node: str) -> list[Installed]:
    stack = lab.stack(node)
    return [Installed(record) for record in _records(lab, node) if record.spi_in in stack.engine.sad]


def _records(lab: Lab, node: str) -> Iterator[ChildRecord]:
    stack = lab.stack(node)
    for record in stack.ledger.settle(stack.engine.sad.get):
        yield from (child for child in record.children.values() if child.state == "installed")


def send(lab: Lab, port: int, *, src: bytes = ALICE, dst: bytes = BOB) -> None:
    lab.send(src, dst, 200, port=port)


def send_all(
    lab: Lab, *, back: bool = False, wait: int = NS_PER_S, src: bytes = ALICE, dst: bytes = BOB
) -> None:
    """A packet of each of many flows, and time for what they ask for."""
    for port in PORTS:
        send(lab, port, src=dst if back else src, dst=src if back else dst)
    lab.run(wait)
