"""Two hosts and one link, for traffic tests."""

from __future__ import annotations

from sim.net.engine import Simulation
from sim.net.host import Host
from sim.net.link import LinkParams, connect
from sim.wire.address import pack_address

S = 1_000_000_000
MS = 1_000_000


class Line:
    """`a` at 10.0.0.1 and 2001:db8::1, `b` at .2 and ::2, joined by one link of the given parameters."""

    def __init__(self, params: LinkParams | None = None, seed: int = 1) -> None:
        params = params or LinkParams(rate_bps=None, delay_ns=5 * MS)
        self.sim = Simulation(seed)
        self.a, self.b = Host(self.sim, "a"), Host(self.sim, "b")
        self.port_a, self.port_b = self.a.add_port("eth"), self.b.add_port("eth")
        for port, last in ((self.port_a, "1"), (self.port_b, "2")):
            port.add_address(pack_address(f"10.0.0.{last}"), 24)
            port.add_address(pack_address(f"2001:db8::{last}"), 64)
        connect(self.sim, self.port_a, self.port_b, params, params)
        self.seen: list[tuple[int, bytes]] = []
        """(at, octets) of every packet that arrives at `b`."""
        self.port_b.tap = lambda _port, data, at, outbound: self._see(data, at, outbound)

    def _see(self, data: bytearray, at: int, outbound: bool) -> None:
        if not outbound:
            self.seen.append((at, bytes(data)))


B4 = pack_address("10.0.0.2")
B6 = pack_address("2001:db8::2")
