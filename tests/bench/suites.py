"""Each suite at three sizes: packets sealed and opened in a tunnel, against bare cryptography and scapy.

The bare calls are what a packet needs of the cryptography library: an AEAD's one call with a kept key; of the
others a cipher for the packet and an HMAC or CMAC of all of it. scapy's are those of its SecurityAssociation.
What is opened is another packet each time, as replays are dropped: so it is for the bare calls, too.
"""

from __future__ import annotations

import hmac
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher as PycaCipher
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR
from cryptography.hazmat.primitives.cmac import CMAC

from sim.crypto.ids import EncryptionId, IntegrityId
from tests.bench.measure import Sample, ratio, take_turns
from tests.ipsec.pair import EVERY_SUITE, datagram, make_pair

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.inet import IP

    from tests.ipsec.test_judges import JUDGED, association

SUITES = (
    *("aes128gcm16", "aes256gcm16", "aes128gcm8", "aes128gcm16iiv", "aes128gmac"),
    *("aes128ccm16", "aes128ccm8iiv", "chacha20poly1305", "chacha20poly1305iiv"),
    *("aes128-sha1", "aes256-sha256", "aes256-sha384", "aes256-sha512", "aes128-aesxcbc", "aes128-aescmac"),
    *("aes128ctr-sha256", "3des-sha1", "null-sha256"),
)
"""Every cipher and every MAC; other sizes of keys cost the same but for the cipher's own share."""
SIZES = (64, 512, 1400)
OURS, SCAPY = 2_000, 30
AIM_BARE, AIM_SCAPY = 3, 100

_HASHES = {
    IntegrityId.AUTH_HMAC_SHA1_96: "sha1",
    IntegrityId.AUTH_HMAC_SHA2_256_128: "sha256",
    IntegrityId.AUTH_HMAC_SHA2_384_192: "sha384",
    IntegrityId.AUTH_HMAC_SHA2_512_256: "sha512",
}
_HEADER, _IV, _NONCE = bytes(8), bytes(16), bytes(12)
Call = Callable[[bytes], object]


@dataclass(frozen=True)
class Measured:
    """One direction of a suite at a size: packets a second, and how many times slower or faster than others.

    `to_bare` is how many bare calls fit into one packet of ours, `to_scapy` how many of ours into one of
    scapy's; None where scapy lacks the suite.
    """

    rate: float
    to_bare: float
    to_scapy: float | None


