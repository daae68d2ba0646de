"""A host that follows the path MTU, and what its sources make of it.

a 10.0.0.1 - r - b 10.1.0.1        the link behind r is narrow
"""

from __future__ import annotations

from typing import Any

import pytest

from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.icmp_filter import icmp_kind
from sim.net.link import LinkParams, connect
from sim.net.packet import Packet
from sim.net.router import Router
from sim.traffic.cbr import ConstantRate
from sim.traffic.ping import Ping
from sim.traffic.source import EMSGSIZE, Pmtud
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire import icmp, ip, udp
from sim.wire.address import pack_address
from sim.wire.icmp import IcmpError
from sim.wire.pmtu import NO_LIMIT, PmtuRules

NARROW = 1300
A = {4: pack_address("10.0.0.1"), 6: pack_address("fd00::1")}
B = {4: pack_address("10.1.0.1"), 6: pack_address("fd01::1")}
WIDE = LinkParams(rate_bps=None, delay_ns=NS_PER_MS)


class Path:
    def __init__(self, mtu: int = NARROW) -> None:
        self.sim = Simulation(1)
        self.a, self.r, self.b = Host(self.sim, "a"), Router(self.sim, "r"), Host(self.sim, "b")
        ports = [self.a.add_port("eth"), self.r.add_port("a"), self.r.add_port("b"), self.b.add_port("eth")]
        last = {ports[0]: "1", ports[1]: "2", ports[2]: "2", ports[3]: "1"}
        for port, net in zip(ports, (0, 0, 1, 1), strict=True):
            port.add_address(pack_address(f"10.{net}.0.{last[port]}"), 24)
            port.add_address(pack_address(f"fd0{net}::{last[port]}"), 64)
        for host, port in ((self.a, ports[0]), (self.b, ports[3])):
            host.add_route(bytes(4), 0, port)
            host.add_route(bytes(16), 0, port)
        connect(self.sim, ports[0], ports[1], WIDE, WIDE)
        narrow = LinkParams(rate_bps=None, delay_ns=NS_PER_MS, mtu=mtu)
        connect(self.sim, ports[2], ports[3], narrow, narrow)
        self.seen: list[bytes] = []
        ports[3].tap = self._see

    def _see(self, _port: object, data: bytearray, _at: int, outbound: bool) -> None:
        if not outbound:
            self.seen.append(bytes(data))

    def cbr(self, pmtud: Pmtud, version: int = 4, **settings: Any) -> ConstantRate:
        keys = {"size": 1400, "rate": 1400 * 8 * 10, "start": 0, "stop": NS_PER_S, "port": 9000} | settings
        flow = ConstantRate(self.sim, "f", self.a, self.b, B[version], pmtud=pmtud, **keys)
        flow.start()
        return flow

    def run(self, ns: int = 2 * NS_PER_S) -> None:
        self.sim.run(self.sim.now + ns)

    def report(self, quoted: bytearray, mtu: int) -> None:
        """Give `a` an ICMP message as if from the network."""
        error = icmp.error(quoted, pack_address("10.9.9.9"), IcmpError.TOO_BIG, mtu)
        assert error is not None
        self.a.enter(Packet(error, self.sim.now), self.a.ports["eth"], self.sim.now)


@pytest.mark.parametrize("version", [4, 6])
def test_a_source_that_wants_discovery_loses_one_packet_and_then_sends_fragments(version: int) -> None:
    """As a UDP socket with IP_PMTUDISC_WANT, which is Linux's default."""
    path = Path()
    flow = path.cbr(Pmtud.WANT, version)
    path.run()
    assert (flow.record.sent, flow.record.received) == (10, 9)
    assert path.r.drops == {"packet too big": 1}
    assert path.a.mtu_to(B[version]) == NARROW
    assert len(path.seen) == 18
    assert all(ip.parse(data).is_fragment and len(data) <= NARROW for data in path.seen)


def test_a_source_without_df_is_fragmented_by_routers() -> None:
    path = Path()
    flow = path.cbr(Pmtud.DONT)
    path.run()
    assert flow.record.received == 10
    assert path.a.path_mtus.of(B[4]) == NO_LIMIT
    identifications = [ip.parse(data).identification for data in path.seen]
    assert len(set(identifications)) == 10, "one for each packet, so that fragments do not mix"


