"""Writing pcapng, reading pcapng and pcap, with scapy and tshark as judges."""

from __future__ import annotations

import io
import subprocess
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import RawPcapNgReader, RawPcapReader

from sim.wire import ip, udp
from sim.wire.address import pack_address
from sim.wire.buffer import WireError
from sim.wire.pcapng import Captured, LinkType, PcapngWriter, read_capture, read_stream, strip_link_layer
from tests.peers import require
from tests.wire.samples import CAPTURES, DATA, PAYLOADS

A, B = (pack_address("192.0.2.1"), 500), (pack_address("192.0.2.2"), 4500)
INTERFACES = ("moon:wan", "bob:eth0", "Müller:wlan")
RECORDS = st.lists(
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2), PAYLOADS, st.booleans()), max_size=8
)
Record = tuple[int, int, bytes, bool]


@given(RECORDS)
def test_what_is_written_is_read(records: list[Record]) -> None:
    read = list(read_stream(io.BytesIO(_written(records))))
    assert read == [
        Captured(at_ns, LinkType.RAW, INTERFACES[index], data, len(data)) for at_ns, index, data, _ in records
    ]


@given(RECORDS)
def test_scapy_reads_what_is_written(records: list[Record]) -> None:
    assert _read_by_scapy(_written(records)) == [
        (data, at_ns, INTERFACES[index].encode(), 2 if outbound else 1)
        for at_ns, index, data, outbound in records
    ]


def test_equal_packets_give_equal_octets() -> None:
    records: list[Record] = [(5, 0, b"one", True), (6, 1, b"two", False)]
    assert _written(records) == _written(records)


@pytest.mark.peers
def test_tshark_reads_names_times_directions_and_packets(tmp_path: Path) -> None:
    tshark = require("tshark")
    packet = udp.build(A, B, b"some payload", identification=7)
    packet6 = ip.build(bytes(15) + b"\1", bytes(15) + b"\2", ip.Protocol.NO_NEXT, b"")
    file = tmp_path / "ours.pcapng"
    file.write_bytes(
        _written([(1_234_567_890, 1, bytes(packet), True), (2**62 + 1, 2, bytes(packet6), False)])
    )
    fields = [
        "frame.time_epoch",
        "frame.interface_name",
        "frame.packet_flags_direction",
        "ip.src",
        "ipv6.dst",
    ]
    fields += ["udp.checksum.status", "_ws.malformed"]
    command = [
        tshark,
        "-n",
        "-r",
        str(file),
        "-o",
        "udp.check_checksum:TRUE",
        "-T",
        "fields",
        "-E",
        "separator=|",
    ]
    for field in fields:
        command += ["-e", field]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    assert shown == [
        "1.234567890|bob:eth0|0x00000002|192.0.2.1||1|",
        "4611686018.427387905|Müller:wlan|0x00000001||::2||",
    ]


@pytest.mark.parametrize("name", CAPTURES)
def test_captures_read_as_scapy_reads_them(name: str) -> None:
    theirs = [(data, at_ns) for data, at_ns, _, _ in _read_by_scapy((DATA / name).read_bytes())]
    assert [(frame.data, frame.at_ns) for frame in read_capture(DATA / name)] == theirs


@pytest.mark.peers
@pytest.mark.parametrize("name", CAPTURES)
def test_captures_read_as_tshark_reads_them(name: str) -> None:
    command = [require("tshark"), "-n", "-r", str(DATA / name), "-T", "fields"]
    for field in ("frame.time_epoch", "frame.len", "frame.cap_len"):
        command += ["-e", field]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    assert shown == [
        f"{frame.at_ns // 10**9}.{frame.at_ns % 10**9:09}\t{frame.wire_bytes}\t{len(frame.data)}"
        for frame in read_capture(DATA / name)
    ]


@pytest.mark.peers
@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_converted_to_pcapng_reads_the_same(name: str, tmp_path: Path) -> None:
    file = tmp_path / "converted.pcapng"
    subprocess.run([require("editcap"), "-F", "pcapng", str(DATA / name), str(file)], check=True)
    assert list(read_capture(file)) == list(read_capture(DATA / name))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_of_both_byte_orders_and_resolutions(order: str, magic: int, unit_ns: int) -> None:
    file = _pcap(order, magic) + pack(order + "IIII", 7, 999_999, 3, 9) + b"abc"
    assert list(read_stream(io.BytesIO(file))) == [
        Captured(7 * 10**9 + 999_999 * unit_ns, LinkType.RAW, "", b"abc", 9)
    ]


