"""Bad packets of every kind at a gateway: each is counted under Linux's name, and the tunnel goes on."""

from __future__ import annotations

import inspect
import re
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest

from sim.crypto.cipher import AeadCipher
from sim.experiment.summary import summarise
from sim.ipsec.esp import EspSealer
from sim.net.packet import Packet
from sim.net.snmp import REASSEMBLY
from sim.units import NS_PER_S
from sim.wire import fragment, ip, udp
from sim.wire.address import pack_address
from sim.wire.fragment import MAX_BYTES, Reassembler
from tests.tunnels.lab import ALICE, BOB, CHILD, MOON, SUN, Lab

Make = Callable[[Lab], list[bytearray]]
_ESP = 50
MOON6, SUN6 = pack_address("2001:db8::1"), pack_address("2001:db8:1::1")
_MF = ip.MF


def sealed(lab: Lab, inner: bytearray) -> bytearray:
    """What moon would send."""
    out = lab.stack("moon").engine.outbound(inner, lab.now)
    assert isinstance(out, bytearray)
    return out


def datagram(src: bytes = ALICE, dst: bytes = BOB) -> bytearray:
    return udp.build((src, 7), (dst, 9), bytes(40))


def authentic(payload: bytes, next_header: int) -> Make:
    """ESP of moon's with any payload."""

    def make(lab: Lab) -> list[bytearray]:
        (pair,) = lab.stack("moon").engine.sad.values()
        return [
            ip.build(
                MOON, SUN, _ESP, pair.outbound.wrapper.seal(0, bytearray(payload), bytes((next_header,)))
            )
        ]

    return make


def wrong_pad(lab: Lab) -> list[bytearray]:
    """A pad length that reaches beyond the payload, under a right ICV."""
    (pair,) = lab.stack("moon").engine.sad.values()
    esp = pair.outbound.wrapper
    assert isinstance(esp, EspSealer)
    cipher = esp.cipher
    assert isinstance(cipher, AeadCipher)
    esp.seq += 1
    header = esp.spi.to_bytes(4, "big") + esp.seq.to_bytes(4, "big")
    iv = esp.seq.to_bytes(8, "big")
    body = bytes(18) + b"\xff\4"
    ciphertext = cipher.aead.encrypt(cipher.salt + iv, body, header)
    return [ip.build(MOON, SUN, _ESP, header + iv + ciphertext)]


def with_octet(at: int, value: int | None = None) -> Make:
    def make(lab: Lab) -> list[bytearray]:
        packet = sealed(lab, datagram())
        packet[at] = packet[at] ^ 1 if value is None else value
        return [packet]

    return make


def spi(number: int) -> Make:
    return lambda lab: [ip.build(MOON, SUN, _ESP, number.to_bytes(4, "big") + bytes(60))]


def replay(lab: Lab) -> list[bytearray]:
    packet = sealed(lab, datagram())
    return [bytearray(packet), packet]


def late(lab: Lab) -> list[bytearray]:
    packets = [sealed(lab, datagram()) for _ in range(100)]
    return [packets[-1], packets[0]]


