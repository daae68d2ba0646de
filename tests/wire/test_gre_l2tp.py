"""GRE and L2TP around IP packets; scapy reads what we build."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE
from scapy.layers.l2tp import L2TP
from scapy.layers.ppp import HDLC, PPP

from sim.wire import gre, ip, l2tp, udp
from sim.wire.address import pack_address
from sim.wire.buffer import WireError

ENDS = {4: ("192.0.2.1", "198.51.100.1"), 6: ("2001:db8::1", "2001:db8:1::1")}
INNER = {4: ("10.1.0.10", "10.2.0.20"), 6: ("fd01::10", "fd02::20")}
LAYERS = {4: IP, 6: IPv6}
both_versions = pytest.mark.parametrize("version", [4, 6])
both_outer = pytest.mark.parametrize("outer", [4, 6])


@both_versions
@both_outer
def test_scapy_reads_gre(version: int, outer: int) -> None:
    inner = inner_packet(version)
    packet = gre.build(*ends(ENDS, outer), inner)
    read = LAYERS[outer](bytes(packet))
    assert bytes(read[GRE].payload) == inner
    assert isinstance(read[GRE].payload, LAYERS[version])
    assert len(packet) == len(inner) + gre.GRE_HEADER_BYTES + (20 if outer == 4 else 40)
    assert gre.parse(packet[-len(inner) - 4 :]) == version


@both_versions
@both_outer
def test_scapy_reads_l2tp(version: int, outer: int) -> None:
    inner = inner_packet(version)
    packet = l2tp.build(*ends(ENDS, outer), inner)
    read = LAYERS[outer](bytes(packet))
    assert (read[UDP].dport, read[L2TP].tunnel_id, read[L2TP].session_id) == (1701, 1, 1)
    framed = bytes(packet[-len(inner) - l2tp.PPP_HEADER_BYTES :])
    assert bytes(HDLC(framed)[PPP].payload) == inner
    assert len(packet) == len(inner) + 8 + 6 + 4 + (20 if outer == 4 else 40)
    assert l2tp.parse(packet[-len(inner) - 10 :]) == version


@pytest.mark.parametrize("parse", [gre.parse, l2tp.parse])
def test_what_is_cut_off_or_something_else_is_refused(parse: object) -> None:
    assert callable(parse)
    good = {gre.parse: "00000800", l2tp.parse: "000200010001ff030021"}[parse]
    octets = bytes.fromhex(good)
    assert parse(octets) == 4
    for size in range(len(octets)):
        with pytest.raises(WireError):
            parse(octets[:size])
    for at in (0, len(octets) - 1):
        with pytest.raises(WireError):
            parse(bytes(octet ^ (0x80 if n == at else 0) for n, octet in enumerate(octets)))


def inner_packet(version: int) -> bytes:
    src, dst = ends(INNER, version)
    packet = bytes(udp.build((src, 1000), (dst, 2000), bytes(range(64))))
    assert ip.parse(packet).version == version
    return packet


def ends(table: dict[int, tuple[str, str]], version: int) -> tuple[bytes, bytes]:
    src, dst = table[version]
    return pack_address(src), pack_address(dst)
