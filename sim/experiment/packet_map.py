"""One IP packet octet by octet: every field with its offset, its octets and the section that defines it.

ESP is RFC 4303, AH RFC 4302, ESP in UDP RFC 3948; the headers around and inside are in `packet_fields`. All
lengths are read from the packet, or from the suite of the SA that sealed it. IKE messages are left to
`ipsec-sim decode`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sim.crypto.cipher import Cipher, cipher
from sim.crypto.errors import IntegrityError
from sim.experiment.packet_aggfrag import aggfrag_fields
from sim.experiment.packet_ah import ah_fields
from sim.experiment.packet_fields import (
    Field,
    field,
    ip_fields,
    protocol_name,
    rest,
    transport_fields,
)
from sim.ike.events import ChildSaUp
from sim.tunnels.keylog import KeyLog
from sim.wire import ah, ip, udp, udp_encap
from sim.wire.buffer import Buf, WireError
from sim.wire.esp import HEADER_BYTES, TRAILER_BYTES, Mode, parse_header
from sim.wire.ip import Protocol

if TYPE_CHECKING:
    import pandas as pd

NATT_PORT = 4500


def packet_map(octets: Buf, keys: KeyLog | None = None) -> pd.DataFrame:
    """A row for each field of one IP packet, in the order of the wire; together they are the whole packet.

    Columns: offset, octets (how many), layer, field, value, hex (what is on the wire), plain (what was
    encrypted, in hexadecimal) and source (the section of an RFC). `keys` are those of the run,
    `result.world.keys`; without them IV, ciphertext and ICV of ESP cannot be told apart. WireError when the
    octets are no sound IP packet.
    """
    import pandas as pd

    rows = [
        {
            "offset": item.offset,
            "octets": len(item.octets),
            "layer": item.layer,
            "field": item.name,
            "value": item.value,
            "hex": item.octets.hex(" "),
            "plain": item.plain.hex(" "),
            "source": item.source,
        }
        for item in packet_fields(octets, keys)
    ]
    return pd.DataFrame(rows)


def packet_fields(octets: Buf, keys: KeyLog | None = None) -> list[Field]:
    """The rows of `packet_map` as values."""
    packet = bytes(octets)
    header = ip.parse(packet)
    return [*ip_fields(packet, header, "IP"), *_upper(packet, header, keys)]


def _upper(packet: bytes, header: ip.IpHeader, keys: KeyLog | None) -> Iterator[Field]:
    at = header.upper_offset
    if header.is_fragment:
        yield rest(packet, at, "IP", "fragment of the payload", "RFC 791 3.2")
    elif header.protocol == Protocol.ESP:
        yield from _esp(packet, at, keys)
    elif header.protocol == Protocol.AH:
        yield from _ah(packet, at, keys)
    elif header.protocol == Protocol.UDP and NATT_PORT in udp.parse(packet, at)[:2]:
        data = at + udp.UDP_HEADER_BYTES
        yield from transport_fields(packet[:data], at, Protocol.UDP)
        yield from _encapsulated(packet, data, keys)
    else:
        yield from transport_fields(packet, at, header.protocol)


def _encapsulated(packet: bytes, at: int, keys: KeyLog | None) -> Iterator[Field]:
    """What the NAT traversal port carries (RFC 3948 2)."""
    kind = udp_encap.classify(packet[at:])
    if kind is udp_encap.Kind.ESP:
        yield from _esp(packet, at, keys)
    elif kind is udp_encap.Kind.IKE:
        end = at + len(udp_encap.NON_ESP_MARKER)
        yield field(packet, at, end, "UDP", "non-ESP marker", "IKE follows", "RFC 3948 2.2")
        yield rest(packet, end, "IKE", "message", "RFC 7296 3.1")
    else:
        yield rest(packet, at, "UDP", kind.value, "RFC 3948 2.3")


def _ah(packet: bytes, at: int, keys: KeyLog | None) -> Iterator[Field]:
    try:
        header = ah.parse(packet, at)
    except WireError:
        yield rest(packet, at, "AH", "damaged header", "RFC 4302 2")
        return
    sa = keys.receiving(header.spi) if keys else None
    integrity = sa.suite.integrity if sa else None
    size = integrity.iv_bytes + integrity.icv_bytes if integrity else None
    yield from ah_fields(packet, at, size)
    end = at + header.size
    mode = Mode.TUNNEL if header.next_header in (Protocol.IPV4, Protocol.IPV6) else Mode.TRANSPORT
    for item in _payload(packet[end:], header.next_header, mode):
        yield replace(item, offset=end + item.offset)


def _esp(packet: bytes, at: int, keys: KeyLog | None) -> Iterator[Field]:
    spi, seq = parse_header(packet, at)
    body = at + HEADER_BYTES
    yield field(packet, at, at + 4, "ESP", "SPI", f"0x{spi:08x}", "RFC 4303 2.1")
    yield field(packet, at + 4, body, "ESP", "sequence number", str(seq), "RFC 4303 2.2")
    sa = keys.receiving(spi) if keys else None
    opener = _cipher(sa) if sa else None
    if sa is None or opener is None or len(packet) - body < opener.iv_bytes + opener.icv_bytes:
        yield rest(packet, body, "ESP", "IV, ciphertext and ICV", "RFC 4303 2")
        return
    start, end = body + opener.iv_bytes, len(packet) - opener.icv_bytes
    if start > body:  # NULL has no IV, and an implicit one does not travel
        yield field(packet, body, start, "ESP", "IV", f"of {sa.suite.encryption.name}", "RFC 4303 2.3")
    plain = _open(opener, sa, packet[at:body], packet[body:start], packet[start:])
    if plain is None:
        yield field(packet, start, end, "ESP", "ciphertext", f"{end - start} octets", "RFC 4303 2.3")
    else:
        yield from (_in_place(item, packet, start) for item in _plaintext(plain, sa.mode))
    verdict = "is right" if plain is not None else "is wrong"
    yield field(packet, end, len(packet), "ESP", "ICV", verdict, "RFC 4303 2.8")


def _cipher(sa: ChildSaUp) -> Cipher:
    def draw(size: int) -> bytes:
        raise AssertionError("opening draws nothing")

    return cipher(sa.suite.encryption, sa.suite.integrity, *sa.keys_in, draw)


def _open(opener: Cipher, sa: ChildSaUp, header: bytes, iv: bytes, sealed: bytes) -> bytes | None:
    """The plaintext; None when the ICV is wrong. An ESN's high half is taken for zero: the first 2^32."""
    high = bytes(4) if sa.esn else b""
    aad = header[:4] + high + header[4:] if sa.suite.encryption.aead else header
    try:
        return opener.open(aad, iv, sealed, high)
    except IntegrityError:
        return None


