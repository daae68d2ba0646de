"""A data plane with one SA and policy, or with a thousand: what a packet of a known or a new flow costs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import cache

from sim.crypto.ids import EncryptionId
from sim.crypto.suites import ENCRYPTION
from sim.ipsec.engine import Engine
from sim.ipsec.spec import ChildSpec
from sim.wire import udp
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.bench.measure import PAYLOAD_BYTES, Sample

MOON, SUN = pack_address("192.0.2.1"), pack_address("198.51.100.1")
ALICE = pack_address("10.1.0.10")
NEAR = (Selector.from_prefix("10.1.0.0/16"),)
UDP = 17
_FLOWS = 64

Remote = Callable[[int], Selector]


def _prefix(number: int) -> Selector:
    return Selector.from_prefix(f"10.{2 + number // 256}.{number % 256}.0/24", UDP)


def _port(number: int) -> Selector:
    return Selector.from_prefix("10.2.0.0/16", UDP, (5000 + number, 5000 + number))


def _range(number: int) -> Selector:
    return Selector.from_prefix("10.2.0.0/16", UDP, (5000 + 8 * number, 5007 + 8 * number))


KINDS: dict[str, Remote] = {
    "a prefix each": _prefix,
    "one prefix, a port each": _port,
    "one prefix, a port range each": _range,
}
"""What the policies are for."""


@cache
def crowd(kind: str, count: int) -> Engine:
    """An engine with so many SAs and policies, all of them used before."""
    engine = Engine(rand=random.Random(1).randbytes)
    engine.local_addresses = [MOON]
    for number in range(count):
        engine.install(_spec(number, KINDS[kind](number)), 0)
    for number in range(count):
        assert isinstance(engine.outbound(_packet(KINDS[kind](number), 1), 0), bytearray)
    return engine


def known_flows(kind: str, count: int, packets: int) -> Sample:
    """Packets of 64 flows, spread over the policies, that were decided on before."""
    engine = crowd(kind, count)
    flows = [_packet(KINDS[kind](number * count // _FLOWS), 7) for number in range(_FLOWS)]
    for packet in flows:
        engine.outbound(packet, 0)
    return _send(engine, [flows[at % _FLOWS] for at in range(packets)])


def new_flows(kind: str, count: int, packets: int) -> Sample:
    """Packets of which each begins a flow, and so is looked up in the SPD; the SAs are 64 as well."""
    engine = crowd(kind, count)
    engine.spd.default = engine.spd.default  # all flows are forgotten
    remotes = [KINDS[kind](number * count // _FLOWS) for number in range(_FLOWS)]
    return _send(engine, [_packet(remotes[at % _FLOWS], 1024 + at % 60000) for at in range(packets)])


def _send(engine: Engine, packets: list[bytearray]) -> Sample:
    outbound = engine.outbound
    start = time.process_time()
    for packet in packets:
        outbound(packet, 0)
    return Sample(len(packets), time.process_time() - start)


def _packet(remote: Selector, port: int) -> bytearray:
    return udp.build((ALICE, port), (remote.start, remote.ports[0] or 9), bytes(PAYLOAD_BYTES))


def _spec(number: int, remote: Selector) -> ChildSpec:
    keys = bytes(range(20)), b""
    return ChildSpec(
        connection="site",
        child=f"net{number}",
        spi_in=0x1000 + number,
        spi_out=0x100000 + number,
        mode=Mode.TUNNEL,
        encryption=ENCRYPTION[EncryptionId.ENCR_AES_GCM_16, 128],
        integrity=None,
        keys_in=keys,
        keys_out=keys,
        local=(MOON, 4500),
        remote=(SUN, 4500),
        encap=False,
        local_ts=NEAR,
        remote_ts=(remote,),
    )
