"""Identities in strongSwan's textual form, and how it compares them (RFC 7296 3.5).

Distinguished names are not here yet: they come with certificates.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Self

from sim.ike.constants import IdType, PayloadType
from sim.ike.payloads import IdPayload
from sim.wire.address import format_address, pack_address

ANY = ("%any", "*")
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
    at least one. Case matters in neither of them.
    """

    type: int
    data: bytes

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """An address, `@#hex` (key id), `name@domain`, `@name` or a host name; None for `%any` and `*`.

        ValueError for what is none of these, such as a distinguished name.
        """
        text = text.strip()
        if text in ANY:
            return None
        if text.startswith("@#"):
            return cls(IdType.KEY_ID, _key_id(text))
        if text.startswith("@"):
            return cls(IdType.FQDN, _name(text[1:]))
        if "=" in text:
            raise ValueError(f"identity {text!r}: distinguished names are not supported yet")
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
        """Whether it begins with an asterisk, so that nobody can be called so."""
        return self.type in _TEXT and self.data.startswith(b"*")

    @property
    def folded(self) -> Self:
        """One spelling for all that are the same."""
        return self._replace(data=self.data.lower()) if self.type in _TEXT else self

    def match(self, configured: Identity | None) -> Match:
        """How well this identity of a peer fits a configured one; None is anybody."""
        if configured is None:
            return Match.ANYBODY
        own, wanted = self.folded, configured.folded
        if own == wanted:
            return Match.PERFECT
        if own.type != wanted.type or not wanted.is_pattern or len(own.data) < len(wanted.data):
            return Match.NONE
        if wanted.data == b"*":
            return Match.ANYBODY
        return Match.WILDCARD if own.data.endswith(wanted.data[1:]) else Match.NONE

    def payload(self, role: PayloadType) -> IdPayload:
        """The payload that carries it as IDi or IDr."""
        return IdPayload(role, self.type, self.data)

    def __str__(self) -> str:
        if len(self.data) == _ADDRESS_BYTES.get(self.type):
            return format_address(self.data)
        if self.type in _TEXT:
            return _printable(self.data)
        prefix = "@#" if self.type == IdType.KEY_ID else f"{self.type}:"
        return prefix + self.data.hex()


def _key_id(text: str) -> bytes:
    try:
        octets = bytes.fromhex(text[2:])
    except ValueError:
        octets = b""
    if not octets:
        raise ValueError(f"identity {text!r}: hexadecimal digits must follow @#")
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
