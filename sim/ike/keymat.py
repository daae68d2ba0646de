"""Keying material (RFC 7296 2.13, 2.14, 2.17, 2.18).

The PRFs in the tables take keys of any size, so of the rules for PRFs with a fixed key only that for the
nonces remains, which AES-XCBC and AES-CMAC have in spite of that (2.14).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from sim.crypto.prf import Prf
from sim.crypto.suites import Encryption, Integrity
from sim.ike.proposals import EspSuite, IkeSuite


class IkeKeys(NamedTuple):
    """The seven secrets of an IKE SA, in the order in which prf+ gives them (RFC 7296 2.14)."""

    sk_d: bytes
    sk_ai: bytes
    sk_ar: bytes
    sk_ei: bytes
    sk_er: bytes
    sk_pi: bytes
    sk_pr: bytes


class ChildKeys(NamedTuple):
    """A Child SA's keys: towards the responder of the exchange first, encryption first (RFC 7296 2.17).

    Encryption keys end with the salt where the cipher has one; an AEAD's integrity keys are empty.
    """

    encr_i: bytes
    integ_i: bytes
    encr_r: bytes
    integ_r: bytes


def skeyseed(prf: Prf, nonce_i: bytes, nonce_r: bytes, shared: bytes) -> bytes:
    """SKEYSEED = prf(Ni | Nr, g^ir), of some PRFs with the first octets of the nonces (RFC 7296 2.14)."""
    size = prf.nonce_bytes
    return prf(nonce_i[:size] + nonce_r[:size], shared)


def rekey_skeyseed(
    prf: Prf, sk_d: bytes, shared: bytes, nonce_i: bytes, nonce_r: bytes, additional: bytes = b""
) -> bytes:
    """SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the old IKE SA's PRF (RFC 7296 2.18).

    `additional` are the secrets SK(1) | ... | SK(n) of additional key exchanges, which come last (RFC 9370
    2.2.4). What an IKE_INTERMEDIATE changes is of the same form: its secret for g^ir, and the nonces of
    IKE_SA_INIT (2.2.2).
    """
    return prf(sk_d, shared + nonce_i + nonce_r + additional)


def ike_keys(
    suite: IkeSuite, seed: bytes, nonce_i: bytes, nonce_r: bytes, spi_i: bytes, spi_r: bytes
) -> IkeKeys:
    """{SK_d | SK_ai | ... | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr) (RFC 7296 2.14)."""
    integ, encr = _integrity_bytes(suite.integrity), suite.encryption.keymat_bytes
    key = suite.prf.key_bytes
    sizes = (key, integ, integ, encr, encr, key, key)
    return IkeKeys(*_expand(suite.prf, seed, nonce_i + nonce_r + spi_i + spi_r, sizes))


def with_ppk(prf: Prf, keys: IkeKeys, ppk: bytes) -> IkeKeys:
    """SK_d, SK_pi, SK_pr = prf+(PPK, SK_d'), prf+(PPK, SK_pi'), prf+(PPK, SK_pr') (RFC 8784 3)."""
    size = prf.key_bytes
    return keys._replace(
        sk_d=prf.plus(ppk, keys.sk_d, size),
        sk_pi=prf.plus(ppk, keys.sk_pi, size),
        sk_pr=prf.plus(ppk, keys.sk_pr, size),
    )


def child_keys(
    prf: Prf,
    sk_d: bytes,
    suite: EspSuite,
    nonce_i: bytes,
    nonce_r: bytes,
    shared: bytes = b"",
    additional: bytes = b"",
) -> ChildKeys:
    """KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr [| SK(1) | ... | SK(n)]) (RFC 7296 2.17, RFC 9370 2.2.4).

    `nonce_i` is that of the initiator of the exchange that made the Child SA, not of the IKE SA.
    """
    sizes = _child_sizes(suite.encryption, suite.integrity) * 2
    return ChildKeys(*_expand(prf, sk_d, shared + nonce_i + nonce_r + additional, sizes))


def _child_sizes(encryption: Encryption, integrity: Integrity | None) -> tuple[int, int]:
    return encryption.keymat_bytes, _integrity_bytes(integrity)


def _integrity_bytes(integrity: Integrity | None) -> int:
    return 0 if integrity is None else integrity.key_bytes


def _expand(prf: Prf, key: bytes, seed: bytes, sizes: tuple[int, ...]) -> tuple[bytes, ...]:
    layout = _layout(sizes)
    return layout.unpack(prf.plus(key, seed, layout.size))


@lru_cache(64)
def _layout(sizes: tuple[int, ...]) -> Struct:
    return Struct("".join(f"{size}s" for size in sizes))
