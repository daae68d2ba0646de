"""Captures: a pcapng writer, and a reader of pcapng and of the older pcap.

pcapng is draft-ietf-opsawg-pcapng, pcap draft-ietf-opsawg-pcap; link types are those of the tcpdump registry.

    pcapng block                        enhanced packet block's body
     0 type                              0 interface | 4 timestamp high | 8 timestamp low
     4 total length                     12 captured length | 16 original length
     8 body, options                    20 data, padded to 4 octets
       total length again                  options: code, length, value padded to 4 octets

Read are section headers, interface descriptions, enhanced, simple and obsolete packet blocks; other blocks
(name resolution, statistics, secrets) are skipped. Compressed files are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple

from sim.units import NS_PER_S
from sim.wire.buffer import Buf, Reader, WireError

MAX_BLOCK_BYTES = 1 << 24
"""Longer blocks and packets are taken for damage, as Wireshark does."""


class LinkType(IntEnum):
    NULL = 0
    EN10MB = 1
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class _Block(IntEnum):
    INTERFACE = 1
    OBSOLETE_PACKET = 2
    SIMPLE_PACKET = 3
    ENHANCED_PACKET = 6
    SECTION = 0x0A0D0D0A


class _Option(IntEnum):
    END = 0
    IF_NAME = 2
    EPB_FLAGS = 2
    SHB_USERAPPL = 4
    IF_TSRESOL = 9
    IF_TSOFFSET = 14


_SECTION_TYPE = bytes.fromhex("0a0d0d0a")  # the same in both byte orders
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_NS_RESOLUTION = b"\x09"
_INBOUND, _OUTBOUND = 1, 2  # epb_flags, bits 0 and 1

_U32 = Struct("<I")
_BLOCK_HEAD = Struct("<II")
_SECTION_BODY = Struct("<IHHq")
_INTERFACE_BODY = Struct("<HHI")
_OPTION_HEAD = Struct("<HH")
_PACKET_HEAD = Struct("<IIIIIII")
_PACKET_TAIL = Struct("<HHIII")  # epb_flags, end of options, total length again
_PADDING = (b"", bytes(3), bytes(2), bytes(1))


class PcapngWriter:
    """Writes packets as LINKTYPE_RAW to `stream`, with ns timestamps and one named interface each.

    The octets depend on the arguments alone: no host, clock or library version enters. The stream stays the
    caller's, to flush and to close.
    """

    def __init__(self, stream: BinaryIO, interfaces: Sequence[str], *, application: str) -> None:
        self._write = stream.write
        section = _SECTION_BODY.pack(_BYTE_ORDER_MAGIC, 1, 0, -1)
        self._block(_Block.SECTION, section, {_Option.SHB_USERAPPL: application.encode()})
        for name in interfaces:
            body = _INTERFACE_BODY.pack(LinkType.RAW, 0, 0)
            self._block(
                _Block.INTERFACE, body, {_Option.IF_NAME: name.encode(), _Option.IF_TSRESOL: _NS_RESOLUTION}
            )

    def write(self, at_ns: int, interface_index: int, data: Buf, *, outbound: bool) -> None:
        """Append one IP packet that passed the interface at `at_ns`, which may be earlier than the last."""
        size = len(data)
        padding = _PADDING[size & 3]
        total = 44 + size + len(padding)
        head = _PACKET_HEAD.pack(
            _Block.ENHANCED_PACKET, total, interface_index, at_ns >> 32, at_ns & 0xFFFFFFFF, size, size
        )
        flags = _OUTBOUND if outbound else _INBOUND
        self._write(b"".join((head, data, padding, _PACKET_TAIL.pack(2, 4, flags, 0, total))))

    def _block(self, kind: _Block, body: bytes, options: dict[_Option, bytes]) -> None:
        for code, value in options.items():
            body += _OPTION_HEAD.pack(code, len(value)) + value + bytes(-len(value) % 4)
        body += _OPTION_HEAD.pack(_Option.END, 0)
        total = len(body) + 12
        self._write(_BLOCK_HEAD.pack(kind, total) + body + _U32.pack(total))


class Captured(NamedTuple):
    """One packet of a capture. `at_ns` counts from 1970; a simple packet block has no time, and it is 0.

    `interface` is the name that the capture gives, or "". `data` has `wire_bytes` octets, or fewer when the
    capturing program cut the packet off.
    """

    at_ns: int
    linktype: int
    interface: str
    data: bytes
    wire_bytes: int

    @property
    def cut_off(self) -> bool:
        return len(self.data) < self.wire_bytes


def read_capture(path: Path) -> Iterator[Captured]:
    """The packets of a pcap or pcapng file, as they stand in it.

    Packets before a damaged place are yielded; there a WireError names the file's offset. OSError when the
    file cannot be read.
    """
    with path.open("rb") as stream:
        yield from read_stream(stream)


def read_stream(stream: BinaryIO) -> Iterator[Captured]:
    """`read_capture` of an open binary stream."""
    source = _Source(stream)
    magic = source.take(4, "the file header")
    if magic == _SECTION_TYPE:
        return _read_pcapng(source)
    if magic in _PCAP_MAGIC:
        return _read_pcap(source, *_PCAP_MAGIC[magic])
    raise WireError(f"neither pcap nor pcapng: the file starts with {magic.hex()}")


class _Source:
    """A stream that counts its offset and never returns fewer octets than asked for."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read = stream.read
        self.offset = 0

    def take(self, size: int, what: str) -> bytes:
        data = self.take_or_end(size, what)
        if len(data) < size:
            raise WireError(f"cut off at offset {self.offset}: {what} is missing")
        return data

    def take_or_end(self, size: int, what: str) -> bytes:
        """Like `take`, but nothing at the end of the file."""
        data = self._read(size)
        self.offset += len(data)
        if data and len(data) < size:
            raise WireError(f"cut off at offset {self.offset}: {what} needs {size - len(data)} octets more")
        return data


