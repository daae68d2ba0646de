"""Ciphers without integrity against RFC 3686, Intel's vectors and packets of FreeS/WAN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import unpack_from
from typing import Any

import pytest

from sim.crypto.block import AesCtr, Cbc, Null, aes_cbc, triple_des_cbc
from sim.crypto.cipher import cipher
from sim.crypto.ids import EncryptionId
from sim.crypto.suites import ENCRYPTION, INTEGRITY
from tests.crypto.vectors import DATA, SHA256, cases, no_rand, octets, seal

TRIPLE_DES_KEY = bytes.fromhex("4043434545464649494a4a4c4c4f4f515152525454575758")
AES_KEY = bytes.fromhex("aaaabbbbccccdddd") + TRIPLE_DES_KEY


def test_rfc_3686_counter_mode() -> None:
    """The vectors' IV is nonce ‖ IV, both of the RFC; the block counter begins with 1."""
    ran: dict[int, int] = {}
    for group, test in cases("intel-ipsec-mb/ctr_test.json"):
        key, iv, plaintext, ciphertext = octets(test, "key", "iv", "msg", "ct")
        if group["ivSize"] != 96:
            continue  # a whole counter block, which ESP does not send
        row = ENCRYPTION[EncryptionId.ENCR_AES_CTR, group["keySize"]]
        one = cipher(row, SHA256, key + iv[:4], bytes(32), no_rand)
        sealed = seal(one, b"aad", iv[4:], plaintext)
        assert sealed[:-16] == ciphertext
        assert one.open(b"aad", iv[4:], sealed) == plaintext
        ran[group["keySize"]] = ran.get(group["keySize"], 0) + 1
    assert ran == {128: 8, 192: 3, 256: 3}


def test_published_triple_des_cbc_vectors() -> None:
    row, ran = ENCRYPTION[EncryptionId.ENCR_3DES, None], 0
    for _, test in cases("intel-ipsec-mb/des3_test.json"):
        key, iv, plaintext, ciphertext = octets(test, "key", "iv", "msg", "ct")
        one = cipher(row, SHA256, key, bytes(32), no_rand)
        sealed = seal(one, b"", iv, plaintext)
        assert sealed[:-16] == ciphertext
        assert one.open(b"", iv, sealed) == plaintext
        ran += 1
    assert ran == 4


@pytest.mark.parametrize(
    ("file", "make", "key", "iv_bytes"),
    [
        ("02-sunrise-sunset-esp", triple_des_cbc, TRIPLE_DES_KEY, 8),
        ("08-sunrise-sunset-aes", aes_cbc, AES_KEY, 16),
    ],
)
def test_packets_of_another_stack(file: str, make: Callable[[bytes], Cbc], key: bytes, iv_bytes: int) -> None:
    """RFC 2451, RFC 3602: the IV first, HMAC-96 behind; inside is IP with ESP's trailer."""
    ran, body = 0, 8 + iv_bytes
    for packet in esp_packets(file):
        plaintext = make(key).decrypt(packet[8:body], packet[body:-12])
        padding, next_header = plaintext[-2], plaintext[-1]
        assert (plaintext[0], next_header) == (0x45, 4)
        assert plaintext[-2 - padding : -2] == bytes(range(1, padding + 1))
        assert unpack_from(">H", plaintext, 2)[0] == len(plaintext) - padding - 2
        ran += 1
    assert ran == 8


def test_null_encrypts_nothing_and_takes_no_iv() -> None:
    """RFC 2410: no key, no IV, a block of one octet; the integrity algorithm does its work."""
    row = ENCRYPTION[EncryptionId.ENCR_NULL, None]
    assert (row.keymat_bytes, row.iv_bytes, row.block_bytes) == (0, 0, 1)
    one = cipher(row, SHA256, b"", bytes(32), no_rand)
    assert one.next_iv(7) == b""
    assert seal(one, b"aad", b"", b"plain")[:5] == b"plain"


@pytest.mark.parametrize("integrity", INTEGRITY.values(), ids=lambda i: i.name)
def test_counter_mode_takes_the_counter_as_its_iv(integrity: Any) -> None:
    """RFC 3686 3.1: an IV used twice under one key gives the plaintexts away, so none is drawn at random."""
    row = ENCRYPTION[EncryptionId.ENCR_AES_CTR, 128]
    one = cipher(row, integrity, bytes(20), bytes(integrity.key_bytes), no_rand)
    assert [one.next_iv(n) for n in (1, 2, 2**32)] == [n.to_bytes(8, "big") for n in (1, 2, 2**32)]


def test_a_cbc_context_gives_each_packet_its_own_chain() -> None:
    """One context serves all packets: lost and foreign ones in between change nothing."""
    for make, size, block in ((aes_cbc, 24, 16), (triple_des_cbc, 24, 8)):
        used = make(bytes(range(size)))
        for n in (3, 1, 0, 7):
            iv, plaintext = bytes((n,)) * block, bytes((n,)) * block * n
            fresh: Cbc = make(bytes(range(size)))
            assert used.encrypt(iv, plaintext) == fresh.encrypt(iv, plaintext)
            assert used.decrypt(iv, used.encrypt(iv, plaintext)) == plaintext
            used.decrypt(bytes(block), bytes(block))


def test_who_may_count_its_ivs() -> None:
    assert AesCtr.counted
    assert Null.counted
    assert not Cbc.counted


def esp_packets(file: str) -> Iterator[bytes]:
    """The packets, from the SPI on, of a capture of Ethernet frames."""
    data = (DATA / "tcpdump" / f"{file}.pcap").read_bytes()
    at = 24
    while at < len(data):
        (size,) = unpack_from("<I", data, at + 8)
        yield data[at + 16 + 14 + 20 : at + 16 + size]
        at += 16 + size
