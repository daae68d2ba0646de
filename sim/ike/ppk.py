"""Post-quantum preshared keys: a secret beside the key exchange that no quantum computer finds (RFC 8784).

    HDR, SAi1, KEi, Ni, N(USE_PPK)  -->
                                    <--  HDR, SAr1, KEr, Nr, N(USE_PPK)
    HDR, SK {IDi, AUTH, ..., N(PPK_IDENTITY), [N(NO_PPK_AUTH)]}  -->
                                    <--  HDR, SK {IDr, AUTH, ..., [N(PPK_IDENTITY)]}

AUTH is made with keys into which the PPK went. NO_PPK_AUTH is what it would be without, for a responder that
does not have that PPK; an initiator that insists leaves it out. Left out: PPKs together with EAP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import NotifyType
from sim.ike.events import Reason
from sim.ike.keymat import with_ppk
from sim.ike.message import Message
from sim.ike.payloads import AuthPayload, IdPayload, NotifyPayload
from sim.ike.proof import Signing, failed, prove

if TYPE_CHECKING:
    from sim.ike.keymat import IkeKeys
    from sim.ike.sa import IkeSa
    from sim.ike.tasks.base import Outgoing

#  0                   1
#  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 ...
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
# |  PPK_ID Type  |  identifier   ~       data of PPK_IDENTITY (RFC 8784 5.1)
# +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
_FIXED = b"\2"
_KINDS = (b"\1", _FIXED)
"""PPK_ID_OPAQUE and PPK_ID_FIXED; what an opaque one stands for is between the two sides."""


def heed_ppk(sa: IkeSa, message: Message) -> None:
    """Note whether both sides can do it; a responder does not know yet which connection it will be."""
    able = any(connection.uses_ppk for connection in sa.candidates)
    sa.use_ppk = able and message.notify(NotifyType.USE_PPK) is not None


def prove_with_ppk(sa: IkeSa, own: IdPayload, signing: Signing | None, out: Outgoing) -> IkeKeys | None:
    """Add the initiator's AUTH and what goes with it; the keys without the PPK, if one was used."""
    if not sa.use_ppk:
        out.add(prove(sa, own, signing))
        return None
    plain, connection = sa.keys, sa.connection
    identity = _FIXED + connection.ppk_id
    out.add_last(NotifyPayload(NotifyType.PPK_IDENTITY, identity))
    if not connection.ppk_required:
        out.add_last(NotifyPayload(NotifyType.NO_PPK_AUTH, prove(sa, own, signing).data))
    _mix(sa)
    out.add(prove(sa, own, signing))
    return plain


def settle_ppk(sa: IkeSa, message: Message, plain: IkeKeys | None) -> None:
    """What the responder made of our PPK; PeerError when we insist on it and it did not use it."""
    if plain is None or message.notify(NotifyType.PPK_IDENTITY) is not None:
        return
    if sa.connection.ppk_required:
        raise failed("the responder did not use our PPK (ppk_required)", Reason.PPK_REQUIRED)
    sa.keys, sa.ppk = plain, False


def accept_ppk(sa: IkeSa, message: Message, proof: AuthPayload) -> AuthPayload:
    """The proof that a responder has to verify; PeerError when it is without the PPK that must be used."""
    connection, offered = sa.connection, message.notify(NotifyType.PPK_IDENTITY)
    if offered is None or not sa.use_ppk:
        if connection.ppk_required:
            raise failed("the initiator did not use a PPK (ppk_required)", Reason.PPK_REQUIRED)
        return proof
    kind, identity = offered.data[:1], offered.data[1:]
    if connection.uses_ppk and kind in _KINDS and identity == connection.ppk_id:
        _mix(sa)
        return proof
    fallback = message.notify(NotifyType.NO_PPK_AUTH)
    if connection.ppk_required or fallback is None:
        name = identity.decode("ascii", "backslashreplace")
        raise failed(f"the initiator uses the PPK {name}, which we do not have for it", Reason.PPK_REQUIRED)
    return AuthPayload(proof.method, fallback.data)


def confirm_ppk(sa: IkeSa, out: Outgoing) -> None:
    """A responder says that it used the PPK."""
    if sa.ppk:
        out.add_last(NotifyPayload(NotifyType.PPK_IDENTITY))


def _mix(sa: IkeSa) -> None:
    sa.keys, sa.ppk = with_ppk(sa.suite.prf, sa.keys, sa.connection.ppk), True
