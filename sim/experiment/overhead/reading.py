"""Byte maps of encoded packets: what stands on the wire, decrypted with the SA's own keys and taken apart.

The fields are those of `sim.experiment.packet_map`. Here they learn which of them the carrier has added, the
section of the cipher or MAC at hand, and what belongs to the packet without being sent with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sim.experiment.overhead.carriers import Carrier
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.sources import CIPHERS, MACS
from sim.experiment.overhead.suite import Suite
from sim.experiment.overhead.variant import Variant
from sim.experiment.packet_fields import Field, field, ip_fields, protocol_name, rest, transport_fields
from sim.experiment.packet_map import packet_fields
from sim.tunnels.keylog import KeyLog
from sim.wire import gre, ip, ipcomp, l2tp
from sim.wire.esp import Mode
from sim.wire.ip import Protocol
from sim.wire.udp import UDP_HEADER_BYTES

_INNER = "inner "
_COMPRESSED = f"{_INNER}{protocol_name(Protocol.IPCOMP)}"
COMPRESSED_LAYER = "inner, compressed"
_SALTED_NONCE = 12
_PROTECTORS = {"ESP": "RFC 4303 2.2.1", "AH": "RFC 4302 2.5.1"}
"""The layers that carry a sequence number, and where its extended form is defined."""


def read(octets: bytes, variant: Variant, keys: KeyLog) -> list[Piece]:
    """The pieces of a packet that this variant's SA has sealed; together they are the whole packet."""
    fields = packet_fields(octets, keys)
    if variant.ipcomp:
        fields = list(_with_ipcomp(fields))
    if variant.carrier in _SHELLS and not _is_compressed(fields):
        fields = _without_shell(fields, variant)
    if variant.suite is None:
        return [_piece(item, added=False) for item in fields]
    return list(_explained(fields, variant, variant.suite))


def _explained(fields: list[Field], variant: Variant, suite: Suite) -> Iterator[Piece]:
    own_header = variant.mode is Mode.TRANSPORT and variant.carrier not in _SHELLS
    for item in fields:
        if item.octets:
            added = not item.layer.startswith(_INNER) and not (own_header and item.layer == "IP")
            yield _piece(_sourced(item, suite), added=added)
        if item.layer in _PROTECTORS:
            yield from _unsent(item, suite)


def _sourced(item: Field, suite: Suite) -> Field:
    """The field with the section that is about this cipher, this MAC or UDP around ESP."""
    cipher = CIPHERS[suite.encryption.id]
    mac = MACS[suite.integrity.id] if suite.integrity is not None else cipher.icv
    own = {
        ("ESP", "IV"): cipher.iv,
        ("ESP", "ICV"): mac,
        ("AH", "ICV"): mac,
        ("ESP trailer", "padding"): cipher.padding,
    }
    if item.layer == "UDP":
        return replace(item, source="RFC 3948 2.1")
    if item.name == "padding" and item.layer == "ESP trailer":
        item = replace(item, value=f"1 to {len(item.octets)}")
    source = own.get((item.layer, item.name))
    return replace(item, source=source) if source else item


def _unsent(item: Field, suite: Suite) -> Iterator[Piece]:
    """What both ends know, and no packet carries: people count it by mistake."""
    cipher, at = suite.encryption, item.offset + len(item.octets)
    source = CIPHERS[cipher.id]
    if item.name == "sequence number" and suite.esn:
        text = "4 octets that the ICV covers all the same"
        yield Piece(at, 0, item.layer, "sequence number, high half", text, _PROTECTORS[item.layer], True)
    if not cipher.salt_bytes:
        return
    if item.name == "sequence number" and not cipher.iv_bytes:
        text = f"{_SALTED_NONCE - cipher.salt_bytes} octets made of the sequence number"
        yield Piece(at, 0, "ESP", "IV, implicit", text, source.iv, True)
    if item.name == ("IV" if cipher.iv_bytes else "sequence number"):
        text = f"{cipher.salt_bytes} octets of the nonce that come from the keying material"
        yield Piece(at, 0, "ESP", "salt", text, source.salt, True)


