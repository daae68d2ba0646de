"""A peer and a server that talk EAP to each other, without IKE around it."""

from __future__ import annotations

import random
from collections.abc import Callable

from sim.crypto.tls import Check, TlsEnd
from sim.ike.eap.md5 import Md5Peer, Md5Server
from sim.ike.eap.method import EapError, PeerMethod, ServerMethod
from sim.ike.eap.mschapv2 import MschapPeer, MschapServer
from sim.ike.eap.packets import EapPacket, EapType
from sim.ike.eap.peer import EapPeer
from sim.ike.eap.server import EapServer
from sim.ike.eap.tls import TlsPeer, TlsServer, Trust

PASSWORDS = {b"carol": b"Tigers-2026", b"SALES\\carol": b"Tigers-2026", b"dave": b"\xc3\xa4\xc3\xb6"}
Tamper = Callable[[bytes], bytes]


def rand(seed: str) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def peer(
    *kinds: EapType, name: bytes = b"carol", password: bytes = PASSWORDS[b"carol"], tls: TlsPeer | None = None
) -> EapPeer:
    def make(kind: EapType) -> PeerMethod:
        if kind is EapType.TLS:
            assert tls is not None
            return tls
        if kind is EapType.MD5:
            return Md5Peer(name, password)
        return MschapPeer(name, password, rand("peer"))

    return EapPeer(name, kinds, make)


def server(*kinds: EapType, user: bytes | None = None, tls: TlsServer | None = None) -> EapServer:
    def make(kind: EapType, name: bytes) -> ServerMethod:
        if kind is EapType.TLS:
            assert tls is not None
            return tls
        if kind is EapType.MD5:
            return Md5Server(name, PASSWORDS.get(name), rand("server"))
        return MschapServer(b"moon", name, PASSWORDS.get(name), rand("server"))

    return EapServer(user, kinds, make, 7)


class Talk:
    """What went back and forth, and how it ended at each side."""

    def __init__(self, client: EapPeer, authenticator: EapServer, tamper: Tamper = lambda octets: octets):
        self.client, self.authenticator = client, authenticator
        self.packets: list[EapPacket] = []
        self.at_peer: EapError | None = None
        self.at_server: EapError | None = None
        self._run(tamper)

    def _run(self, tamper: Tamper) -> None:
        request = self.authenticator.begin()
        while True:
            self.packets.append(EapPacket.parse(request))
            try:
                response = self.client.receive(tamper(request), 0)
            except EapError as error:
                self.at_peer = error
                return
            if response is None:
                return
            self.packets.append(EapPacket.parse(response))
            try:
                request = self.authenticator.receive(response, 0)
            except EapError as error:
                self.at_server = error
                request = self.authenticator.failure()

    @property
    def kinds(self) -> list[int]:
        return [packet.type or -packet.code for packet in self.packets]

    @property
    def succeeded(self) -> bool:
        return self.authenticator.succeeded and self.at_peer is None


def tls_end(side: TlsEnd) -> Callable[[Check], TlsEnd]:
    return lambda check: side


def anybody(*_: object) -> None:
    """Trusts every certificate."""


TRUST_ALL: Trust = anybody
