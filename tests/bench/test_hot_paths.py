"""The steps that a packet and a handshake are made of, one by one, for pytest-benchmark (`make bench`).

Without `--benchmark-enable` each runs once and checks its result, as any test.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sim.crypto.ids import EncryptionId
from sim.crypto.suites import ENCRYPTION
from sim.ipsec.engine import Engine
from sim.ipsec.spec import ChildSpec
from sim.net.engine import Simulation
from sim.wire import ip, udp
from sim.wire.address import pack_address
from sim.wire.checksum import internet_checksum
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.bench.measure import PAYLOAD_BYTES

MOON, SUN = pack_address("192.0.2.1"), pack_address("198.51.100.1")
ALICE, BOB = pack_address("10.1.0.10"), pack_address("10.2.0.10")


@pytest.fixture
def packet() -> bytearray:
    return udp.build((ALICE, 1024), (BOB, 9), bytes(PAYLOAD_BYTES))


@pytest.fixture
def gateways() -> tuple[Engine, Engine]:
    """Two data planes with an AES-GCM-16 tunnel between them."""
    keys = (bytes(range(20)), b""), (bytes(range(1, 21)), b"")
    return _engine(0x1001, 0x2002, keys, MOON, SUN), _engine(0x2002, 0x1001, keys[::-1], SUN, MOON)


def test_parse_an_ip_header(benchmark: BenchmarkFixture, packet: bytearray) -> None:
    assert benchmark(ip.parse, packet).dst == BOB


def test_count_down_the_ttl(benchmark: BenchmarkFixture, packet: bytearray) -> None:
    def again() -> bool:
        packet[8] = 64
        return ip.decrement_ttl(packet)

    assert benchmark(again)


def test_checksum_a_payload(benchmark: BenchmarkFixture) -> None:
    assert benchmark(internet_checksum, bytes(PAYLOAD_BYTES)) == 0xFFFF


def test_seal_a_packet(
    benchmark: BenchmarkFixture, packet: bytearray, gateways: tuple[Engine, Engine]
) -> None:
    assert len(benchmark(gateways[0].outbound, packet, 0)) == 1456


def test_seal_and_open_a_packet(
    benchmark: BenchmarkFixture, packet: bytearray, gateways: tuple[Engine, Engine]
) -> None:
    moon, sun = gateways

    def both() -> object:
        sealed = moon.outbound(packet, 0)
        assert isinstance(sealed, bytearray)
        return sun.inbound(sealed, 0)

    assert benchmark(both) == packet


def test_ring_an_alarm(benchmark: BenchmarkFixture) -> None:
    sim = Simulation(1)
    rung: list[int] = []
    alarm = sim.alarm(rung.append)

    def once() -> None:
        alarm.arm(sim.now + 1)
        sim.run(sim.now + 2)

    benchmark(once)
    assert rung


def _engine(
    spi_in: int, spi_out: int, keys: tuple[tuple[bytes, bytes], ...], local: bytes, remote: bytes
) -> Engine:
    near, far = (ALICE, BOB) if local == MOON else (BOB, ALICE)
    engine = Engine(rand=bytes)
    engine.local_addresses = frozenset({local})
    spec = ChildSpec(
        connection="net",
        child="net",
        spi_in=spi_in,
        spi_out=spi_out,
        mode=Mode.TUNNEL,
        encryption=ENCRYPTION[EncryptionId.ENCR_AES_GCM_16, 128],
        integrity=None,
        keys_in=keys[0],
        keys_out=keys[1],
        local=(local, 500),
        remote=(remote, 500),
        encap=False,
        local_ts=(Selector.host(near),),
        remote_ts=(Selector.host(far),),
    )
    engine.install(spec, 0)
    return engine