def _in_place(item: Field, packet: bytes, start: int) -> Field:
    """A field of the plaintext where it lies in the packet: no cipher here moves octets."""
    at = start + item.offset
    return replace(item, offset=at, octets=packet[at : at + len(item.octets)], plain=item.octets)


def _plaintext(plain: bytes, mode: Mode) -> Iterator[Field]:
    """The fields inside the encryption; offsets count from its beginning."""
    end = len(plain) - TRAILER_BYTES
    if end < 0 or plain[end] > end:
        yield rest(plain, 0, "ESP", "damaged plaintext", "RFC 4303 2.4")
        return
    size, next_header = end - plain[end], plain[end + 1]
    yield from _payload(plain[:size], next_header, mode)
    if size < end:
        padding = " ".join(map(str, plain[size:end]))
        yield field(plain, size, end, "ESP trailer", "padding", padding, "RFC 4303 2.4")
    yield field(plain, end, end + 1, "ESP trailer", "pad length", str(end - size), "RFC 4303 2.5")
    protocol = protocol_name(next_header)
    yield field(plain, end + 1, end + 2, "ESP trailer", "next header", protocol, "RFC 4303 2.6")


def _payload(payload: bytes, next_header: int, mode: Mode) -> Iterator[Field]:
    if next_header == Protocol.AGGFRAG:
        yield from aggfrag_fields(payload)
        return
    if mode is Mode.TRANSPORT or next_header not in (Protocol.IPV4, Protocol.IPV6):
        yield from transport_fields(payload, 0, next_header, "inner ")
        return
    try:
        inner = payload[: ip.parse_quoted(payload).total_length]
        header = ip.parse(inner)
    except WireError:
        yield rest(payload, 0, "inner IP", "damaged packet", "RFC 4303 3.1.2")
        return
    yield from ip_fields(inner, header, "inner IP")
    if header.is_fragment:
        yield rest(inner, header.upper_offset, "inner IP", "fragment of the payload", "RFC 791 3.2")
    else:
        yield from transport_fields(inner, header.upper_offset, header.protocol, "inner ")
    if len(inner) < len(payload):
        yield rest(payload, len(inner), "TFC", "TFC padding", "RFC 4303 2.7")
