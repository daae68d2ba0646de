"""The secrets section, and which secret strongSwan takes for a connection.

A secret belongs to its `id*` entries, or to everybody without any. Of those that know either side, the one
that knows the peer best is taken, then the one that knows us best, then the one written last.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from sim.ike.constants import IdType
from sim.ike.identity import Identity, Match
from sim.scenario.swanctl.tokens import Place


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """`secrets.ike<suffix>`; an owner None is anybody."""

    name: str
    value: bytes
    owners: tuple[Identity | None, ...]
    at: Place


class AmbiguousError(ValueError):
    """Which secret is right depends on who calls, but a connection has one here."""

    def __init__(self, secrets: Sequence[SharedSecret]) -> None:
        names = ", ".join(f"{secret.name} ({secret.at})" for secret in secrets)
        super().__init__(
            f"several secrets may fit: {names}; say with `id` who is who, a connection has one secret here"
        )


def parse_shared(text: str) -> bytes:
    """Text, 0x and hexadecimal, or 0s and base64; ValueError for an empty or unreadable one."""
    kind, rest = text[:2].lower(), text[2:]
    try:
        value = text.encode()
        if kind == "0x":
            first, *more = rest.split(":")
            value = b"".join(map(bytes.fromhex, ["0" * (len(first) % 2) + first, *more]))
        elif kind == "0s":
            value = base64.b64decode(rest, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("must be hexadecimal after 0x, base64 after 0s, or else plain text") from None
    if not value:
        raise ValueError("an empty secret protects nothing")
    return value


def choose(
    secrets: Sequence[SharedSecret],
    me: Identity | None,
    peer: Identity | None,
    named: Set[Identity] = frozenset(),
) -> SharedSecret | None:
    """The secret of a connection between these two, None if there is none.

    `me` None is an address that is not known yet; `peer` None, or one with an asterisk, is anybody
    whom it fits and no connection has `named`.
    AmbiguousError when different secrets would be taken, depending on who that turns out to be.
    """
    owners = [owner for secret in secrets for owner in secret.owners if owner is not None]
    addresses = [owner for owner in owners if owner.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR)]
    selves = [me] if me else [None, *addresses]
    strangers = [owner for owner in owners if owner != me and owner not in named]
    peers = [peer, *(owner for owner in strangers if peer is None or owner.match(peer))]
    found: dict[bytes, SharedSecret] = {}
    for own in selves:
        for other in peers:
            best = _best(secrets, own, other)
            if best is not None:
                found.setdefault(best.value, best)
    if len(found) > 1:
        raise AmbiguousError(list(found.values()))
    return next(iter(found.values()), None)


def _best(secrets: Sequence[SharedSecret], me: Identity | None, peer: Identity | None) -> SharedSecret | None:
    best, score = None, (Match.NONE, Match.NONE)
    for secret in reversed(secrets):
        match = (_match(secret, peer), _match(secret, me))
        if match > score:
            best, score = secret, match
    return best


def _match(secret: SharedSecret, identity: Identity | None) -> Match:
    return max(_levels(secret, identity), default=Match.NONE)


def _levels(secret: SharedSecret, identity: Identity | None) -> Iterator[Match]:
    for owner in secret.owners:
        if identity is not None:
            yield identity.match(owner)
        elif owner is None:
            yield Match.ANYBODY