def _piece(item: Field, *, added: bool) -> Piece:
    return Piece(item.offset, len(item.octets), item.layer, item.name, item.value, item.source, added)


def _with_ipcomp(fields: list[Field]) -> Iterator[Field]:
    """The fields where what ESP or AH holds is taken apart if it is compressed."""
    for item in fields:
        if item.layer != _COMPRESSED:
            yield item
            continue
        plain, at = item.plain or item.octets, item.offset
        next_header, cpi = ipcomp.parse(plain)
        protocol = protocol_name(next_header)
        parts = [
            field(plain, 0, 1, "IPComp", "next header", protocol, "RFC 3173 3.1"),
            field(plain, 1, 2, "IPComp", "flags", "0", "RFC 3173 3.2"),
            field(plain, 2, ipcomp.HEADER_BYTES, "IPComp", "CPI", f"{cpi} (DEFLATE)", "RFC 3173 3.3"),
            rest(plain, ipcomp.HEADER_BYTES, COMPRESSED_LAYER, "data", "RFC 2394 2"),
        ]
        yield from (replace(part, offset=at + part.offset) for part in parts)


def _is_compressed(fields: list[Field]) -> bool:
    return any(item.layer == COMPRESSED_LAYER for item in fields)


def _without_shell(fields: list[Field], variant: Variant) -> list[Field]:
    """The fields where what ESP holds is read as GRE or L2TP with an IP packet in it."""
    before = [item for item in fields if not item.layer.startswith(_INNER)]
    held = [item for item in fields if item.layer.startswith(_INNER)]
    plain, at = b"".join(item.plain for item in held), held[0].offset
    inside = [replace(item, offset=at + item.offset) for item in _shell(plain, variant)]
    first = next(n for n, item in enumerate(before) if item.offset > at)
    return [*before[:first], *inside, *before[first:]]


def _shell(plain: bytes, variant: Variant) -> Iterator[Field]:
    at = 0
    if variant.mode is Mode.TUNNEL:
        header = ip.parse(plain)
        yield from ip_fields(plain, header, "delivery IP")
        at = header.upper_offset
    if variant.carrier is Carrier.L2TP:
        yield from _headers(plain, at, "UDP in ESP", _UDP_FIELDS)
        at += UDP_HEADER_BYTES
    fields, parse = _SHELLS[variant.carrier]
    parse(plain[at:])
    for layer, layout in fields:
        yield from _headers(plain, at, layer, layout)
        at += sum(size for _, size, _ in layout)
    packet = plain[at:]
    header = ip.parse(packet)
    inner = [*ip_fields(packet, header, "inner IP")]
    inner += transport_fields(packet, header.upper_offset, header.protocol, _INNER)
    yield from (replace(item, offset=at + item.offset) for item in inner)


def _headers(plain: bytes, at: int, layer: str, layout: _Layout) -> Iterator[Field]:
    for name, size, source in layout:
        octets = plain[at : at + size]
        yield field(plain, at, at + size, layer, name, f"0x{octets.hex()}", source)
        at += size


_Layout = tuple[tuple[str, int, str], ...]
_UDP_FIELDS: _Layout = tuple(
    (name, 2, "RFC 768") for name in ("source port", "destination port", "length", "checksum")
)
_GRE_FIELDS = (("GRE", (("flags, version", 2, "RFC 2784 2.1"), ("protocol type", 2, "RFC 2784 2.4"))),)
_L2TP_FIELDS = (
    (
        "L2TP",
        (
            ("flags, version", 2, "RFC 2661 3.1"),
            ("tunnel id", 2, "RFC 2661 3.1"),
            ("session id", 2, "RFC 2661 3.1"),
        ),
    ),
    ("PPP", (("address, control", 2, "RFC 1662 3.1"), ("protocol", 2, "RFC 1661 2"))),
)
_SHELLS = {
    Carrier.GRE: (_GRE_FIELDS, gre.parse),
    Carrier.L2TP: (_L2TP_FIELDS, l2tp.parse),
}
