"""The peer's side of EAP: whom we are asked for, and by which method (RFC 3748 4, 5)."""

from __future__ import annotations

from collections.abc import Callable

from sim.ike.eap.method import EapError, PeerMethod
from sim.ike.eap.names import type_name
from sim.ike.eap.packets import EapCode, EapPacket, EapType
from sim.ike.events import Reason
from sim.wire.buffer import WireError


class EapPeer:
    """`allowed` are the methods that we take part in, the best first; `make` begins one.

    `failed` is that the server ended it by EAP-Failure: it knows already.
    """

    def __init__(
        self, identity: bytes, allowed: tuple[EapType, ...], make: Callable[[EapType], PeerMethod]
    ) -> None:
        self._identity = identity
        self._allowed = allowed
        self._make = make
        self._kind = 0
        self._method: PeerMethod | None = None
        self._refused: int | None = None
        self.failed = False
        self.msk = b""

    def receive(self, octets: bytes, now: int) -> bytes | None:
        """The response to a request, None when EAP-Success came. EapError, WireError."""
        packet = EapPacket.parse(octets)
        if packet.code == EapCode.REQUEST:
            kind, data = self._respond(packet, now)
            return EapPacket(EapCode.RESPONSE, packet.identifier, kind, data).emit()
        if packet.code == EapCode.SUCCESS:
            self._succeed()
            return None
        if packet.code == EapCode.FAILURE:
            self.failed = True
            raise self._failure()
        raise WireError("an EAP response where there must be a request")

    def _respond(self, packet: EapPacket, now: int) -> tuple[int, bytes]:
        kind = packet.type
        if kind == EapType.NOTIFICATION:
            return kind, b""
        if self._method is not None and kind == self._kind:
            return kind, self._method.answer(packet.identifier, packet.data, now)
        if self._method is not None:
            raise WireError(f"EAP type {kind} within {type_name(self._kind)} (RFC 3748 2.1)")
        if kind == EapType.IDENTITY:
            return kind, self._identity
        if kind not in self._allowed:
            self._refused = kind
            return EapType.NAK, bytes(self._allowed) or b"\0"
        self._kind, self._method = kind, self._make(EapType(kind))
        return kind, self._method.answer(packet.identifier, packet.data, now)

    def _succeed(self) -> None:
        """Success counts only when the method agrees: anybody could say so otherwise (RFC 3748 4.2)."""
        if self._method is None or not self._method.satisfied:
            refusal = None if self._method is None else self._method.refusal
            early = EapError(Reason.EAP_FAILURE, "the server ended EAP before its method was over")
            raise refusal or early
        self.msk = self._method.msk

    def _failure(self) -> EapError:
        if self._method is not None and self._method.refusal is not None:
            return self._method.refusal
        if self._method is not None:
            text = f"the server refused us by {type_name(self._kind)}"
            return EapError(Reason.EAP_FAILURE, text, by_peer=True)
        if self._refused is None:
            text = "the server refused us before any EAP method began"
            return EapError(Reason.EAP_FAILURE, text, by_peer=True)
        wanted = type_name(self._refused)
        ours = ", ".join(map(type_name, self._allowed))
        text = f"the server wants {wanted}, we offer {ours}"
        return EapError(Reason.EAP_METHOD_REFUSED, text, by_peer=True)
