"""What selectors see of a packet, and which flows may be remembered by a quick key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.policy import Action, Policy, covers_both
from sim.ipsec.traffic import OPAQUE, UNEXAMINED, classify, covers, flow_key, memorable, selectors_of
from sim.wire import ip
from sim.wire.buffer import WireError
from sim.wire.selector import ANY_PORTS, OPAQUE_PORTS, Selector
from tests.ipsec.pair import HOST_A4, HOST_A6, HOST_B4, HOST_B6, NET_A, NET_B, bare_engine, datagram

ECHO_REQUEST, ECHO_REPLY = 0x0800, 0x0000


@pytest.mark.parametrize(
    ("protocol", "upper", "expected"),
    [
        (6, "03e8 0050 00000000", (1000, 80)),
        (17, "03e8 0035 00080000", (1000, 53)),
        (33, "03e8 0035 00080000", (1000, 53)),
        (132, "03e8 0035 00080000", (1000, 53)),
        (136, "03e8 0035 00080000", (1000, 53)),
        (1, "0304 ffff 00000000", (0x0304, UNEXAMINED)),
        (58, "8000 ffff 00000000", (0x8000, UNEXAMINED)),
        (135, "3b00 0500 00000000", (0x0500, UNEXAMINED)),
        (50, "00000001 00000002", (OPAQUE, OPAQUE)),
        (17, "03e8", (OPAQUE, OPAQUE)),
        (1, "08", (OPAQUE, OPAQUE)),
    ],
)
@pytest.mark.parametrize("version", [4, 6])
def test_ports_are_those_of_the_protocol(
    version: int, protocol: int, upper: str, expected: tuple[int, int]
) -> None:
    src, dst = (HOST_A4, HOST_B4) if version == 4 else (HOST_A6, HOST_B6)
    traffic, _ = classify(ip.build(src, dst, protocol, bytes.fromhex(upper)))

    assert traffic == (src, dst, protocol, *expected)


def test_ports_are_found_behind_options_and_extension_headers() -> None:
    udp = bytes(datagram())[20:]
    hop_by_hop = ip.build(HOST_A6, HOST_B6, 0, bytes.fromhex("1100010400000000") + udp)

    assert classify(hop_by_hop)[0][2:] == (17, 1000, 2000)


@pytest.mark.parametrize(("flags", "visible"), [(0x2000, True), (0x2001, False), (0x0001, False)])
def test_c88_only_a_first_fragment_shows_ports(flags: int, visible: bool) -> None:
    packet = datagram()
    packet[6:8] = flags.to_bytes(2, "big")
    ip.write_checksum(packet)
    traffic, header = classify(packet)

    assert traffic[3:] == ((1000, 2000) if visible else (OPAQUE, OPAQUE))
    assert memorable(packet, traffic, header) == traffic


@pytest.mark.parametrize(
    ("ports", "port", "expected"),
    [
        (ANY_PORTS, OPAQUE, True),
        (ANY_PORTS, UNEXAMINED, True),
        (ANY_PORTS, 0, True),
        (OPAQUE_PORTS, OPAQUE, True),
        (OPAQUE_PORTS, 0, False),
        (OPAQUE_PORTS, 65535, False),
        (OPAQUE_PORTS, UNEXAMINED, True),
        ((80, 81), OPAQUE, False),
        ((80, 81), UNEXAMINED, True),
        ((80, 81), 80, True),
        ((80, 81), 81, True),
        ((80, 81), 82, False),
    ],
)
def test_port_ranges_any_and_opaque(ports: tuple[int, int], port: int, expected: bool) -> None:
    assert covers(Selector.host(HOST_A4, 17, ports), HOST_A4, 17, port) == expected


def test_address_family_range_and_protocol_must_fit() -> None:
    selector = Selector(bytes((10, 0, 0, 5)), bytes((10, 0, 1, 4)), 6)

    assert covers(selector, bytes((10, 0, 0, 5)), 6, 1)
    assert covers(selector, bytes((10, 0, 1, 4)), 6, 1)
    assert not covers(selector, bytes((10, 0, 0, 4)), 6, 1)
    assert not covers(selector, bytes((10, 0, 1, 5)), 6, 1)
    assert not covers(selector, bytes((10, 0, 0, 5)), 17, 1)
    assert not covers(selector, bytes((10, 0, 0, 5)) + bytes(12), 6, 1)


def test_icmp_type_and_code_are_the_port_of_the_end_that_sends() -> None:
    """Pings may go out and answers come in, not the other way round (RFC 4301 4.4.1.3)."""
    local = (Selector.host(HOST_A4, 1, (ECHO_REQUEST, ECHO_REQUEST)),)
    remote = (Selector.host(HOST_B4, 1, (ECHO_REPLY, ECHO_REPLY)),)
    engine = bare_engine(HOST_A4)
    engine.spd.add(Policy("ping", Action.DISCARD, local, remote))
    out, back = (HOST_A4, HOST_B4), (HOST_B4, HOST_A4)

    def dropped(ends: tuple[bytes, bytes], kind: int, *, leaving: bool) -> bool:
        packet = ip.build(*ends, 1, bytes((kind, 0, 0, 0, 0, 0, 0, 0)))
        outcome = engine.outbound(packet, 0) if leaving else engine.inbound(packet, 0)
        return repr(outcome) != "BYPASS"

    assert dropped(out, 8, leaving=True)
    assert dropped(back, 0, leaving=False)
    assert not dropped(out, 0, leaving=True)
    assert not dropped(back, 8, leaving=False)


def test_each_icmp_packet_is_judged_by_its_type_although_checksums_differ() -> None:
    engine = bare_engine(HOST_A4)
    for sequence in range(300):
        engine.outbound(ip.build(HOST_A4, HOST_B4, 1, b"\x08\0" + sequence.to_bytes(6, "big")), 0)

    assert len(engine._leaving) == 1


def test_acquire_selectors_of_icmp_name_type_and_code_at_both_ends() -> None:
    traffic, _ = classify(ip.build(HOST_A4, HOST_B4, 1, bytes.fromhex("0800ffff00000000")))
    kind = (ECHO_REQUEST, ECHO_REQUEST)

    assert selectors_of(traffic) == (Selector.host(HOST_A4, 1, kind), Selector.host(HOST_B4, 1, kind))


def test_acquire_selectors_of_a_protocol_without_ports_say_any() -> None:
    traffic, _ = classify(ip.build(HOST_A4, HOST_B4, 47, bytes(8)))

    assert selectors_of(traffic) == (Selector.host(HOST_A4, 47), Selector.host(HOST_B4, 47))


@pytest.mark.parametrize("size", range(28))
def test_packets_too_short_for_a_key_do_not_share_one(size: int) -> None:
    """A UDP header that is cut off gives no key, and a decision about it must not spread."""
    packet = datagram()[:size]
    if size < 20:
        with pytest.raises(WireError):
            classify(packet)
        return
    packet[2:4] = size.to_bytes(2, "big")
    ip.write_checksum(packet)
    traffic, header = classify(packet)

    assert memorable(packet, traffic, header) == (flow_key(packet) if size >= 24 else traffic)


@given(
    one=st.tuples(st.sampled_from([6, 17]), st.integers(0, 65535), st.integers(0, 65535)),
    other=st.tuples(st.sampled_from([6, 17]), st.integers(0, 65535), st.integers(0, 65535)),
    version=st.sampled_from([4, 6]),
)
def test_keys_are_equal_for_equal_traffic_and_for_no_other(
    one: tuple[int, int, int], other: tuple[int, int, int], version: int
) -> None:
    first, second = ported(version, *one), ported(version, *other)

    assert (flow_key(first) == flow_key(second)) == (one == other)


def test_policy_sees_source_and_destination_by_direction() -> None:
    policy = Policy("net", Action.PROTECT, NET_A, NET_B)
    traffic, _ = classify(datagram())

    assert covers_both(traffic, policy.local_ts, policy.remote_ts)
    assert not covers_both(traffic, policy.remote_ts, policy.local_ts)


def ported(version: int, protocol: int, src_port: int, dst_port: int) -> bytearray:
    src, dst = (HOST_A4, HOST_B4) if version == 4 else (HOST_A6, HOST_B6)
    ports = src_port.to_bytes(2, "big") + dst_port.to_bytes(2, "big")
    return ip.build(src, dst, protocol, ports + bytes(16))
