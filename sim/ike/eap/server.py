"""The server's side of EAP: asks who the peer is, then for a proof by a method (RFC 3748 2, 4, 5).

Request/Identity   ->                (left out where the identity is known already)
                   <- Response/Identity
Request/method     ->                (another one if the peer answers with a Nak)
                   <- Response/method
    ...
Success or Failure ->
"""

from __future__ import annotations

from collections.abc import Callable

from sim.ike.eap.method import EapError, ServerMethod
from sim.ike.eap.names import type_name
from sim.ike.eap.packets import EapCode, EapPacket, EapType
from sim.ike.events import Reason
from sim.wire.buffer import WireError

MAX_NAME_BYTES = 1020
"""What an EAP packet must be able to carry (RFC 3748 3.1), as the name of a peer."""

Make = Callable[[EapType, bytes], ServerMethod]
"""Begins a method for the peer of this name."""


class EapServer:
    """`user` None: the peer is asked for its name. `offered` are the methods that we accept, best first."""

    def __init__(self, user: bytes | None, offered: tuple[EapType, ...], make: Make, first: int) -> None:
        self._asking = user is None
        self.user = user or b""
        self._offered = list(offered)
        self._make = make
        self._identifier = first & 0xFF
        self._kind = 0
        self._method: ServerMethod | None = None
        self._begun = False
        self.succeeded = False
        self.msk = b""

    def begin(self) -> bytes:
        """The first request."""
        return self._request(EapType.IDENTITY, b"") if self._asking else self._start(self._offered[0])

    def receive(self, octets: bytes, now: int) -> bytes:
        """What follows on the peer's response; after EAP-Success, `succeeded`. EapError, WireError."""
        packet = EapPacket.parse(octets)
        if packet.code != EapCode.RESPONSE or packet.identifier != self._identifier:
            raise WireError("an EAP packet that is no response to our request")
        if self._asking:
            return self._identify(packet)
        if packet.type == EapType.NAK and not self._begun:
            return self._other(packet.data)
        if packet.type != self._kind or self._method is None:
            raise WireError(f"EAP type {packet.type} in answer to {type_name(self._kind)}")
        self._begun = True
        request = self._method.judge(packet.identifier, packet.data, now)
        return self._succeed(self._method) if request is None else self._request(self._kind, request)

    @property
    def refusal(self) -> EapError | None:
        """Why the peer will be refused, once that is clear."""
        return None if self._method is None else self._method.failure

    def failure(self) -> bytes:
        """EAP-Failure, for the response that was received last."""
        return EapPacket(EapCode.FAILURE, self._identifier).emit()

    def _identify(self, packet: EapPacket) -> bytes:
        if packet.type != EapType.IDENTITY:
            raise WireError(f"EAP type {packet.type} where the peer's identity must be (RFC 3748 5.1)")
        if len(packet.data) > MAX_NAME_BYTES:
            raise WireError(f"a name of {len(packet.data)} octets")
        self._asking, self.user = False, packet.data
        return self._start(self._offered[0])

    def _other(self, wanted: bytes) -> bytes:
        """The peer does not want this method: another one of ours that it names (RFC 3748 5.3.1)."""
        refused = self._offered[0]
        self._offered = [kind for kind in self._offered[1:] if kind in wanted]
        if not self._offered:
            theirs = ", ".join(type_name(number) for number in wanted if number) or "nothing else"
            text = f"the peer refused {type_name(refused)} and offers {theirs}"
            raise EapError(Reason.EAP_METHOD_REFUSED, text)
        return self._start(self._offered[0])

    def _start(self, kind: EapType) -> bytes:
        self._kind, self._method = kind, self._make(kind, self.user)
        return self._request(kind, self._method.begin(self._next()))

    def _next(self) -> int:
        return (self._identifier + 1) & 0xFF

    def _request(self, kind: int, data: bytes) -> bytes:
        self._identifier = self._next()
        return EapPacket(EapCode.REQUEST, self._identifier, kind, data).emit()

    def _succeed(self, method: ServerMethod) -> bytes:
        self.succeeded, self.msk = True, method.msk
        return EapPacket(EapCode.SUCCESS, self._identifier).emit()
