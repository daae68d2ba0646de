"""What an ICMP error quotes, as selectors see it (RFC 4301 6.2)."""

from __future__ import annotations

import pytest

from sim.ipsec.icmp_errors import answer_to, quoted_traffic
from sim.wire import icmp, ip, udp
from sim.wire.address import Sock
from sim.wire.icmp import ICMP_HEADER_BYTES, IcmpError
from tests.ipsec.pair import A4, A6, B4, B6

ENDS: dict[int, tuple[Sock, Sock]] = {4: ((A4, 7), (B4, 9)), 6: ((A6, 7), (B6, 9))}


def _error(version: int, quoted: int) -> bytearray:
    """An error of one IP version whose quotation is a UDP packet of another, or the same one."""
    src, dst = ENDS[version]
    error = icmp.error(udp.build(src, dst, bytes(40)), dst[0], IcmpError.TTL_EXCEEDED)
    assert error is not None
    at = ip.parse(error).upper_offset + ICMP_HEADER_BYTES
    return error[:at] + udp.build(*ENDS[quoted], bytes(8))


@pytest.mark.parametrize("version", [4, 6])
def test_c92_the_quoted_packet_is_what_selectors_see(version: int) -> None:
    error = _error(version, version)
    found = quoted_traffic(error, _header(error))
    (src, src_port), (dst, dst_port) = ENDS[version]
    assert found == (src, dst, 17, src_port, dst_port)
    assert answer_to(found) == (dst, src, 17, dst_port, src_port)


@pytest.mark.parametrize("version", [4, 6])
def test_c92_a_packet_of_the_other_ip_version_is_not_quoted(version: int) -> None:
    """ICMP of one version reports packets of that version (RFC 792, RFC 4443 2.4 c)."""
    error = _error(version, 10 - version)
    assert quoted_traffic(error, _header(error)) is None


def _header(error: bytearray) -> ip.IpHeader:
    """Of the error, whose length fields are those of the longer or shorter original."""
    return ip.parse_quoted(error)