def test_a_packet_cut_off_by_the_snap_length_says_so() -> None:
    (frame,) = read_capture(DATA / "tcpdump/esp_truncated.pcap")
    assert (frame.cut_off, len(frame.data), frame.wire_bytes) == (True, 46, 65613)
    (whole,) = read_stream(io.BytesIO(_written([(1, 0, b"whole", True)])))
    assert not whole.cut_off


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_both_byte_orders_resolutions_and_packet_blocks(order: str) -> None:
    interface = _block(order, 1, pack(order + "HHI", 1, 0, 4) + _option(order, 2, b"eth0"))
    quarter_seconds = _option(order, 9, b"\x82") + _option(order, 14, pack(order + "q", 100)) + bytes(4)
    other = _block(order, 1, pack(order + "HHI", 101, 0, 0) + quarter_seconds)
    file = b"".join(
        (
            _section(order),
            interface,
            other,
            _block(order, 5, bytes(12)),  # statistics: skipped
            _block(order, 6, pack(order + "IIIII", 0, 1, 1, 3, 9) + b"abc\0"),
            _block(order, 2, pack(order + "HHIIII", 1, 0, 0, 5, 1, 1) + b"x\0\0\0"),
            _block(order, 3, pack(order + "I", 6) + b"snap"),
            _section("<" if order == ">" else ">"),
        )
    )
    assert list(read_stream(io.BytesIO(file))) == [
        Captured((2**32 + 1) * 1000, 1, "eth0", b"abc", 9),
        Captured(101_250_000_000, 101, "", b"x", 1),
        Captured(0, 1, "eth0", b"snap", 6),
    ]


def test_a_snap_length_of_zero_is_no_limit() -> None:
    simple = _block("<", 3, pack("<I", 6) + b"whole!\0\0")
    file = _section("<") + _block("<", 1, pack("<HHI", 101, 0, 0)) + simple
    assert [frame.data for frame in read_stream(io.BytesIO(file))] == [b"whole!"]


def test_a_new_section_forgets_the_interfaces() -> None:
    packet = _block("<", 6, pack("<IIIII", 0, 0, 0, 0, 0))
    file = _section("<") + _block("<", 1, pack("<HHI", 1, 0, 0)) + packet + _section("<") + packet
    frames = read_stream(io.BytesIO(file))
    next(frames)
    with pytest.raises(WireError, match="interface 0"):
        next(frames)


@pytest.mark.parametrize("name", ["linux-icmp/sll.pcap", "ours"])
def test_truncation_at_every_length_yields_what_is_whole_and_names_the_offset(name: str) -> None:
    records: list[Record] = [(1, 0, b"12345", True), (2, 1, b"123", False)]
    file = _written(records) if name == "ours" else (DATA / name).read_bytes()
    whole = list(read_stream(io.BytesIO(file)))
    ends = _ends(file)
    for size in range(len(file)):
        read: list[Captured] = []
        problem = _read_into(read, file[:size])
        assert read == whole[: len(read)]
        assert (size in ends) if problem is None else (f"cut off at offset {size}" in problem)


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "file header is missing"),
        (b"not a capture", "neither pcap nor pcapng"),
        (b"\x0a\x0d\x0d\x0a" + bytes(8), "byte order"),
        (b"\x0a\x0d\x0d\x0a" + pack("<IIHHq", 28, 0x1A2B3C4D, 2, 0, -1) + pack("<I", 28), "version 2"),
        (pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 1) + pack("<IIII", 0, 0, 2**31, 0), "2147483648 octets"),
    ],
)
def test_damaged_files_are_errors(octets: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        list(read_stream(io.BytesIO(octets)))


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (pack("<III", 6, 8, 8), "a block of 8 octets"),
        (pack("<II", 6, 33), "a block of 33 octets"),
        (pack("<II", 6, 2**30), "a block of 1073741824 octets"),
        (pack("<III", 9, 12, 16), "lengths differ"),
        (pack("<IIHHIHHII", 1, 32, 1, 0, 0, 9, 2, 0, 0) + pack("<I", 32), "damaged options"),
        (pack("<IIHHIHHI", 1, 28, 1, 0, 0, 2, 200, 0) + pack("<I", 28), "200 octets wanted"),
        (pack("<IIIIIIII", 6, 36, 0, 0, 0, 5, 5, 0) + pack("<I", 36), "interface 0"),
    ],
)
def test_damaged_blocks_are_errors(block: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        list(read_stream(io.BytesIO(_section("<") + block)))


@given(st.binary(max_size=200), st.sampled_from(["ours", "pcap", "section"]))
def test_arbitrary_octets_give_packets_or_a_wire_error(tail: bytes, start: str) -> None:
    starts = {"ours": _written([]), "pcap": _pcap(">", 0xA1B2C3D4), "section": _section(">")}
    for file in (tail, starts[start] + tail):
        with suppress(WireError):
            list(read_stream(io.BytesIO(file)))


@given(st.data())
def test_a_damaged_octet_gives_packets_or_a_wire_error(draw: st.DataObject) -> None:
    file = bytearray(_written([(1, 0, b"12345", True), (2, 1, b"123", False)]))
    at = draw.draw(st.integers(0, len(file) - 1))
    file[at] = draw.draw(st.integers(0, 255))
    with suppress(WireError):
        list(read_stream(io.BytesIO(file)))


def test_link_layers_of_captures_hide_the_same_packets() -> None:
    """SLL and SLL2 saw the first ping on both sides of the router, Ethernet at its two ends."""
    by_type = {
        name: _stripped(f"linux-icmp/{name}") for name in ("sll.pcap", "sll2.pcap", "a.pcap", "b.pcapng")
    }
    assert by_type["sll.pcap"] == by_type["sll2.pcap"]
    at_a, at_b = by_type["a.pcap"], by_type["b.pcapng"]
    assert by_type["sll.pcap"] == [at_a[0], at_b[0], at_b[1], at_a[1]]


@given(st.integers(0, 60))
def test_padding_behind_the_packet_is_removed(padding: int) -> None:
    for packet in (bytes(udp.build(A, B, b"x")), bytes(ip.build(bytes(16), bytes(16), 59, b"x"))):
        assert strip_link_layer(LinkType.RAW, packet + bytes(padding)) == packet


def test_vlan_tags_are_skipped() -> None:
    packet = bytes(udp.build(A, B, b"x"))
    tags = (Ether() / Dot1Q(vlan=7), Ether() / Dot1AD(vlan=7) / Dot1Q(vlan=8))
    for frame in tags:
        last = frame.lastlayer()
        last.type = 0x0800
        assert strip_link_layer(LinkType.EN10MB, bytes(frame / Raw(packet))) == packet


@pytest.mark.parametrize("family", ["02000000", "00000002", "1e000000"])
def test_loopback_has_four_octets_before_the_packet(family: str) -> None:
    packet = bytes(udp.build(A, B, b"x"))
    for linktype in (LinkType.NULL, LinkType.LOOP):
        assert strip_link_layer(linktype, bytes.fromhex(family) + packet) == packet


def test_frames_without_ip_are_none() -> None:
    arp = next(
        frame for frame in read_capture(DATA / "tcpdump/isakmp4500.pcap") if frame.data[12:14] == b"\x08\x06"
    )
    assert strip_link_layer(arp.linktype, arp.data) is None
    assert strip_link_layer(127, arp.data) is None
    assert strip_link_layer(LinkType.RAW, b"\x50" + bytes(40)) is None


@given(st.sampled_from([*LinkType, 12, 147]), st.binary(max_size=80))
def test_arbitrary_frames_give_octets_or_nothing(linktype: int, frame: bytes) -> None:
    packet = strip_link_layer(linktype, frame)
    assert packet is None or (packet[0] >> 4 in (4, 6) and packet in frame)


def _written(records: list[Record]) -> bytes:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, INTERFACES, application="a test")
    for at_ns, index, data, outbound in records:
        writer.write(at_ns, index, data, outbound=outbound)
    return stream.getvalue()


