"""Distinguished names as text and in DER (RFC 5280 4.1.2.4), in strongSwan's notation.

The text, such as C=CH, O=Example, CN=moon, goes from the root down, in the order of the octets. Left out in
text: RDNs of several attributes.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sim.wire import der
from sim.wire.buffer import WireError

Attribute = tuple[str, str]
"""An object identifier and its value, made comparable: RFC 5280 7.1 ignores case and repeated spaces."""

_OIDS = {
    "C": "2.5.4.6", "ST": "2.5.4.8", "L": "2.5.4.7", "O": "2.5.4.10", "OU": "2.5.4.11", "CN": "2.5.4.3",
    "T": "2.5.4.12", "D": "2.5.4.13", "S": "2.5.4.4", "G": "2.5.4.42", "I": "2.5.4.43", "N": "2.5.4.41",
    "SN": "2.5.4.5", "serialNumber": "2.5.4.5", "STREET": "2.5.4.9", "postalCode": "2.5.4.17",
    "dnQualifier": "2.5.4.46", "E": "1.2.840.113549.1.9.1", "Email": "1.2.840.113549.1.9.1",
    "emailAddress": "1.2.840.113549.1.9.1", "DC": "0.9.2342.19200300.100.1.25",
    "UID": "0.9.2342.19200300.100.1.1",
}  # fmt: skip
_BY_NAME = {name.lower(): oid for name, oid in _OIDS.items()}
_NAMES = {oid: name for name, oid in reversed(_OIDS.items())}
_IA5 = {_OIDS["E"], _OIDS["DC"]}
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_PART = re.compile(r'\s*([A-Za-z0-9.]+)\s*=\s*(?:"([^"]*)"|((?:\\.|[^,/\\"])*))\s*(?:[,/]|$)')
_CHARSETS = {
    der.UTF8_STRING: "utf-8",
    der.PRINTABLE_STRING: "ascii",
    der.T61_STRING: "latin-1",
    der.IA5_STRING: "ascii",
    der.BMP_STRING: "utf-16-be",
    der.UNIVERSAL_STRING: "utf-32-be",
}
ANYTHING = "*"


def parse_dn(text: str) -> bytes:
    """The Name in DER; ValueError for what is no distinguished name."""
    rdns, at = [], 1 if text.startswith("/") else 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None:
            raise ValueError(f"{text!r} is no distinguished name: write such as C=CH, O=Example, CN=moon")
        name, quoted, bare = found.groups()
        value = quoted if quoted is not None else re.sub(r"\\(.)", r"\1", bare.rstrip())
        rdns.append(_emit(_oid(name, text), value))
        at = found.end()
    if not rdns:
        raise ValueError("an empty distinguished name")
    return der.element(der.SEQUENCE, b"".join(rdns))


def dn_text(name: bytes) -> str:
    """A Name as text that is safe to print; in hexadecimal when it is no Name."""
    try:
        rdns = _rdns(name)
    except WireError:
        return f"9:{name.hex()}"
    return ", ".join("+".join(f"{_NAMES.get(oid, oid)}={_shown(text)}" for oid, text in rdn) for rdn in rdns)


@lru_cache(1024)
def attributes(name: bytes) -> tuple[frozenset[Attribute], ...]:
    """The RDNs of a Name; two Names are equal when these are. WireError when the octets are no Name."""
    return tuple(frozenset((oid, " ".join(text.lower().split())) for oid, text in rdn) for rdn in _rdns(name))


def pairs(name: bytes) -> list[tuple[str, str]]:
    """Object identifiers and values of a Name from the root down. WireError when the octets are no Name."""
    return [pair for rdn in _rdns(name) for pair in rdn]


def same_dn(a: bytes, b: bytes) -> bool:
    """Whether two Names are equal (RFC 5280 7.1)."""
    return a == b or _matches(a, b, wildcards=False)


def dn_matches(pattern: bytes, name: bytes) -> bool:
    """Whether a Name is one that a pattern means: the same RDNs in the same order, `*` for any value."""
    return _matches(pattern, name, wildcards=True)


def has_wildcards(name: bytes) -> bool:
    """Whether a pattern means more than one Name."""
    try:
        return any(text == ANYTHING for rdn in attributes(name) for _, text in rdn)
    except WireError:
        return False


def _matches(pattern: bytes, name: bytes, *, wildcards: bool) -> bool:
    try:
        ours, theirs = attributes(pattern), attributes(name)
    except WireError:
        return False
    return len(ours) == len(theirs) and all(
        _rdn_matches(a, b, wildcards) for a, b in zip(ours, theirs, strict=True)
    )


def _rdn_matches(pattern: frozenset[Attribute], rdn: frozenset[Attribute], wildcards: bool) -> bool:
    if pattern == rdn:
        return True
    if not wildcards or len(pattern) != len(rdn):
        return False
    values = dict(rdn)
    return all(oid in values and text in (ANYTHING, values[oid]) for oid, text in pattern)


def _rdns(name: bytes) -> list[list[tuple[str, str]]]:
    found = []
    for tag, rdn in der.elements(der.only(name, der.SEQUENCE)):
        if tag != der.SET:
            raise WireError("a Name holds something else than RDNs")
        found.append([_attribute(content) for _, content in der.elements(rdn)])
    return found


def _attribute(content: bytes) -> tuple[str, str]:
    parts = der.elements(content)
    if len(parts) != 2 or parts[0][0] != der.OID:
        raise WireError("an RDN holds something else than an attribute")
    (_, oid), (kind, value) = parts
    charset = _CHARSETS.get(kind)
    text = f"#{value.hex()}" if charset is None else value.decode(charset, "backslashreplace")
    return der.oid_text(oid), text


def _emit(oid: str, value: str) -> bytes:
    kind = der.PRINTABLE_STRING if _PRINTABLE.fullmatch(value) else der.UTF8_STRING
    if oid in _IA5 and value.isascii():
        kind = der.IA5_STRING
    attribute = der.emit_oid(oid) + der.element(kind, value.encode())
    return der.element(der.SET, der.element(der.SEQUENCE, attribute))


def _oid(name: str, text: str) -> str:
    if name[0].isdigit():
        return name
    try:
        return _BY_NAME[name.lower()]
    except KeyError:
        raise ValueError(f"{text!r}: an unknown kind of attribute, {name}") from None


def _shown(value: str) -> str:
    """Something that `parse_dn` reads again, and a terminal takes no harm from."""
    safe = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in value)
    return f'"{safe}"' if set(safe) & set(',/"') and '"' not in safe else safe
