"""ICMP and ICMPv6, with scapy and what Linux sent as judges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, in6_chksum
from scapy.utils import checksum

from sim.wire import icmp, ip, udp
from sim.wire.address import format_address, pack_address
from sim.wire.buffer import WireError
from sim.wire.fragment import fragment
from sim.wire.icmp import IcmpError, IcmpMessage, IcmpType, Icmpv6Type
from sim.wire.ip import Protocol
from tests.wire.samples import LINUX, OCTETS, PAIRS, PAYLOADS, WORDS, packets

A, B, R = (pack_address(f"192.0.2.{host}") for host in (1, 2, 254))
A6, B6, R6 = (pack_address(f"2001:db8::{host}") for host in (1, 2, 254))

KINDS = {
    (4, 3, 0): IcmpError.NET_UNREACHABLE,
    (4, 3, 2): IcmpError.PROTOCOL_UNREACHABLE,
    (4, 3, 3): IcmpError.PORT_UNREACHABLE,
    (4, 3, 4): IcmpError.TOO_BIG,
    (4, 11, 0): IcmpError.TTL_EXCEEDED,
    (6, 1, 0): IcmpError.NET_UNREACHABLE,
    (6, 1, 1): IcmpError.ADMIN_PROHIBITED,
    (6, 1, 4): IcmpError.PORT_UNREACHABLE,
    (6, 2, 0): IcmpError.TOO_BIG,
    (6, 3, 0): IcmpError.TTL_EXCEEDED,
    (6, 4, 1): IcmpError.PROTOCOL_UNREACHABLE,
}
"""What Linux meant by version, type and code of the errors in the captures."""


@given(PAIRS, WORDS, WORDS, PAYLOADS)
def test_echo_request_is_that_of_scapy(
    pair: tuple[bytes, bytes], identifier: int, sequence: int, payload: bytes
) -> None:
    src, dst = map(format_address, pair)
    theirs = (
        IP(src=src, dst=dst, id=0) / ICMP(id=identifier, seq=sequence) / payload
        if len(pair[0]) == 4
        else IPv6(src=src, dst=dst) / ICMPv6EchoRequest(id=identifier, seq=sequence, data=payload)
    )
    assert icmp.echo_request(*pair, identifier, sequence, payload) == bytes(theirs)


@given(PAIRS, WORDS, WORDS, PAYLOADS, OCTETS)
def test_an_echo_request_and_its_reply_parse_to_their_values(
    pair: tuple[bytes, bytes], identifier: int, sequence: int, payload: bytes, tos: int
) -> None:
    request = icmp.echo_request(*pair, identifier, sequence, payload, tos=tos)
    reply = icmp.echo_reply_to(request, ttl=9)
    asked, answered = _message(request), _message(reply)
    assert (asked.is_echo_request, asked.is_echo_reply, asked.is_error) == (True, False, False)
    assert (answered.is_echo_request, answered.is_echo_reply, answered.is_error) == (False, True, False)
    assert (asked.identifier, asked.sequence, asked.body) == (identifier, sequence, payload)
    assert answered[4:] == asked[4:]
    header = ip.parse(reply)
    assert (header.src, header.dst, header.ttl, header.tos) == (pair[1], pair[0], 9, tos)


def test_captured_echo_requests_get_the_reply_that_linux_gave() -> None:
    """But for the IPv4 identification, which each host counts for itself."""
    whole = [p for p in packets("linux-icmp/b.pcapng") if _is_icmp(p)]
    echoes = [p for p in whole if _message(p).is_echo_request]
    replies = [p for p in whole if _message(p).is_echo_reply]
    assert len(echoes) == len(replies) == 4
    for request, reply in zip(echoes, replies, strict=True):
        assert _without_identification(icmp.echo_reply_to(request)) == _without_identification(reply)


def test_errors_are_those_that_linux_sent() -> None:
    """Octet for octet but for the IPv4 identification; eleven types and codes of both versions."""
    seen = set()
    for name in LINUX:
        for theirs in filter(_is_error, packets(name)):
            message = _message(theirs)
            kind = KINDS[message.version, message.type, message.code]
            original = _original_of(message)
            ours = icmp.error(original, ip.addresses(theirs)[0], kind, message.mtu)
            assert ours is not None
            ours[8 if message.version == 4 else 7] = ip.parse(theirs).ttl
            assert _without_identification(ours) == _without_identification(theirs)
            seen.add((message.version, message.type, message.code))
    assert seen == set(KINDS)


def test_captured_errors_quote_the_packet_and_name_the_mtu() -> None:
    """The link behind the router of the captures takes 1400 octets."""
    too_big = [_message(p) for p in packets("linux-icmp/a.pcap") if _is_error(p)]
    mtus = [(m.version, m.mtu) for m in too_big if KINDS[m[:3]] is IcmpError.TOO_BIG]
    assert mtus == [(4, 1400), (6, 1400)]
    for message in too_big:
        assert message.embedded is not None
        assert ip.parse_quoted(message.embedded).src in (
            pack_address("192.0.2.1"),
            pack_address("2001:db8:1::1"),
        )


FRAGMENT_ERRORS = {IcmpError.FRAGMENT_UNEVEN, IcmpError.FRAGMENT_TOO_FAR, IcmpError.HEADERS_INCOMPLETE}
V4_ERRORS = [(kind, A, B, R) for kind in IcmpError if kind not in FRAGMENT_ERRORS]


@pytest.mark.parametrize(("kind", "a", "b", "r"), [*V4_ERRORS, *((kind, A6, B6, R6) for kind in IcmpError)])
def test_error_goes_to_the_source_and_quotes_what_fits(kind: IcmpError, a: bytes, b: bytes, r: bytes) -> None:
    for size in (0, 100, 5000):
        original = udp.build((a, 500), (b, 4500), bytes(size))
        error = icmp.error(original, r, kind, 1400)
        assert error is not None
        message = _message(error)
        assert ip.addresses(error) == (r, a)
        assert message.is_error
        assert message.embedded == bytes(original[: len(message.body)])
        assert len(error) <= (576 if len(a) == 4 else 1280)  # RFC 1812 4.3.2.3, RFC 4443 3.1
        assert message.body == original or len(error) == (576 if len(a) == 4 else 1280)


def test_packet_too_big_carries_an_mtu_of_32_bits_and_fragmentation_needed_one_of_16() -> None:
    for a, b, rest in ((A, B, "00000578"), (A6, B6, "00000578")):
        error = icmp.error(udp.build((a, 1), (b, 2), bytes(1500)), b, IcmpError.TOO_BIG, 1400)
        assert error is not None
        assert _message(error).rest.hex() == rest
        assert _message(error).mtu == 1400
    assert IcmpMessage(6, Icmpv6Type.PACKET_TOO_BIG, 0, 0, b"\0\1\0\0", b"").mtu == 65536
    assert IcmpMessage(4, IcmpType.DESTINATION_UNREACHABLE, 4, 0, b"\0\1\0\0", b"").mtu == 0


def test_only_the_mtu_kind_carries_an_mtu() -> None:
    error = icmp.error(udp.build((A, 1), (B, 2), b""), B, IcmpError.PORT_UNREACHABLE, 1400)
    assert error is not None
    assert _message(error).rest == bytes(4)


@pytest.mark.parametrize(("a", "b", "r"), [(A, B, R), (A6, B6, R6)])
def test_no_error_about_an_error(a: bytes, b: bytes, r: bytes) -> None:
    first = icmp.error(udp.build((a, 500), (b, 500), b""), b, IcmpError.PORT_UNREACHABLE)
    assert first is not None
    assert icmp.error(first, r, IcmpError.TTL_EXCEEDED) is None
    echo = icmp.echo_request(a, b, 1, 1)
    assert icmp.error(echo, r, IcmpError.TTL_EXCEEDED) is not None
    assert icmp.error(icmp.echo_reply_to(echo), r, IcmpError.TTL_EXCEEDED) is not None


def test_no_error_about_an_icmpv6_redirect_or_a_type_that_is_not_there() -> None:
    redirect = ip.build(A6, B6, Protocol.ICMPV6, bytes([Icmpv6Type.REDIRECT]) + bytes(39))
    assert icmp.error(redirect, R6, IcmpError.TTL_EXCEEDED) is None
    assert icmp.error(ip.build(A, B, Protocol.ICMP, b""), R, IcmpError.TTL_EXCEEDED) is None


def test_no_error_about_a_later_fragment_of_ipv4() -> None:
    echoes = (p for p in packets("linux-icmp/a.pcap") if p[0] >> 4 == 4 and ip.parse(p).is_fragment)
    datagram = fragment(udp.build((A, 500), (B, 500), bytes(3000)), 1500)
    for piece in [*map(bytearray, echoes), *datagram]:
        error = icmp.error(piece, R, IcmpError.REASSEMBLY_EXCEEDED)
        assert (error is None) == (ip.parse(piece).fragment_offset > 0)


def test_a_later_fragment_of_ipv6_may_be_too_big_unless_it_could_be_an_error() -> None:
    """RFC 4443 2.4 (e) forbids errors about ICMPv6 errors, and a later fragment does not show its type."""
    later = bytes([0, 0, 1, 0x50, 0, 0, 0, 7, Icmpv6Type.ECHO_REQUEST]) + bytes(39)  # data, not a type
    for protocol, answered in ((Protocol.UDP, True), (Protocol.ICMPV6, False)):
        packet = ip.build(A6, B6, Protocol.IPV6_FRAGMENT, bytes([protocol]) + later[1:])
        assert (icmp.error(packet, R6, IcmpError.TOO_BIG, 1280) is not None) == answered


@pytest.mark.parametrize(
    "src", ["0.0.0.0", "127.0.0.1", "224.0.0.5", "240.0.0.1", "255.255.255.255", "::", "ff02::1"]
)
def test_no_error_to_an_address_that_is_no_single_host(src: str) -> None:
    address = pack_address(src)
    dst, own = (B, R) if len(address) == 4 else (B6, R6)
    assert icmp.error(udp.build((address, 1), (dst, 2), b""), own, IcmpError.TTL_EXCEEDED) is None


@pytest.mark.parametrize("dst", ["224.0.0.5", "255.255.255.255", "ff02::1"])
def test_no_error_about_a_packet_to_a_group_but_packet_too_big(dst: str) -> None:
    """RFC 4443 2.4 (e.3) lets IPv6 multicast discover its path MTU."""
    address = pack_address(dst)
    src, own = (A, R) if len(address) == 4 else (A6, R6)
    packet = udp.build((src, 1), (address, 2), b"")
    assert icmp.error(packet, own, IcmpError.TTL_EXCEEDED) is None
    assert (icmp.error(packet, own, IcmpError.TOO_BIG, 1280) is None) == (len(address) == 4)


def test_ipv6_protocol_unreachable_points_at_the_next_header_field() -> None:
    """RFC 4443 3.4: the pointer is the offset of the octet that names the unknown protocol."""
    options = bytes([253, 0, 1, 4, 0, 0, 0, 0])
    error = icmp.error(ip.build(A6, B6, Protocol.IPV6_DEST, options), B6, IcmpError.PROTOCOL_UNREACHABLE)
    assert error is not None
    message = _message(error)
    assert (message.type, message.code, message.rest) == (4, 1, b"\0\0\0\x28")


def test_truncation_at_every_length_is_an_error() -> None:
    for a, b in ((A, B), (A6, B6)):
        packet = icmp.echo_request(a, b, 1, 2, b"payload")
        offset = ip.parse(packet).upper_offset
        for size in range(offset, len(packet)):
            with pytest.raises(WireError):
                icmp.parse(packet[:size], offset)


def test_every_flipped_bit_is_an_error() -> None:
    for a, b in ((A, B), (A6, B6)):
        packet = icmp.echo_request(a, b, 1, 2, b"payload")
        offset = ip.parse(packet).upper_offset
        for bit in range(offset * 8, len(packet) * 8):
            damaged = bytearray(packet)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(WireError, match="checksum"):
                icmp.parse(damaged, offset)


def test_a_reply_to_no_request_is_our_own_error() -> None:
    reply = icmp.echo_reply_to(icmp.echo_request(A, B, 1, 2))
    for packet in (reply, udp.build((A, 8), (B, 8), b""), ip.build(A, B, Protocol.ICMP, b"\x08")):
        with pytest.raises(ValueError, match="no echo request"):
            icmp.echo_reply_to(packet)


@given(PAIRS, st.binary(max_size=60))
def test_arbitrary_octets_with_a_right_checksum_parse(pair: tuple[bytes, bytes], data: bytes) -> None:
    """And an error about them goes out or not, but nothing else happens."""
    packet = _with_checksum(pair, data)
    offset = ip.parse(packet).upper_offset
    try:
        message = icmp.parse(packet, offset)
    except WireError:
        assert len(data) < 8
        return
    assert (message.embedded is None) != message.is_error
    assert not message.is_error or icmp.error(packet, pair[1], IcmpError.TTL_EXCEEDED) is None


@given(st.binary(max_size=100), st.sampled_from(IcmpError))
def test_arbitrary_octets_cause_no_error_message(data: bytes, kind: IcmpError) -> None:
    assert icmp.error(data, R, kind) is None
    for version, own in ((b"\x45\0", R), (b"\x60\0", R6)):
        icmp.error(version + data, own, kind)


def _message(packet: bytes | bytearray) -> IcmpMessage:
    return icmp.parse(packet, ip.parse(packet).upper_offset)


def _is_icmp(packet: bytes) -> bool:
    header = ip.parse(packet)
    return header.protocol in (Protocol.ICMP, Protocol.ICMPV6) and not header.is_fragment


def _is_error(packet: bytes) -> bool:
    return _is_icmp(packet) and _message(packet).is_error


def _original_of(message: IcmpMessage) -> bytes:
    """The whole captured packet that an error quotes."""
    whole = [packet for name in LINUX for packet in packets(name) if packet.startswith(message.body)]
    return whole[0]


def _without_identification(packet: bytes | bytearray) -> bytearray:
    copy = bytearray(packet)
    if copy[0] >> 4 == 4:
        copy[4:6] = b"\0\0"
        ip.write_checksum(copy)
    return copy


def _with_checksum(pair: tuple[bytes, bytes], data: bytes) -> bytearray:
    """An ICMP packet with `data`, octets 2 and 3 of which scapy computed."""
    protocol = Protocol.ICMP if len(pair[0]) == 4 else Protocol.ICMPV6
    packet = ip.build(*pair, protocol, data)
    if len(data) < 4:
        return packet
    at = len(packet) - len(data) + 2
    packet[at : at + 2] = b"\0\0"
    layer = IP(bytes(packet)) if len(pair[0]) == 4 else IPv6(bytes(packet))
    packet[at : at + 2] = _checksum_by_scapy(layer, bytes(packet[at - 2 :])).to_bytes(2, "big")
    return packet


def _checksum_by_scapy(layer: IP | IPv6, upper: bytes) -> int:
    if isinstance(layer, IP):
        return checksum(upper)
    return int(in6_chksum(Protocol.ICMPV6, layer, upper))  # type: ignore[no-untyped-call]