def _read_into(read: list[Captured], file: bytes) -> str | None:
    try:
        read.extend(read_stream(io.BytesIO(file)))
    except WireError as error:
        return str(error)
    return None


def _read_by_scapy(file: bytes) -> list[tuple[bytes, int, bytes | None, int | None]]:
    """Data, time in ns, interface and direction; a pcap has neither of the latter."""
    if file[:4] != b"\x0a\x0d\x0d\x0a":
        pcap: Any = RawPcapReader(io.BytesIO(file))  # type: ignore[arg-type]
        unit_ns = 1 if pcap.nano else 1000
        return [(data, meta.sec * 10**9 + meta.usec * unit_ns, None, None) for data, meta in pcap]
    blocks: Any = RawPcapNgReader(io.BytesIO(file))  # type: ignore[arg-type]
    return [
        (data, ((meta.tshigh << 32) + meta.tslow) * 10**9 // meta.tsresol, meta.ifname, meta.direction)
        for data, meta in blocks
    ]


def _pcap(order: str, magic: int) -> bytes:
    return pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, LinkType.RAW)


def _section(order: str) -> bytes:
    return b"\x0a\x0d\x0d\x0a" + pack(order + "IIHHqI", 28, 0x1A2B3C4D, 1, 0, -1, 28)


def _block(order: str, kind: int, body: bytes) -> bytes:
    total = len(body) + 12
    return pack(order + "II", kind, total) + body + pack(order + "I", total)


def _option(order: str, code: int, value: bytes) -> bytes:
    return pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def _ends(file: bytes) -> set[int]:
    """Where a file may end: behind the header of a pcap, and behind each of its packets or each block."""
    pcapng = file[:4] == b"\x0a\x0d\x0d\x0a"
    at, ends = (0, set()) if pcapng else (24, {24})
    while at < len(file):
        size = int.from_bytes(file[at + 4 : at + 8], "little") if pcapng else 16
        at += size if pcapng else 16 + int.from_bytes(file[at + 8 : at + 12], "little")
        ends.add(at)
    return ends


def _stripped(name: str) -> list[bytes | None]:
    return [strip_link_layer(frame.linktype, frame.data) for frame in read_capture(DATA / name)]
