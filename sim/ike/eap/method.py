"""What an EAP method is: two small state machines, one at the peer, one at the server (RFC 3748 2, 5).

Type-Data goes in and comes out; who frames it, and what a Nak or an Identity is, `peer` and `server` know.
The server asks, the peer answers, until the server is satisfied.
"""

from __future__ import annotations

from typing import Protocol

from sim.ike.eap.packets import EapType
from sim.ike.events import Reason


class EapError(Exception):
    """Authentication failed; `reason` and text are for our user.

    `by_peer`: it was the other side that did not want to go on.
    """

    def __init__(self, reason: Reason, text: str, *, by_peer: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.by_peer = by_peer

    def told(self, peer: str, us: object) -> str:
        """The text; what `peer` decided begins with its name."""
        return f"{peer} refused {us}: {self.text}" if self.by_peer else self.text


def printable(name: bytes) -> str:
    """A name or message from a peer, made safe to print."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def unknown_user(expected: bytes, named: bytes) -> EapError:
    """There is no password for `expected`, or the proof names somebody else."""
    if named in (b"", expected):
        return EapError(Reason.UNKNOWN_USER, f"{printable(expected)} is no user that we know")
    text = (
        f"the peer calls itself {printable(named)} in its proof, but {printable(expected)} must prove itself"
    )
    return EapError(Reason.UNKNOWN_USER, text)


class PeerMethod(Protocol):
    """The peer's side, which wants to be let in. `msk` is what both have in common after success.

    `satisfied` is whether an EAP-Success may come now; `refusal` why it may not, once one side has refused.
    """

    msk: bytes
    satisfied: bool
    refusal: EapError | None

    def answer(self, identifier: int, data: bytes, now: int) -> bytes:
        """The answer to a request's Type-Data. EapError, WireError."""
        ...


class ServerMethod(Protocol):
    """The server's side, which lets somebody in."""

    msk: bytes
    failure: EapError | None
    """What was found wrong already, while the peer still has the last word of the method."""

    def begin(self, identifier: int) -> bytes:
        """The first request's Type-Data."""
        ...

    def judge(self, identifier: int, data: bytes, now: int) -> bytes | None:
        """The next request, or None when the peer has proved itself. EapError, WireError."""
        ...


SAFE_ALONE = frozenset({EapType.TLS})
"""Methods that prove both sides, give a key and withstand a dictionary: only these stand alone (RFC 5998 4).

MSCHAPv2 is not among them: whoever pretends to be the responder could try passwords on the peer's answer.
"""