def measure(suite: str, size: int, sealing: bool, rounds: int, scale: float) -> Measured:
    count = max(1, int(OURS * scale))
    contestants = [
        lambda: ours(suite, size, sealing, count),
        lambda: _timed(*bare(suite, size, sealing, count)),
    ]
    if suite in JUDGED:
        contestants.append(lambda: _timed(*scapy(suite, size, sealing, max(1, int(SCAPY * scale)))))
    own, theirs, *others = take_turns(contestants, rounds)
    rate = sorted(own)[len(own) // 2]
    return Measured(rate, ratio(theirs, own), ratio(own, others[0]) if others else None)


def table(rounds: int, scale: float) -> Iterator[list[str]]:
    """The head, then a line for each suite and size."""
    yield [
        *("suite", "octets", "sealed", "bare calls each", "times scapy's"),
        *("opened", "bare calls each", "times scapy's"),
    ]
    for suite in SUITES:
        for size in SIZES:
            both = [measure(suite, size, sealing, rounds, scale) for sealing in (True, False)]
            yield [suite, str(size), *(cell for one in both for cell in _cells(one))]


def _cells(one: Measured) -> list[str]:
    times = "" if one.to_scapy is None else f"{one.to_scapy:.0f}"
    return [f"{one.rate:,.0f}/s", f"{one.to_bare:.1f}", times]


def ours(suite: str, size: int, sealing: bool, count: int) -> Sample:
    pair, packet = make_pair(suite), datagram(size, df=True)
    sealed = [pair.seal(packet) for _ in range(1 if sealing else count)]
    if sealing:
        handle = pair.a.outbound
        began = time.process_time()
        for _ in range(count):
            handle(packet, 0)
    else:
        handle = pair.b.inbound
        began = time.process_time()
        for one in sealed:
            handle(one, 0)
    seconds = time.process_time() - began
    carried = pair.a.sad[pair.spec.spi_in].outbound if sealing else pair.b.sad[pair.spec.spi_out].inbound
    return Sample(carried.packets - sealing, seconds)


def _timed(call: Call, inputs: Sequence[bytes]) -> Sample:
    began = time.process_time()
    for one in inputs:
        call(one)
    return Sample(len(inputs), time.process_time() - began)


def scapy(suite: str, size: int, sealing: bool, count: int) -> tuple[Call, list[bytes]]:
    pair, packet = make_pair(suite), datagram(size, df=True)
    judge = association(suite, pair)
    if sealing:
        parsed = IP(bytes(packet))
        return lambda _: bytes(judge.encrypt(parsed)), [b""] * count
    return lambda one: bytes(judge.decrypt(IP(one))), [bytes(pair.seal(packet)) for _ in range(count)]


def bare(suite: str, size: int, sealing: bool, count: int) -> tuple[Call, list[bytes]]:
    """The calls for one packet, and what to call them with."""
    encryption, integrity = EVERY_SUITE[suite]
    text = bytes(size + 2 + -(size + 2) % max(4, encryption.block_bytes))
    key = bytes(encryption.key_bytes)
    if integrity is None:
        call, sealed = _bare_aead(encryption.id, key, text, sealing)
    else:
        crypt, mac = (
            _bare_cipher(encryption.id, key, sealing),
            _bare_mac(integrity.id, bytes(integrity.key_bytes)),
        )
        header, sealed = bytes(8 + encryption.iv_bytes), text

        def call(one: bytes) -> None:
            crypt(one)
            mac(header + one)

    if sealing:
        return call, [text] * count
    return call, [bytes(bytearray(sealed)) for _ in range(count)]


def _bare_aead(kind: EncryptionId, key: bytes, text: bytes, sealing: bool) -> tuple[Call, bytes]:
    """The call, and what is opened by it."""
    if kind is EncryptionId.ENCR_NULL_AUTH_AES_GMAC:
        gmac, header = AESGCM(key), bytes(16)
        if sealing:
            return lambda one: gmac.encrypt(_NONCE, b"", header + one), b""
        tag = gmac.encrypt(_NONCE, b"", header + text)
        return lambda one: gmac.decrypt(_NONCE, tag, header + one), text
    aead, nonce = _aead(kind, key)
    if sealing:
        return lambda one: aead.encrypt(nonce, one, _HEADER), b""
    return lambda one: aead.decrypt(nonce, one, _HEADER), aead.encrypt(nonce, text, _HEADER)


def _bare_mac(kind: IntegrityId, key: bytes) -> Call:
    name = _HASHES.get(kind)
    if name is not None:
        return lambda covered: hmac.digest(key, covered, name)

    def cmac(covered: bytes) -> bytes:  # AES-XCBC needs the same number of blocks
        mac = CMAC(AES(key))
        mac.update(covered)
        return mac.finalize()

    return cmac


def _aead(kind: EncryptionId, key: bytes) -> tuple[Any, bytes]:
    if "CCM_8" in kind.name:
        return AESCCM(key, 8), _NONCE[1:]
    if "CCM" in kind.name:
        return AESCCM(key), _NONCE[1:]
    return (ChaCha20Poly1305 if "CHACHA" in kind.name else AESGCM)(key), _NONCE


def _bare_cipher(kind: EncryptionId, key: bytes, sealing: bool) -> Call:
    if kind is EncryptionId.ENCR_NULL:
        return lambda text: text
    algorithm: AES | TripleDES = TripleDES(bytes(range(24))) if kind is EncryptionId.ENCR_3DES else AES(key)
    mode = CTR(_IV) if kind is EncryptionId.ENCR_AES_CTR else CBC(_IV[: algorithm.block_size // 8])
    if sealing:
        return lambda text: PycaCipher(algorithm, mode).encryptor().update(text)
    return lambda text: PycaCipher(algorithm, mode).decryptor().update(text)
