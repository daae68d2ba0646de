"""What of the headers in front of AH its ICV covers (RFC 4302 3.3.3.1, appendix A)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.mutable import masked, predicted

SRC4, DST4 = bytes((192, 0, 2, 1)), bytes((198, 51, 100, 1))
SRC6, DST6 = bytes(15) + b"\1", bytes(15) + b"\2"
IMMUTABLE = {0: "end", 1: "no operation", 130: "security", 133: "extended security",
             134: "commercial security", 148: "router alert", 149: "sender directed delivery"}  # fmt: skip
MUTABLE = {7: "record route", 11: "MTU probe", 12: "MTU reply", 68: "timestamp", 82: "traceroute",
           131: "loose source route", 136: "stream id", 137: "strict source route", 142: "access control",
           144: "traffic descriptor", 145: "extended internet protocol", 147: "address extension",
           205: "flow control", 94: "nobody knows"}  # fmt: skip


def test_c89_ipv4_fields() -> None:
    packet = ip.build(SRC4, DST4, 51, b"", ttl=17, tos=0xB9, identification=0x1234, df=True)
    out = masked(packet, 20)

    assert out == bytes.fromhex("4500 0014 1234 0000 0033 0000") + SRC4 + DST4
    assert packet[8] == 17, "a copy"


def test_c89_ipv6_fields() -> None:
    packet = ip.build(SRC6, DST6, 51, bytes(8), ttl=17, tos=0xB9, flow_label=0xABCDE)

    assert masked(packet, 40) == bytes.fromhex("60000000 0008 33 00") + SRC6 + DST6


@pytest.mark.parametrize("kind", sorted(IMMUTABLE | MUTABLE))
def test_c89_ipv4_options_by_the_table_of_appendix_a(kind: int) -> None:
    option = bytes((kind,)) * 4 if kind < 2 else bytes((kind, 4, 4, 9))
    packet = with_options(option)

    assert masked(packet, 24)[20:] == (option if kind in IMMUTABLE else bytes(4))


def test_c89_what_follows_the_end_of_options_stays() -> None:
    packet = with_options(b"\x94\4\0\0" + b"\0\x44\4\5")

    assert masked(packet, 28)[20:] == b"\x94\4\0\0" + b"\0\x44\4\5"


@pytest.mark.parametrize(("pointer", "foretold"), [(4, True), (8, True), (12, False)])
def test_c89_a_source_route_ends_at_its_last_address(pointer: int, foretold: bool) -> None:
    last = bytes((203, 0, 113, 9))
    packet = with_options(bytes((137, 11, pointer)) + bytes((203, 0, 113, 8)) + last + b"\0")

    assert predicted(packet, 32)[16:20] == (last if foretold else DST4)
    assert masked(packet, 32)[16:20] == DST4
    assert predicted(packet, 32)[20:31] == bytes(11)


@pytest.mark.parametrize("option", [b"\x44\0\0\0", b"\x44\1\0\0", b"\x44\5\0\0", b"\1\1\1\x44"])
def test_options_whose_length_contradicts_are_a_wire_error(option: bytes) -> None:
    with pytest.raises(WireError, match="IPv4 option 68"):
        masked(with_options(option), 24)


def test_c89_ipv6_options_say_themselves_whether_they_change() -> None:
    options = bytes.fromhex("3e02aabb 1e02ccdd 00 01 03 000000".replace(" ", ""))
    packet = with_extension(0, bytes((51, 1)) + options)

    assert masked(packet, 56)[40:] == bytes((51, 1)) + bytes.fromhex("3e020000 1e02ccdd 00 0103000000")


def test_ipv6_options_beyond_their_header_are_a_wire_error() -> None:
    for options in (b"\x3e\x05\0\0\0\0", b"\0\0\0\0\0\x3e"):
        with pytest.raises(WireError, match="IPv6 option 62"):
            masked(with_extension(0, bytes((51, 0)) + options), 48)


def test_c89_a_routing_header_is_turned_to_what_arrives() -> None:
    """RFC 8200 4.4, three addresses of which two are left: the last becomes the destination."""
    hops = [bytes(15) + bytes((n,)) for n in (11, 12, 13)]
    packet = with_extension(43, bytes((51, 6, 0, 2)) + bytes(4) + b"".join(hops))
    out = predicted(packet, 96)

    assert out[24:40] == hops[2]
    assert [out[at : at + 16] for at in (48, 64, 80)] == [hops[0], DST6, hops[1]]
    assert out[43] == 0


@pytest.mark.parametrize(("kind", "left"), [(0, 4), (4, 1), (3, 1)])
def test_a_route_that_nobody_can_foretell_is_a_wire_error(kind: int, left: int) -> None:
    with pytest.raises(WireError, match="segments left"):
        predicted(with_extension(43, bytes((51, 6, kind, left)) + bytes(4 + 48)), 96)


@given(st.binary(min_size=4, max_size=40))
def test_any_ipv4_options_are_masked_or_a_wire_error(options: bytes) -> None:
    packet = with_options(options[: len(options) // 4 * 4])
    at = (packet[0] & 15) * 4
    for act in (masked, predicted):
        with contextlib.suppress(WireError):
            assert len(act(packet, at)) == at


@given(st.sampled_from([0, 43, 60]), st.binary(min_size=6, max_size=120))
def test_any_ipv6_extension_is_masked_or_a_wire_error(kind: int, body: bytes) -> None:
    body = body + bytes(-(len(body) + 2) % 8)
    packet = with_extension(kind, bytes((51, (len(body) + 2) // 8 - 1)) + body)
    at = ip.parse(packet).upper_offset
    for act in (masked, predicted):
        with contextlib.suppress(WireError):
            assert len(act(packet, at)) == at


def with_options(options: bytes) -> bytearray:
    packet = ip.build(SRC4, DST4, 51, b"") + options
    packet[0] += len(options) // 4
    packet[2:4] = len(packet).to_bytes(2, "big")
    ip.write_checksum(packet)
    return packet


def with_extension(kind: int, octets: bytes) -> bytearray:
    return ip.build(SRC6, DST6, kind, octets)