_PCAP_MAGIC: dict[bytes, tuple[str, int]] = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""Byte order, and ns in the fraction's unit."""


def _read_pcap(source: _Source, order: str, unit_ns: int) -> Iterator[Captured]:
    rest = source.take(20, "the file header")
    linktype = Struct(order + "16xI").unpack(rest)[0] & 0xFFFF  # the high octets tell of an FCS
    record = Struct(order + "IIII")
    while head := source.take_or_end(record.size, "a packet's header"):
        seconds, fraction, size, wire_bytes = record.unpack(head)
        if size > MAX_BLOCK_BYTES:
            raise WireError(f"damaged before offset {source.offset}: a packet of {size} octets")
        data = source.take(size, "a packet") if size else b""
        yield Captured(seconds * NS_PER_S + fraction * unit_ns, linktype, "", data, wire_bytes)


class _Interface(NamedTuple):
    """An interface description block; a time in ns is `ticks * NS_PER_S // per_s + offset_s * NS_PER_S`."""

    linktype: int
    snap_bytes: int
    name: str
    per_s: int
    offset_s: int


class _Section:
    """What the blocks of one section need: its byte order and the interfaces described so far."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.length = Struct(order + "I")
        self.description = Struct(order + "HHI")
        self.option = Struct(order + "HH")
        self.enhanced = Struct(order + "IIIII")
        self.obsolete = Struct(order + "HHIIII")
        self.seconds = Struct(order + "q")
        self.interfaces: list[_Interface] = []


def _read_pcapng(source: _Source) -> Iterator[Captured]:
    section = _read_section(source)
    while kind := source.take_or_end(4, "a block's type"):
        if kind == _SECTION_TYPE:
            section = _read_section(source)
            continue
        start = source.offset - 4
        length = source.take(4, "a block's length")
        body = _read_body(source, section.length, length, 8)
        read = _READERS.get(section.length.unpack(kind)[0], _skip)
        packet = read(section, Reader(body, start + 8))
        if packet is not None:
            yield packet


def _read_section(source: _Source) -> _Section:
    """A section header, after its type; the byte order of the length follows the length."""
    length = source.take(4, "a section's length")
    magic = source.take(4, "a section's byte order")
    for order in "<>":
        section = _Section(order)
        if section.length.unpack(magic)[0] == _BYTE_ORDER_MAGIC:
            body = Reader(_read_body(source, section.length, length, 12), source.offset)
            major, _ = body.unpack(section.option)
            if major != 1:
                raise WireError(f"pcapng version {major} before offset {source.offset} is not known")
            return section
    raise WireError(f"byte order {magic.hex()} of a section before offset {source.offset} is not known")


def _read_body(source: _Source, layout: Struct, length: bytes, already: int) -> bytes:
    """The rest of a block of which `already` octets are read, without the length that ends it."""
    total: int = layout.unpack(length)[0]
    if total % 4 or not already + 4 <= total <= MAX_BLOCK_BYTES:
        raise WireError(f"damaged before offset {source.offset}: a block of {total} octets")
    data = source.take(total - already, "a block's body")
    if data[-4:] != length:
        raise WireError(f"damaged before offset {source.offset}: a block's two lengths differ")
    return data[:-4]


def _skip(section: _Section, body: Reader) -> None:
    return None


def _describe_interface(section: _Section, body: Reader) -> None:
    linktype, _, snap_bytes = body.unpack(section.description)
    options = dict(_options(section, body))
    resolution = options.get(_Option.IF_TSRESOL, b"\x06")
    offset = options.get(_Option.IF_TSOFFSET, bytes(8))
    if len(resolution) != 1 or len(offset) != 8:
        raise WireError(f"damaged options before offset {body.base + body.offset}")
    base, exponent = 2 if resolution[0] & 0x80 else 10, resolution[0] & 0x7F
    name = options.get(_Option.IF_NAME, b"").rstrip(b"\0").decode(errors="replace")
    offset_s = section.seconds.unpack(offset)[0]
    section.interfaces.append(_Interface(linktype, snap_bytes, name, base**exponent, offset_s))


def _options(section: _Section, body: Reader) -> Iterator[tuple[int, bytes]]:
    while body.remaining:
        code, size = body.unpack(section.option)
        if code == _Option.END:
            return
        yield code, body.take(size)
        body.take(-size % 4)


def _read_enhanced(section: _Section, body: Reader) -> Captured:
    index, high, low, size, wire_bytes = body.unpack(section.enhanced)
    return _captured(_interface(section, index, body), high << 32 | low, body.take(size), wire_bytes)


def _read_obsolete(section: _Section, body: Reader) -> Captured:
    index, _, high, low, size, wire_bytes = body.unpack(section.obsolete)
    return _captured(_interface(section, index, body), high << 32 | low, body.take(size), wire_bytes)


def _read_simple(section: _Section, body: Reader) -> Captured:
    (wire_bytes,) = body.unpack(section.length)
    interface = _interface(section, 0, body)
    size = min(wire_bytes, interface.snap_bytes or wire_bytes)
    return Captured(0, interface.linktype, interface.name, body.take(size), wire_bytes)


def _captured(interface: _Interface, ticks: int, data: bytes, wire_bytes: int) -> Captured:
    at_ns = ticks * NS_PER_S // interface.per_s + interface.offset_s * NS_PER_S
    return Captured(at_ns, interface.linktype, interface.name, data, wire_bytes)


def _interface(section: _Section, index: int, body: Reader) -> _Interface:
    if index >= len(section.interfaces):
        raise WireError(f"interface {index} of the block before offset {body.base} is not described")
    return section.interfaces[index]


_READERS: dict[int, Callable[[_Section, Reader], Captured | None]] = {
    _Block.INTERFACE: _describe_interface,
    _Block.OBSOLETE_PACKET: _read_obsolete,
    _Block.SIMPLE_PACKET: _read_simple,
    _Block.ENHANCED_PACKET: _read_enhanced,
}


_ETHERTYPES = (b"\x08\x00", b"\x86\xdd")  # IPv4, IPv6
_VLAN_TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")


def is_link_type(number: int) -> bool:
    """Whether `strip_link_layer` can find IP behind such a link layer."""
    return number in LinkType.__members__.values()


def strip_link_layer(linktype: int, data: bytes) -> bytes | None:
    """The IP packet in a captured frame, without the padding or FCS behind it; None when there is no IP.

    IP is recognised by its version and, where the link layer has one, its EtherType. A packet that is cut off
    or damaged inside is returned as it is.
    """
    start = _ip_offset(linktype, data)
    if start is None or len(data) <= start or data[start] >> 4 not in (4, 6):
        return None
    packet = data[start:]
    if packet[0] >> 4 == 4:
        return packet[: max(int.from_bytes(packet[2:4], "big"), 20)]
    return packet[: 40 + int.from_bytes(packet[4:6], "big")]


def _ip_offset(linktype: int, data: bytes) -> int | None:
    if linktype in (LinkType.RAW, LinkType.IPV4, LinkType.IPV6):
        return 0
    if linktype in (LinkType.NULL, LinkType.LOOP):
        return 4  # the address family's number and byte order are the capturing system's
    if linktype not in _ETHERTYPE_AT:
        return None
    type_at, start = _ETHERTYPE_AT[linktype]
    while data[type_at : type_at + 2] in _VLAN_TAGS and linktype == LinkType.EN10MB:
        type_at, start = type_at + 4, start + 4
    return start if data[type_at : type_at + 2] in _ETHERTYPES else None


_ETHERTYPE_AT: dict[int, tuple[int, int]] = {
    LinkType.EN10MB: (12, 14),
    LinkType.LINUX_SLL: (14, 16),
    LinkType.LINUX_SLL2: (0, 20),
}
"""Where the EtherType is, and where the packet starts."""
