"""One block of DES (FIPS 46-3), for MSCHAPv2 alone (RFC 2759 8.6); broken since long ago."""

from __future__ import annotations

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB


def des_encrypt(key: bytes, block: bytes) -> bytes:
    """Encrypt 8 octets with a key of 56 bits; the parity bits that DES wants besides, nobody reads."""
    bits = int.from_bytes(key, "big")
    spread = bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))
    encryptor = Cipher(TripleDES(spread * 3), ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()
