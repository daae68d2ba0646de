"""What IKE_INTERMEDIATE adds to the octets that AUTH covers (RFC 9242 3.3).

    IntAuth_i1 = prf(SK_pi1,              IntAuth_i1A | IntAuth_i1P)
    IntAuth_i2 = prf(SK_pi2, IntAuth_i1 | IntAuth_i2A | IntAuth_i2P)      and so on, and for the responder
    IntAuth    = IntAuth_iN | IntAuth_rN | IKE_AUTH_MID

A and P are a message as if it had been sent whole and unencrypted: the lengths in its headers count neither
IV nor padding nor ICV, whether it went in fragments or not. The keys are those that protected it.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from sim.crypto.prf import Prf
from sim.ike.keymat import IkeKeys
from sim.ike.message import Header, emit_message
from sim.ike.payloads import Payload

_MESSAGE_ID = Struct(">I")


class IntAuth:
    """The chain of one IKE SA, which grows by a message of either side in turn."""

    __slots__ = ("_chain", "_count")

    def __init__(self) -> None:
        self._chain = {True: b"", False: b""}  # by whether the initiator sent it
        self._count = 0

    def add(self, header: Header, plain: Sequence[Payload], keys: IkeKeys, prf: Prf) -> None:
        """A message of either side; its last payload is not encrypted yet, or no more."""
        ours = header.from_initiator
        sk_p = keys.sk_pi if ours else keys.sk_pr
        self._chain[ours] = prf(sk_p, self._chain[ours] + emit_message(header, plain))
        self._count += ours

    def octets(self) -> bytes:
        """What comes after RealMessage | NonceData | MACedID; nothing without such an exchange.

        IKE_SA_INIT has message ID 0, each IKE_INTERMEDIATE the next one, then comes IKE_AUTH.
        """
        if not self._count:
            return b""
        return self._chain[True] + self._chain[False] + _MESSAGE_ID.pack(self._count + 1)
