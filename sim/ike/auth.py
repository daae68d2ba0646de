"""What AUTH covers, and its value with a shared key or none (RFC 7296 2.15, RFC 7619 2.1)."""

from __future__ import annotations

from functools import lru_cache
from hmac import compare_digest

from sim.crypto.prf import Prf

_KEY_PAD = b"Key Pad for IKEv2"  # 17 octets, no terminator


def psk_auth(
    prf: Prf,
    psk: bytes,
    first_message: bytes,
    peer_nonce: bytes,
    sk_p: bytes,
    id_body: bytes,
    int_auth: bytes = b"",
) -> bytes:
    """AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), SignedOctets).

    For a sender: its own first message as it went out, from the IKE header on; the other side's nonce data;
    its own SK_p; the body of its own ID payload, as `IdPayload.emit` gives it. A verifier takes all of that
    from the sender's side.
    """
    return prf(_padded(prf, psk), signed_octets(prf, first_message, peer_nonce, sk_p, id_body, int_auth))


def null_auth(
    prf: Prf, first_message: bytes, peer_nonce: bytes, sk_p: bytes, id_body: bytes, int_auth: bytes = b""
) -> bytes:
    """AUTH of somebody who stays anonymous: as with a shared key, which is the sender's SK_p."""
    return session_auth(b"", prf, first_message, peer_nonce, sk_p, id_body, int_auth)


def session_auth(
    key: bytes,
    prf: Prf,
    first_message: bytes,
    peer_nonce: bytes,
    sk_p: bytes,
    id_body: bytes,
    int_auth: bytes = b"",
) -> bytes:
    """AUTH by a key of this IKE SA alone: EAP's MSK, or the sender's SK_p if `key` is empty (2.16)."""
    octets = signed_octets(prf, first_message, peer_nonce, sk_p, id_body, int_auth)
    return prf(prf(key or sk_p, _KEY_PAD), octets)


def signed_octets(
    prf: Prf, first_message: bytes, peer_nonce: bytes, sk_p: bytes, id_body: bytes, int_auth: bytes = b""
) -> bytes:
    """RealMessage | NonceData of the peer | prf(SK_p, ID') [| IntAuth] (RFC 7296 2.15, RFC 9242 3.3.1)."""
    return first_message + peer_nonce + prf(sk_p, id_body) + int_auth


@lru_cache(256)  # of each connection, the same in every handshake
def _padded(prf: Prf, psk: bytes) -> bytes:
    return prf(psk, _KEY_PAD)


def verify_psk_auth(
    received: bytes,
    prf: Prf,
    psk: bytes,
    first_message: bytes,
    peer_nonce: bytes,
    sk_p: bytes,
    id_body: bytes,
    int_auth: bytes = b"",
) -> bool:
    """Whether an AUTH payload's data is what `psk_auth` gives for the peer; in constant time."""
    return compare_digest(received, psk_auth(prf, psk, first_message, peer_nonce, sk_p, id_body, int_auth))