def test_a_source_that_does_discovery_is_refused_by_its_socket() -> None:
    path = Path()
    flow = path.cbr(Pmtud.DO)
    path.run()
    assert flow.record.received == 0
    assert path.a.drops == {EMSGSIZE: 9}
    assert path.r.drops == {"packet too big": 1}


@pytest.mark.parametrize("version", [4, 6])
def test_a_source_that_probes_believes_nothing(version: int) -> None:
    path = Path()
    flow = path.cbr(Pmtud.PROBE, version)
    path.run()
    assert flow.record.received == 0
    assert path.r.drops == {"packet too big": 10}


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_longer_than_the_interface_allows_goes_in_fragments_at_once(version: int) -> None:
    path = Path(1500)
    flow = path.cbr(Pmtud.WANT, version, size=2500)
    path.run()
    assert flow.record.sent == flow.record.received == 6


@pytest.mark.parametrize("version", [4, 6])
def test_a_ping_follows_the_path_mtu_and_so_does_its_answer(version: int) -> None:
    """The answer to a long IPv6 ping meets the narrow link first; its sender hears of it."""
    path = Path()
    ping = Ping(
        path.sim, "p", path.a, B[version], target=path.b, size=1400, interval=100 * NS_PER_MS, count=10,
        start=0, stop=NS_PER_S, identifier=7,
    )  # fmt: skip
    ping.start()
    path.run()
    assert ping.record.received == 9


def test_a_path_mtu_is_forgotten_after_a_while() -> None:
    path = Path()
    path.a.path_mtus.rules = PmtuRules(aging_ns=300 * NS_PER_MS)
    flow = path.cbr(Pmtud.WANT)
    path.run()
    assert path.r.drops["packet too big"] == 3
    assert flow.record.received == 7


def test_a_report_about_a_packet_that_nobody_here_has_sent_is_ignored() -> None:
    path = Path(1500)
    path.cbr(Pmtud.WANT)
    path.run()
    for src, dst, port in ((A[4], B[4], 9001), (A[4], pack_address("10.1.0.9"), 9000), (B[4], A[4], 9000)):
        path.report(udp.build((src, port), (dst, 9), bytes(1300), df=True), 1000)
        assert len(path.a.path_mtus) == 0
    path.report(udp.build((A[4], 9000), (B[4], 9), bytes(1300), df=True), 1000)
    assert path.a.mtu_to(B[4]) == 1000
    path.report(udp.build((A[4], 9000), (B[4], 9), bytes(1300), df=True), 100)
    assert path.a.mtu_to(B[4]) == 576, "no report can make it useless"


@pytest.mark.parametrize(
    ("kinds", "dropped"),
    [({"too-big"}, "too-big"), ({"echo"}, None), ({"unreachable", "time-exceeded"}, None)],
)
def test_a_filter_drops_the_kinds_that_it_is_told_and_makes_a_black_hole(
    kinds: set[str], dropped: str | None
) -> None:
    path = Path()
    path.a.drop_icmp(frozenset(kinds))
    flow = path.cbr(Pmtud.WANT)
    path.run()
    assert flow.record.received == (0 if dropped else 9)
    assert path.a.drops == ({f"ICMP {dropped} dropped by a filter": 10} if dropped else {})


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IcmpError.TOO_BIG, "too-big"),
        (IcmpError.PORT_UNREACHABLE, "unreachable"),
        (IcmpError.TTL_EXCEEDED, "time-exceeded"),
    ],
)
def test_kinds_of_icmp_are_told_apart_in_both_versions(version: int, error: IcmpError, kind: str) -> None:
    quoted = udp.build((A[version], 1), (B[version], 2), bytes(2000))
    message = icmp.error(quoted, B[version], error, 1400)
    assert message is not None
    assert icmp_kind(message) == kind
    assert icmp_kind(icmp.echo_request(A[version], B[version], 1, 1)) == "echo"
    assert icmp_kind(quoted) is None
    for size in range(len(message)):
        icmp_kind(message[:size])
