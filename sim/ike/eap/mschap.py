"""MSCHAPv2's arithmetic (RFC 2759 8, RFC 3079 3).

MD4 and single DES are what the protocol has; whoever records an exchange can find the password's hash. Inside
IKEv2 the responder has proved itself first, and the exchange is encrypted.
"""

from __future__ import annotations

from hashlib import sha1

from sim.crypto.des import des_encrypt
from sim.crypto.md4 import md4

NT_RESPONSE_BYTES = 24
MSK_BYTES = 64
_KEY_BYTES = 16

_MAGIC_1 = b"Magic server to client signing constant"
_MAGIC_2 = b"Pad to make it do more than one iteration"
_MPPE_1 = b"This is the MPPE Master Key"
_TO_SERVER = b"On the client side, this is the send key; on the server side, it is the receive key."
_TO_CLIENT = b"On the client side, this is the receive key; on the server side, it is the send key."
_PAD_1, _PAD_2 = bytes(40), b"\xf2" * 40


def password_hash(password: str) -> bytes:
    """NtPasswordHash (RFC 2759 8.3)."""
    return md4(password.encode("utf-16-le"))


def challenge_hash(peer_challenge: bytes, server_challenge: bytes, name: bytes) -> bytes:
    """ChallengeHash (8.2); a name counts without its domain (4)."""
    return sha1(peer_challenge + server_challenge + user_of(name)).digest()[:8]


def user_of(name: bytes) -> bytes:
    """A name without the domain that may stand before it (4)."""
    return name.rpartition(b"\\")[2]


def nt_response(server_challenge: bytes, peer_challenge: bytes, name: bytes, password: bytes) -> bytes:
    """GenerateNTResponse (8.1), from the password's hash."""
    challenge = challenge_hash(peer_challenge, server_challenge, name)
    keys = password.ljust(21, b"\0")
    return b"".join(des_encrypt(keys[at : at + 7], challenge) for at in (0, 7, 14))


def authenticator_response(
    password: bytes, response: bytes, peer_challenge: bytes, server_challenge: bytes, name: bytes
) -> bytes:
    """GenerateAuthenticatorResponse (8.7), the 20 octets that `S=` shows in hexadecimal."""
    digest = sha1(md4(password) + response + _MAGIC_1).digest()
    challenge = challenge_hash(peer_challenge, server_challenge, name)
    return sha1(digest + challenge + _MAGIC_2).digest()


def master_key(password: bytes, response: bytes) -> bytes:
    """GetMasterKey (RFC 3079 3.4), from the password's hash and the NT-Response."""
    return sha1(md4(password) + response + _MPPE_1).digest()[:_KEY_BYTES]


def start_key(master: bytes, *, to_server: bool) -> bytes:
    """GetAsymmetricStartKey for 128 bits (RFC 3079 3.4), for one direction."""
    magic = _TO_SERVER if to_server else _TO_CLIENT
    return sha1(master + _PAD_1 + magic + _PAD_2).digest()[:_KEY_BYTES]


def msk(password: bytes, response: bytes) -> bytes:
    """MasterReceiveKey and MasterSendKey of the server, filled with zeros (RFC 3079 3, RFC 3748 7.10)."""
    master = master_key(password, response)
    keys = start_key(master, to_server=True) + start_key(master, to_server=False)
    return keys.ljust(MSK_BYTES, b"\0")