def piece(data: bytes, offset: int, more: bool, protocol: int = 17) -> bytearray:
    packet = ip.build(MOON, SUN, protocol, data, identification=7)
    packet[6:8] = ((_MF if more else 0) | offset // 8).to_bytes(2, "big")
    ip.write_checksum(packet)
    return packet


def piece6(data: bytes, offset: int, more: bool, protocol: int = 17) -> bytearray:
    header = bytes((protocol, 0)) + (offset | more).to_bytes(2, "big") + (7).to_bytes(4, "big")
    return ip.build(MOON6, SUN6, 44, header + data)


def pieces(*parts: bytearray) -> Make:
    return lambda lab: [bytearray(part) for part in parts]


KINDS: dict[str, tuple[Make, str]] = {
    "SPI 0": (spi(0), "XfrmInNoStates"),
    "unknown SPI": (spi(0xDEAD), "XfrmInNoStates"),
    "truncated ESP": (lambda lab: [ip.build(MOON, SUN, _ESP, bytes(6))], "XfrmInHdrError"),
    "cut ESP": (
        lambda lab: [ip.build(MOON, SUN, _ESP, bytes(sealed(lab, datagram())[20:40]))],
        "XfrmInHdrError",
    ),
    "wrong ICV": (with_octet(-1), "XfrmInStateProtoError"),
    "wrong sequence number": (with_octet(27, 9), "XfrmInStateProtoError"),
    "replay": (replay, "XfrmInStateSeqError"),
    "late": (late, "XfrmInStateSeqError"),
    "wrong pad": (wrong_pad, "XfrmInStateProtoError"),
    "dummy": (authentic(bytes(20), 59), "XfrmInStateProtoError"),
    "wrong next header": (authentic(bytes(20), 17), "XfrmInStateModeError"),
    "no inner packet": (authentic(bytes(20), 4), "XfrmInStateModeError"),
    "inner packet of others": (lambda lab: authentic(bytes(datagram(dst=SUN)), 4)(lab), "XfrmInNoPols"),
    "clear text": (lambda lab: [datagram()], "XfrmInTmplMismatch"),
    "fragments that overlap": (
        pieces(piece(bytes(16), 0, True), piece(bytes(16), 8, True)),
        "IpExtReasmOverlaps",
    ),
    "a tiny first fragment (RFC 1858)": (pieces(piece(bytes(8), 0, True, 6)), "IpReasmFails"),
    "an offset of one (RFC 3128)": (pieces(piece(bytes(16), 8, False, 6)), "IpReasmFails"),
    "a fragment beyond the end": (
        pieces(piece(bytes(8), 8, False), piece(bytes(16), 16, True)),
        "IpReasmFails",
    ),
    "a ping of death": (pieces(piece(bytes(80), 65528, False)), "IpReasmFails"),
    "a fragment cut off": (pieces(piece(bytes(13), 0, True)), "IpReasmFails"),
    "an empty fragment": (pieces(piece(b"", 8, False)), "IpReasmFails"),
    "a wrong header checksum": (with_octet(10), "IpInHdrErrors"),
    "a packet cut off": (lambda lab: [sealed(lab, datagram())[:40]], "IpInHdrErrors"),
}


KINDS6: dict[str, tuple[bytearray, ...]] = {
    "overlapping (RFC 5722)": (piece6(bytes(16), 0, True), piece6(bytes(16), 8, True)),
    "the same offset twice, with other octets": (piece6(bytes(16), 0, True), piece6(b"x" * 16, 0, True)),
    "beyond the end": (piece6(bytes(8), 8, False), piece6(bytes(16), 16, True)),
    "cut off": (piece6(bytes(13), 0, True),),
    "empty": (piece6(b"", 8, False),),
    "more than 65535 octets": (piece6(bytes(80), 65528, False),),
    "without the upper header (RFC 7112)": (piece6(bytes(8), 0, True, 6),),
}


@pytest.mark.parametrize("kind", KINDS6)
def test_bad_fragments_of_ipv6_are_counted_and_the_tunnel_goes_on(kind: str) -> None:
    lab = Lab("nodes.sun.interfaces.wan=[198.51.100.1/24, '2001:db8:1::1/64']").up()
    for packet in KINDS6[kind]:
        inject(lab, packet)
    assert counters(lab, "sun").get("IpReasmFails") == 1, lab.drops("sun")
    lab.send()
    lab.run()
    assert len(lab.boxes["bob"].seqs) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_c93_a_bad_packet_is_counted_under_linuxs_name_and_the_tunnel_goes_on(kind: str) -> None:
    make, counter = KINDS[kind]
    lab = Lab().up()
    for packet in make(lab):
        inject(lab, packet)
    lab.run()

    assert counters(lab, "sun").get(counter) == 1, counters(lab, "sun")
    lab.send()
    before = len(lab.boxes["bob"].seqs)
    lab.run()
    assert len(lab.boxes["bob"].seqs) == before + 1


def test_c93_every_cut_of_an_esp_packet_is_counted() -> None:
    lab = Lab().up()
    packet = sealed(lab, datagram())
    for size in range(1, len(packet)):
        inject(lab, packet[:size])
    assert counters(lab, "sun") == {"IpInHdrErrors": len(packet) - 1}


def test_a_fragment_of_esp_that_never_becomes_whole_times_out() -> None:
    lab = Lab().up()
    inject(lab, piece(bytes(sealed(lab, datagram())[20:60]), 0, True, _ESP))
    lab.run(31 * NS_PER_S)
    assert counters(lab, "sun") == {"IpReasmFails": 1, "IpReasmTimeout": 1}


def test_a_reassembly_flood_takes_bounded_memory() -> None:
    """Each fragment opens a datagram of its own and none is ever whole (RFC 4301 7, RFC 1858)."""
    held = Reassembler()
    used = []
    tracemalloc.start()
    for number in range(60_000):
        packet = piece(bytes(16), 0, True)
        packet[4:6] = (number & 0xFFFF).to_bytes(2, "big")
        packet[12:16] = number.to_bytes(4, "big")
        ip.write_checksum(packet)
        held.add(packet, number)
        if number % 10_000 == 9_999:
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert all(after < 1.05 * before for before, after in pairwise(used)), used  # full from the first on
    assert max(used) < 1.3 * MAX_BYTES
    assert held.refused["reassembly buffer full"] > 20_000


def test_without_a_sa_packets_are_counted_as_linux_counts_a_missing_state() -> None:
    lab = Lab(f"{CHILD}.start=none")
    lab.send()
    lab.run()
    assert counters(lab, "moon") == {"XfrmOutNoStates": 1}


def test_every_reason_of_the_reassembly_is_known_to_linuxs_counters() -> None:
    named = {
        value
        for name, value in vars(fragment).items()
        if name.isupper() and isinstance(value, str) and not name.startswith("_")
    }
    written = set(re.findall(r'"([a-z][a-z0-9 ]*)"', inspect.getsource(fragment.Reassembler)))
    assert named
    assert named | written == set(REASSEMBLY)


def inject(lab: Lab, packet: bytearray) -> None:
    sun = lab.world.nodes["sun"]
    sun.receive(Packet(bytearray(packet), lab.now), sun.ports["wan"], lab.now)


def counters(lab: Lab, node: str) -> dict[str, int]:
    rows = summarise(lab.world, 0, None)["nodes"]
    (row,) = (row for row in rows if row["name"] == node)
    return {**row["xfrm"], **row["ip"]}
