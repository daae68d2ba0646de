"""Identities in strongSwan's textual form, and how it compares them (RFC 7296 3.5, RFC 7619 2.2)."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Self

from sim.ike.constants import IdType, PayloadType
from sim.ike.payloads import IdPayload
from sim.wire.address import format_address, pack_address
from sim.wire.dn import dn_matches, dn_text, has_wildcards, parse_dn, same_dn

ANY = ("%any", "*")
_NULL = "%null"
_GENERAL_NAME = "10:"
_ADDRESS_BYTES: dict[int, int] = {IdType.IPV4_ADDR: 4, IdType.IPV6_ADDR: 16}
_TEXT = (IdType.FQDN, IdType.RFC822_ADDR)


class Match(IntEnum):
    """How well an identity fits a configured one; the better, the larger."""

    NONE = 0
    ANYBODY = 1
    WILDCARD = 2
    PERFECT = 3


class Identity(NamedTuple):
    """Who a peer says that it is.

    In a configuration a host name or a mail address may begin with an asterisk, which stands for any octets,
    at least one; in a distinguished name it stands for the whole value of an attribute. Case matters in none
    of them.
    """

    type: int
    data: bytes

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """An address, `@#hex` (key id), `name@domain`, `@name`, a host name or `C=CH, CN=moon`.

        Also `%null`, who stays anonymous, and `10:hex`, a GeneralName in DER; None for `%any` and `*`.
        ValueError for anything else.
        """
        text = text.strip()
        if text in ANY:
            return None
        if text == _NULL:
            return cls(IdType.NULL, b"")
        if text.startswith("@#"):
            return cls(IdType.KEY_ID, _octets(text, text[2:]))
        if text.startswith("@"):
            return cls(IdType.FQDN, _name(text[1:]))
        if "=" in text:
            return cls(IdType.DER_ASN1_DN, _dn(text))
        if text.startswith(_GENERAL_NAME):
            return cls(IdType.DER_ASN1_GN, _octets(text, text.removeprefix(_GENERAL_NAME)))
        if "@" in text:
            return cls(IdType.RFC822_ADDR, _name(text))
        try:
            return cls.of_address(pack_address(text))
        except ValueError:
            return cls(IdType.FQDN, _name(text))

    @classmethod
    def of_address(cls, address: bytes) -> Self:
        """The identity of a packed address."""
        return cls(IdType.IPV4_ADDR if len(address) == 4 else IdType.IPV6_ADDR, address)

    @classmethod
    def of_payload(cls, payload: IdPayload) -> Self:
        return cls(payload.id_type, payload.data)

    @property
    def is_pattern(self) -> bool:
        """Whether it has an asterisk that stands for others, so that nobody can be called so."""
        if self.type == IdType.DER_ASN1_DN:
            return has_wildcards(self.data)
        return self.type in _TEXT and self.data.startswith(b"*")

    @property
    def folded(self) -> Self:
        """One spelling for all that are the same."""
        return self._replace(data=self.data.lower()) if self.type in _TEXT else self

    def match(self, configured: Identity | None) -> Match:
        """How well this identity of a peer fits a configured one; None is anybody."""
        if configured is None:
            return Match.ANYBODY
        if self.type == configured.type == IdType.DER_ASN1_DN:
            return self._match_dn(configured)
        own, wanted = self.folded, configured.folded
        if own == wanted:
            return Match.PERFECT
        if own.type != wanted.type or not wanted.is_pattern or len(own.data) < len(wanted.data):
            return Match.NONE
        if wanted.data == b"*":
            return Match.ANYBODY
        return Match.WILDCARD if own.data.endswith(wanted.data[1:]) else Match.NONE

    def _match_dn(self, configured: Identity) -> Match:
        if same_dn(self.data, configured.data):
            return Match.PERFECT
        return Match.WILDCARD if dn_matches(configured.data, self.data) else Match.NONE

    def same(self, other: Identity) -> bool:
        """Whether both are one and the same, patterns or not: spelling counts as RFC 5280 7 says."""
        if self.type == other.type == IdType.DER_ASN1_DN:
            return same_dn(self.data, other.data)
        return self.folded == other.folded

    def payload(self, role: PayloadType) -> IdPayload:
        """The payload that carries it as IDi or IDr."""
        return IdPayload(role, self.type, self.data)

    def __str__(self) -> str:
        if len(self.data) == _ADDRESS_BYTES.get(self.type):
            return format_address(self.data)
        if self.type in _TEXT:
            return _printable(self.data)
        if self.type == IdType.DER_ASN1_DN:
            return dn_text(self.data)
        if self.type == IdType.NULL:
            return _NULL
        prefix = "@#" if self.type == IdType.KEY_ID else f"{self.type}:"
        return prefix + self.data.hex()


def _dn(text: str) -> bytes:
    try:
        return parse_dn(text)
    except ValueError as error:
        raise ValueError(f"identity {error}") from None


def _octets(text: str, digits: str) -> bytes:
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        octets = b""
    if not octets:
        raise ValueError(f"identity {text!r}: hexadecimal digits must follow {text.removesuffix(digits)}")
    return octets


def _name(text: str) -> bytes:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"identity {text!r} is no address, host name, mail address or @#key id")
    return text.encode("ascii")


def _printable(octets: bytes) -> str:
    """Text from a peer, made safe to print."""
    text = octets.decode("ascii", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
