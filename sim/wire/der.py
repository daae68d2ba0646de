"""The little of ASN.1's Distinguished Encoding Rules that IKE needs itself (X.690): elements and OIDs.

    +-----+--------+---------+    one octet of tag; a length below 128 in one octet, a longer one behind
    | tag | length | content |    0x80 + its own size
    +-----+--------+---------+

Left out: tags above 30 and indefinite lengths, which are read as errors. Certificates are read by a library.
"""

from __future__ import annotations

from sim.wire.buffer import WireError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, PRINTABLE_STRING, T61_STRING, IA5_STRING = 0x0C, 0x13, 0x14, 0x16
UNIVERSAL_STRING, BMP_STRING = 0x1C, 0x1E
SEQUENCE, SET = 0x30, 0x31

_LONG = 0x80
_MAX_LENGTH_BYTES = 4


def element(tag: int, content: bytes) -> bytes:
    """One element, its length in the shortest form."""
    size = len(content)
    if size < _LONG:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(length))) + length + content


def read(data: bytes, offset: int = 0) -> tuple[int, bytes, int]:
    """Tag, content and end of the element at `offset`; WireError when `data` has none there."""
    start = offset + 2
    if start > len(data) or data[offset] & 0x1F == 0x1F:
        raise WireError(f"no DER element at offset {offset}")
    tag, size = data[offset], data[offset + 1]
    if size & _LONG:
        more = size ^ _LONG
        if not 0 < more <= _MAX_LENGTH_BYTES:
            raise WireError(f"a DER length of {more} octets at offset {offset}")
        size = int.from_bytes(data[start : start + more], "big")
        start += more
        if size < _LONG:
            raise WireError(f"a DER length that is not the shortest one at offset {offset}")
    end = start + size
    if end > len(data):
        raise WireError(f"a DER element at offset {offset} goes on behind the end")
    return tag, data[start:end], end


def only(data: bytes, tag: int) -> bytes:
    """The content of the one element that fills `data` and has this tag; WireError for anything else."""
    found, content, end = read(data)
    if found != tag or end != len(data):
        raise WireError(f"DER tag {found:#x} where {tag:#x} must fill {len(data)} octets")
    return content


def elements(data: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of the elements that fill `data`, such as the content of a SEQUENCE."""
    found, offset = [], 0
    while offset < len(data):
        tag, content, offset = read(data, offset)
        found.append((tag, content))
    return found


def emit_oid(text: str) -> bytes:
    """The element of an object identifier such as 2.5.4.3; ValueError for what is none."""
    numbers = [int(part) for part in text.split(".")]
    if len(numbers) < 2 or numbers[0] > 2 or (numbers[0] < 2 and numbers[1] > 39) or min(numbers) < 0:
        raise ValueError(f"{text!r} is no object identifier")
    content = b"".join(map(_base128, [numbers[0] * 40 + numbers[1], *numbers[2:]]))
    return element(OID, content)


def oid_text(content: bytes) -> str:
    """Content of an OID element as 2.5.4.3; WireError when it ends within a number."""
    if not content or content[-1] & 0x80:
        raise WireError("an object identifier without an end")
    numbers, value = [], 0
    for octet in content:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _base128(number: int) -> bytes:
    octets = [number & 0x7F]
    while number := number >> 7:
        octets.append(0x80 | number & 0x7F)
    return bytes(reversed(octets))
