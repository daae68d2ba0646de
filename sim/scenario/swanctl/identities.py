"""Identities as strongSwan reads them: swanctl.conf(5), `connections.<conn>.local<suffix>.id`.

What differs from this project's notation is translated; what it cannot say is refused.
"""

from __future__ import annotations

import ipaddress
import re

from sim.ike.constants import IdType
from sim.ike.identity import Identity
from sim.wire.address import format_address
from sim.wire.dn import dn_text, parse_dn

ANY = {"", "%any", "%any6", "0.0.0.0", "*", "::", "0::0"}
_PREFIXES = {
    "ipv4": IdType.IPV4_ADDR,
    "ipv6": IdType.IPV6_ADDR,
    "rfc822": IdType.RFC822_ADDR,
    "email": IdType.RFC822_ADDR,
    "userfqdn": IdType.RFC822_ADDR,
    "fqdn": IdType.FQDN,
    "dns": IdType.FQDN,
    "keyid": IdType.KEY_ID,
    "asn1dn": IdType.DER_ASN1_DN,
    "asn1gn": IdType.DER_ASN1_GN,
}
_UNSUPPORTED = ("ipv4net", "ipv6net", "ipv4range", "ipv6range", "xmppaddr")
_NUMBERED = re.compile(r"\{(\d+)\}:(.*)", re.DOTALL)


def read_identity(text: str) -> Identity | None:
    """Who strongSwan takes this text for, None for anybody; ValueError where we have no such identity."""
    if text in ANY:
        return None
    prefix, colon, rest = text.partition(":")
    numbered = _NUMBERED.fullmatch(text)
    if numbered:
        return Identity(int(numbered[1]), _content(numbered[2]))
    if colon and prefix.lower() in _UNSUPPORTED:
        raise ValueError(f"identity {text!r}: identities of type {prefix} are not supported yet")
    if colon and prefix.lower() in _PREFIXES:
        kind = _PREFIXES[prefix.lower()]
        if kind == IdType.DER_ASN1_DN and not rest.startswith("#"):
            return Identity(kind, _dn(rest))
        return Identity(kind, _content(rest))
    if "=" in text:
        return Identity(IdType.DER_ASN1_DN, _dn(text))
    return _guess(text)


def our_text(text: str) -> str:
    """The same identity in this project's notation: the text itself if it means the same there."""
    identity = read_identity(text)
    if identity is None:
        return "%any"
    for candidate in _candidates(text, identity):
        if _means(candidate, identity):
            return candidate
    raise ValueError(
        f"identity {text!r} is not supported: write an address, a host name, a mail address or @#key id"
    )


def their_text(text: str) -> str:
    """The text that makes strongSwan take our identity for the same; ValueError if there is none."""
    text = text.strip()
    identity = Identity.parse(text)
    if identity is None:
        return "%any"
    try:
        if read_identity(text) == identity:
            return text
    except ValueError:
        pass
    return f"{{{identity.type}}}:#{identity.data.hex()}"


def _guess(text: str) -> Identity:
    if text.startswith("@#"):
        return Identity(IdType.KEY_ID, _hex(text[2:]))
    if text.startswith("@@"):
        return Identity(IdType.RFC822_ADDR, text[2:].encode())
    if "@" in text:
        kind = IdType.FQDN if text.startswith("@") else IdType.RFC822_ADDR
        return Identity(kind, text.removeprefix("@").encode())
    try:
        return Identity.of_address(ipaddress.ip_address(text).packed)
    except ValueError:
        return _no_address(text)


def _no_address(text: str) -> Identity:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return Identity(IdType.KEY_ID if ":" in text else IdType.FQDN, text.encode())
    raise ValueError(f"identity {text!r}: a network is not supported")


def _dn(text: str) -> bytes:
    """strongSwan writes a value as PrintableString if it can be one, as we do."""
    try:
        return parse_dn(text)
    except ValueError as error:
        raise ValueError(f"identity {error}") from None


def _content(text: str) -> bytes:
    return _hex(text[1:]) if text.startswith("#") else text.encode()


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raise ValueError(f"{text!r} is not hexadecimal") from None


def _candidates(text: str, identity: Identity) -> list[str]:
    data = identity.data
    if identity.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR) and len(data) in (4, 16):
        return [text, format_address(data)]
    if identity.type == IdType.KEY_ID:
        return [text, f"@#{data.hex()}"]
    if identity.type == IdType.DER_ASN1_DN:
        return [text, dn_text(data)]
    if identity.type == IdType.DER_ASN1_GN:
        return [f"10:{data.hex()}"]
    plain = data.decode("ascii", "replace")
    return [text, plain, f"@{plain}"]


def _means(text: str, identity: Identity) -> bool:
    try:
        return Identity.parse(text) == identity
    except ValueError:
        return False
