"""The chain of the bench in ns.py: five Port and Wire hops of 10 Gbit/s and 1 ms, packets without content."""

from __future__ import annotations

import time

import simpy
from ns.packet.dist_generator import DistPacketGenerator
from ns.packet.sink import PacketSink
from ns.port.port import Port
from ns.port.wire import Wire

from tests.bench.measure import HOPS, INTERVAL_NS, PACKET_BYTES, Sample


def run(packets: int) -> Sample:
    interval = INTERVAL_NS / 1e9
    env = simpy.Environment()
    source = DistPacketGenerator(
        env, "host", lambda: interval, lambda: PACKET_BYTES, size=packets * PACKET_BYTES, flow_id=0
    )
    sink = PacketSink(env)
    tail = source
    for _ in range(HOPS):
        port, wire = Port(env, rate=10e9), Wire(env, lambda: 1e-3)
        tail.out, port.out = port, wire
        tail = wire
    tail.out = sink
    began = time.process_time()
    env.run(until=packets * interval + 0.1)
    return Sample(sink.packets_received[0], time.process_time() - began)
