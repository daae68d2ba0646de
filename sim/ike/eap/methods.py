"""Which EAP methods a connection has the secrets and certificates for, and how each begins."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sim.crypto.certificate import Certificate
from sim.crypto.tls import Check, TlsEnd
from sim.ike.certs import Received
from sim.ike.constants import IdType
from sim.ike.credentials import LocalAuth, Method, RemoteAuth, SecondAuth
from sim.ike.eap.md5 import Md5Peer, Md5Server
from sim.ike.eap.method import SAFE_ALONE, PeerMethod, ServerMethod
from sim.ike.eap.mschapv2 import MschapPeer, MschapServer
from sim.ike.eap.packets import EapType
from sim.ike.eap.peer import EapPeer
from sim.ike.eap.server import EapServer
from sim.ike.eap.tls import CertificateRefusedError, TlsPeer, TlsServer
from sim.ike.errors import PeerError
from sim.ike.events import Reason
from sim.ike.identity import Identity
from sim.ike.proof import failed, key_of_certificate
from sim.units import NS_PER_S

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.sa import IkeSa

_ADDRESSES = (IdType.IPV4_ADDR, IdType.IPV6_ADDR)
_DN = b"\x30"  # a SEQUENCE


def eap_name(identity: Identity) -> bytes:
    """How an identity is spelled in EAP: addresses as text, all others by their octets."""
    return str(identity).encode() if identity.type in _ADDRESSES else identity.data


def eap_identity(name: bytes) -> Identity:
    """Who a name in EAP means; what is neither an address nor a host, mail or X.500 name is a key id."""
    try:
        if name.startswith(_DN):
            return Identity(IdType.DER_ASN1_DN, name)
        return Identity.parse(name.decode("ascii")) or Identity(IdType.KEY_ID, name)
    except ValueError:
        return Identity(IdType.KEY_ID, name)


def only_eap(connection: ConnectionConfig) -> bool:
    """Whether EAP is the only proof, of both sides (RFC 5998)."""
    return connection.local.method is Method.EAP and connection.remote.method is Method.EAP


def possible(connection: ConnectionConfig, eap: tuple[EapType, ...]) -> tuple[EapType, ...]:
    """Of these methods, those that we can take part in."""
    certificates = bool(connection.local.credentials and connection.remote.trust.anchors)
    able = {
        EapType.TLS: certificates,
        EapType.MSCHAPV2: bool(connection.eap_secrets),
        EapType.MD5: bool(connection.eap_secrets),
    }
    alone = only_eap(connection)
    return tuple(kind for kind in eap if able[kind] and (not alone or kind in SAFE_ALONE))


def make_peer(sa: IkeSa, proof: LocalAuth | SecondAuth, own: Identity, server: Identity) -> EapPeer:
    """We prove to be `own`, or the identity that is configured for EAP, to the responder."""
    connection = sa.connection
    name = eap_name(proof.eap_id or own)

    def make(kind: EapType) -> PeerMethod:
        if kind is EapType.TLS:
            return TlsPeer(partial(_tls, connection, False), partial(_trust, sa, server))
        secret = connection.eap_secrets.get(name, b"")
        return MschapPeer(name, secret, sa.ctx.rand) if kind is EapType.MSCHAPV2 else Md5Peer(name, secret)

    return EapPeer(name, possible(connection, proof.eap), make)


def make_server(sa: IkeSa, wanted: RemoteAuth | SecondAuth, claimed: Identity) -> EapServer:
    """The initiator proves who it is: by default the one that it says in IKE. PeerError without a method."""
    connection = sa.connection

    def make(kind: EapType, name: bytes) -> ServerMethod:
        if kind is EapType.TLS:
            return TlsServer(partial(_tls, connection, True), partial(_trust, sa, eap_identity(name)))
        secret = connection.eap_secrets.get(name)
        if kind is EapType.MD5:
            return Md5Server(name, secret, sa.ctx.rand)
        assert sa.local_id is not None
        return MschapServer(eap_name(sa.local_id), name, secret, sa.ctx.rand)

    offered = possible(connection, wanted.eap)
    if not offered:
        text = f"connection {connection.name} has neither passwords nor certificates for EAP"
        raise failed(text, Reason.EAP_METHOD_REFUSED)
    known = None if wanted.ask_eap_id else eap_name(wanted.eap_id or claimed)
    return EapServer(known, offered, make, sa.ctx.rand(1)[0])


def _tls(connection: ConnectionConfig, server: bool, check: Check) -> TlsEnd:
    own, authorities = connection.local.credentials[0], connection.remote.trust.anchors
    return TlsEnd(server, own.key, own.certs, check, authorities if server else ())


def _trust(
    sa: IkeSa, identity: Identity, cert: Certificate, others: tuple[Certificate, ...], now: int
) -> None:
    seconds = (sa.ctx.config.epoch + now) // NS_PER_S
    try:
        key_of_certificate(sa.connection.remote, cert, Received(cert, others), identity, seconds)
    except PeerError as error:
        raise CertificateRefusedError(error.reason, error.text) from error
