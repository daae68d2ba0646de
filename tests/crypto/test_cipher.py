"""Ciphers as ESP and SK use them: published packets, Wycheproof, and what must be refused."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.crypto.cipher import Cipher, cipher
from sim.crypto.errors import IntegrityError
from sim.crypto.ids import EncryptionId, IntegrityId
from sim.crypto.suites import ENCRYPTION, INTEGRITY, Encryption, Integrity
from tests.crypto.vectors import (
    SHA1,
    SHA256,
    SHA384,
    SHA512,
    SUITES,
    accepts,
    any_cipher,
    cases,
    cbc,
    chacha,
    drawn,
    gcm,
    load,
    no_rand,
    octets,
    seal,
)

ESP = load("rfc-vectors/mcgrew_gcm_esp.json")["vectors"]
AAD, OTHER_AAD = b"SPI.0001", b"SPI.0002"
EXPLICIT = {
    EncryptionId.ENCR_AES_GCM_16_IIV: EncryptionId.ENCR_AES_GCM_16,
    EncryptionId.ENCR_AES_CCM_8_IIV: EncryptionId.ENCR_AES_CCM_8,
    EncryptionId.ENCR_CHACHA20_POLY1305_IIV: EncryptionId.ENCR_CHACHA20_POLY1305,
}
IMPLICIT = [row for row in ENCRYPTION.values() if row.id in EXPLICIT]
suites = pytest.mark.parametrize(
    ("encryption", "integrity"), SUITES, ids=lambda row: row.name if row else "aead"
)


@pytest.mark.parametrize("vector", ESP, ids=lambda v: f"case{v['case']}")
def test_rfc_4106_packet_is_sealed_and_opened(vector: dict[str, Any]) -> None:
    key, salt, aad, iv, plaintext, packet = octets(
        vector, "key", "salt", "aad", "iv", "plaintext_with_trailer", "packet"
    )
    one = gcm(key, salt)
    assert packet[8:] == iv + seal(one, aad, iv, plaintext)
    assert one.open(aad, iv, packet[8 + one.iv_bytes :]) == plaintext


@pytest.mark.parametrize("vector", [v for v in ESP if v["esn"]], ids=lambda v: f"case{v['case']}")
def test_rfc_4106_packet_with_another_esn_half_is_refused(vector: dict[str, Any]) -> None:
    key, salt, aad, iv, packet = octets(vector, "key", "salt", "aad", "iv", "packet")
    other = aad[:4] + bytes([aad[4] ^ 1]) + aad[5:]
    with pytest.raises(IntegrityError):
        gcm(key, salt).open(other, iv, packet[16:])


def test_rfc_7634_esp_packet_is_sealed_and_opened() -> None:
    (vector,) = load("rfc-vectors/rfc7634_esp.json")["vectors"]
    key, salt, aad, iv, plaintext, packet = octets(
        vector, "key", "salt", "aad", "iv", "plaintext_with_trailer", "packet"
    )
    one = chacha(key, salt)
    assert packet == aad + iv + seal(one, aad, iv, plaintext)
    assert one.open(aad, iv, packet[16:]) == plaintext


def test_rfc_4543_esp_packet_is_sealed_and_opened() -> None:
    """The payload is on the wire as it was; the ICV covers SPI, sequence number, IV and payload."""
    (vector,) = load("rfc-vectors/gmac_esp.json")["vectors"]
    key, salt, aad, iv, payload, packet = octets(
        vector, "key", "salt", "aad", "iv", "plaintext_with_trailer", "packet"
    )
    one = cipher(ENCRYPTION[EncryptionId.ENCR_NULL_AUTH_AES_GMAC, 128], None, key + salt, b"", no_rand)
    assert packet == aad + iv + seal(one, aad, iv, payload)
    assert one.open(aad, iv, packet[16:]) == payload
    assert not accepts(one, aad, bytes(7) + b"\x01", packet[16:])


def test_published_gmac_vector_whose_message_holds_its_iv() -> None:
    """The message is aad ‖ IV ‖ payload of RFC 4543 3; the published tag is the start of the ICV."""
    (_, test), *others = cases("intel-ipsec-mb/gmac_test.json")
    key, nonce, message, tag = octets(test, "key", "iv", "msg", "tag")
    one = cipher(ENCRYPTION[EncryptionId.ENCR_NULL_AUTH_AES_GMAC, 128], None, key + nonce[:4], b"", no_rand)
    assert message[4:12] == nonce[4:]
    payload = message[12:]
    assert seal(one, message[:4], nonce[4:], payload)[len(payload) :].startswith(tag)
    assert not any(octets(other, "iv")[0][4:] in octets(other, "msg")[0] for _, other in others)


@pytest.mark.parametrize("row", IMPLICIT, ids=lambda row: row.name)
@pytest.mark.parametrize("number", ["00000001", "ffffffff", "0000000100000000", "8000000000000001"])
def test_rfc_8750_iv_is_the_sequence_number_behind_zeros(row: Encryption, number: str) -> None:
    """The octets are those of the AEAD with that IV, which then is not sent (RFC 8750 4)."""
    keys = bytes(range(row.keymat_bytes))
    implicit = cipher(row, None, keys, b"", no_rand)
    explicit = cipher(ENCRYPTION[EXPLICIT[row.id], row.key_bits], None, keys, b"", no_rand)
    aad, text = bytes.fromhex("00004321" + number), bytes(range(60))
    assert (implicit.iv_bytes, implicit.next_iv(7)) == (0, b"")
    sealed = seal(implicit, aad, b"", text)
    assert sealed == seal(explicit, aad, bytes.fromhex(number.rjust(16, "0")), text)
    assert implicit.open(aad, b"", sealed) == text


@pytest.mark.parametrize("row", IMPLICIT, ids=lambda row: row.name)
def test_rfc_8750_without_a_sequence_number_there_is_no_iv(row: Encryption) -> None:
    """RFC 8750 8: an IKE message, whose AAD is its headers, cannot have one."""
    one = any_cipher(row, None)
    for aad in (b"", bytes(4), bytes(28), bytes(32)):
        with pytest.raises(ValueError, match=f"not in {len(aad)} octets"):
            seal(one, aad, b"", b"text")
        with pytest.raises(ValueError, match="finds its IV in SPI and sequence number"):
            one.open(aad, b"", bytes(40))


def test_rfc_7634_ike_message_is_sealed_and_opened() -> None:
    """The AAD is the message up to the IV: IKE header and SK generic header (RFC 5282 5.1)."""
    key, salt, message, plaintext = octets(
        load("rfc-vectors/rfc7634_ikev2.json"), "key", "salt", "message", "plaintext"
    )
    one = chacha(key, salt)
    aad, iv, sealed = message[:32], message[32:40], message[40:]
    assert seal(one, aad, iv, plaintext) == sealed
    assert one.open(aad, iv, sealed) == plaintext


def test_android_ike_auth_is_sealed_and_opened() -> None:
    """AES-CBC-128 with HMAC-SHA1-96: the ICV covers the message from its first octet (RFC 7296 3.14)."""
    vector = load("android-unit/android_ike_unit_vectors.json")["constants"]
    key, integrity_key, message = octets(
        vector["message/IkeSkPayloadTest.java"],
        "ENCR_KEY_FROM_INIT_TO_RESP",
        "INTE_KEY_FROM_INIT_TO_RESP",
        "IKE_AUTH_INIT_REQUEST_HEX_STRING",
    )
    body, padding = octets(
        vector["message/IkeEncryptedPayloadBodyTest.java"],
        "IKE_AUTH_INIT_REQUEST_UNENCRYPTED_DATA",
        "IKE_AUTH_INIT_REQUEST_PADDING",
    )
    plaintext = body + padding + bytes([len(padding)])
    aad, iv, sealed = message[:32], message[32:48], message[48:]
    one = cbc(key, integrity_key, SHA1)
    assert one.open(aad, iv, sealed) == plaintext
    assert seal(one, aad, iv, plaintext) == sealed


@pytest.mark.parametrize(
    "vector", load("rfc-vectors/rfc3602.json")["vectors"], ids=lambda v: f"case{v['case']}"
)
def test_rfc_3602_plaintext_gives_the_ciphertext(vector: dict[str, Any]) -> None:
    key, iv, plaintext, ciphertext = octets(vector, "key", "iv", "plaintext", "ciphertext")
    aad = bytes.fromhex(vector.get("spi", "") + vector.get("seq", ""))
    one = cbc(key, bytes(32))
    sealed = seal(one, aad, iv, plaintext)
    assert sealed[: -one.icv_bytes] == ciphertext
    assert one.open(aad, iv, sealed) == plaintext


@pytest.mark.parametrize("vector", load("rfc-vectors/rfc4868.json")["vectors"][1:4], ids=lambda v: v["case"])
def test_rfc_4868_mac_covers_aad_iv_ciphertext_and_tail(vector: dict[str, Any]) -> None:
    """The RFC's message cut in three around an empty ciphertext: the ICV is its MAC, cut to 128 bits."""
    key, data, mac = octets(vector, "key", "data", "mac")
    aad, iv, tail = data[:8], data[8:24], data[24:]
    one = cbc(bytes(16), key)
    assert seal(one, aad, iv, b"", tail) == mac[:16]
    assert one.open(aad, iv, mac[:16], tail) == b""


@pytest.mark.parametrize(
    ("file", "row"), [("sha256", SHA256), ("sha384", SHA384), ("sha512", SHA512)], ids=lambda x: str(x)[:6]
)
def test_wycheproof_hmac_sha2_icv(file: str, row: Integrity) -> None:
    """RFC 4868 2.6: of each hash the first half."""
    ran = 0
    for group, test in cases(f"wycheproof/hmac_{file}_test.json"):
        key, message, tag = octets(test, "key", "msg", "tag")
        if (len(key), group["tagSize"]) != (row.key_bytes, 8 * row.icv_bytes) or len(message) < 16:
            continue  # other sizes than ours; too short to hold an IV
        one = cbc(bytes(16), key, row)
        opened = accepts(one, message[16:], message[:16], tag)
        if message[16:]:
            opened = accepts(one, b"", message[:16], tag, message[16:])
        assert opened == (test["result"] == "valid"), test["tcId"]
        ran += 1
    assert ran > 30


@pytest.mark.parametrize("origin", ["intel-ipsec-mb", "wycheproof"])
@pytest.mark.parametrize(("name", "make"), [("aes_gcm", gcm), ("chacha20_poly1305", chacha)])
def test_published_aead_vectors(origin: str, name: str, make: Any) -> None:
    """The published nonce is salt ‖ IV, the published tag the ICV."""
    path = (
        f"{origin}/{name}_test.json"
        if origin == "wycheproof"
        else f"{origin}/{name.removeprefix('aes_')}_test.json"
    )
    ran = 0
    for group, test in cases(path):
        if (group["ivSize"], group["tagSize"]) != (96, 128):
            continue
        key, nonce, aad, plaintext, ciphertext, tag = octets(test, "key", "iv", "aad", "msg", "ct", "tag")
        one = make(key, nonce[:4])
        valid = test["result"] == "valid"
        assert accepts(one, aad, nonce[4:], ciphertext + tag) == valid, test["tcId"]
        assert (seal(one, aad, nonce[4:], plaintext) == ciphertext + tag) == valid, test["tcId"]
        ran += 1
    assert ran >= 3


@pytest.mark.parametrize("vector", ESP, ids=lambda v: f"case{v['case']}")
@pytest.mark.parametrize("icv", [8, 12])
def test_rfc_4106_packet_with_a_short_icv(vector: dict[str, Any], icv: int) -> None:
    """RFC 4106 6: the ICV of 8 or 12 octets is the start of the one with 16."""
    key, salt, aad, iv, plaintext, packet = octets(
        vector, "key", "salt", "aad", "iv", "plaintext_with_trailer", "packet"
    )
    row = ENCRYPTION[EncryptionId.ENCR_AES_GCM_8 if icv == 8 else EncryptionId.ENCR_AES_GCM_12, len(key) * 8]
    one = cipher(row, None, key + salt, b"", no_rand)
    sealed = packet[16 : icv - 16]
    assert seal(one, aad, iv, plaintext) == sealed
    assert one.open(aad, iv, sealed) == plaintext
    assert not accepts(one, aad, iv, packet[16:]), "an ICV of 16 octets"
    out = bytearray(len(plaintext))
    one.open_into(aad, iv, sealed, out)
    assert out == plaintext


def test_published_gcm_vector_with_an_icv_of_eight_octets() -> None:
    ((_, test),) = [
        (group, test)
        for group, test in cases("intel-ipsec-mb/gcm_test.json")
        if (group["ivSize"], group["tagSize"]) == (96, 64)
    ]
    key, nonce, aad, plaintext, ciphertext, tag = octets(test, "key", "iv", "aad", "msg", "ct", "tag")
    row = ENCRYPTION[EncryptionId.ENCR_AES_GCM_8, len(key) * 8]
    one = cipher(row, None, key + nonce[:4], b"", no_rand)
    assert seal(one, aad, nonce[4:], plaintext) == ciphertext + tag
    assert one.open(aad, nonce[4:], ciphertext + tag) == plaintext


def test_wycheproof_ccm_with_nonces_of_eleven_octets() -> None:
    """RFC 4309 4: the nonce is a salt of three octets and the IV of eight."""
    ran = 0
    for group, test in cases("wycheproof/aes_ccm_test.json"):
        key, nonce, aad, plaintext, ciphertext, tag = octets(test, "key", "iv", "aad", "msg", "ct", "tag")
        row = ENCRYPTION[EncryptionId.ENCR_AES_CCM_16, group["keySize"]]
        one = cipher(row, None, key + nonce[:3], b"", no_rand)
        assert seal(one, aad, nonce[3:], plaintext) == ciphertext + tag, test["tcId"]
        assert one.open(aad, nonce[3:], ciphertext + tag) == plaintext
        ran += 1
    assert ran == 18


@pytest.mark.parametrize("integrity", INTEGRITY.values(), ids=lambda i: i.name)
def test_rfc_4868_icv_is_half_of_the_hash(integrity: Integrity) -> None:
    """RFC 4868 2.3, RFC 2404 and 3566: how much of its MAC each algorithm sends."""
    assert integrity.icv_bytes == {20: 12, 16: 12, 32: 16, 48: 24, 64: 32}[integrity.key_bytes]


def test_published_cbc_vectors() -> None:
    ran = 0
    for _, test in cases("intel-ipsec-mb/cbc_test.json"):
        key, iv, plaintext, ciphertext = octets(test, "key", "iv", "msg", "ct")
        one = cbc(key, bytes(32))
        sealed = seal(one, b"", iv, plaintext)
        assert sealed[:-16] == ciphertext
        assert one.open(b"", iv, sealed) == plaintext
        ran += 1
    assert ran == 7


@suites
@settings(max_examples=20)  # of many suites
@given(data=st.data())
def test_open_gives_back_what_was_sealed(
    encryption: Encryption, integrity: Integrity | None, data: st.DataObject
) -> None:
    one = any_cipher(encryption, integrity)
    aad, iv, plaintext, tail = data.draw(packets(one))
    assert one.open(aad, iv, seal(one, aad, iv, plaintext, tail), tail) == plaintext


@suites
@settings(max_examples=20)  # of many suites
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_refused(
    encryption: Encryption, integrity: Integrity | None, data: st.DataObject
) -> None:
    one = any_cipher(encryption, integrity)
    aad, iv, plaintext, tail = data.draw(packets(one))
    parts = [aad, iv, seal(one, aad, iv, plaintext, tail), b"" if encryption.aead else tail]
    place = data.draw(st.integers(0, 8 * sum(map(len, parts)) - 1))
    aad, iv, sealed, tail = flip(parts, place)
    with pytest.raises(IntegrityError):
        one.open(aad, iv, sealed, tail)


@suites
def test_sealed_octets_cut_anywhere_are_refused(encryption: Encryption, integrity: Integrity | None) -> None:
    one = any_cipher(encryption, integrity)
    iv = bytes(one.iv_bytes)
    sealed = seal(one, AAD, iv, bytes(64))
    for size in range(len(sealed)):
        assert not accepts(one, AAD, iv, sealed[:size])


@suites
def test_plaintext_may_be_the_start_of_the_output(
    encryption: Encryption, integrity: Integrity | None
) -> None:
    one = any_cipher(encryption, integrity)
    iv, plaintext = bytes(one.iv_bytes), bytes(range(256)) * 5
    expected = seal(one, AAD, iv, plaintext, b"tail")
    out = memoryview(bytearray(plaintext + b"\xa5" * one.icv_bytes))
    one.seal_into(AAD, iv, out[: len(plaintext)], out, b"tail")
    assert bytes(out) == expected


@suites
def test_a_packet_does_not_depend_on_those_before_it(
    encryption: Encryption, integrity: Integrity | None
) -> None:
    """Packets get lost, and forged ones come between: each stands alone."""
    one = any_cipher(encryption, integrity)
    for n in (3, 1, 0, 5, 2):
        iv, plaintext = bytes([n]) * one.iv_bytes, bytes([n]) * 16 * n
        fresh = any_cipher(encryption, integrity)
        sealed = seal(fresh, AAD, iv, plaintext)
        assert seal(one, AAD, iv, plaintext) == sealed
        assert not accepts(one, OTHER_AAD, iv, sealed)
        assert one.open(AAD, iv, sealed) == fresh.open(AAD, iv, sealed) == plaintext


@pytest.mark.parametrize("size", [1, 15, 17, 31])
def test_part_of_a_block_is_refused_and_does_no_harm_to_the_next_packet(size: int) -> None:
    """A peer can put a good ICV on a ciphertext that is no whole number of blocks."""
    key, iv, ciphertext = bytes(range(32)), bytes(16), bytes(size)
    one = cbc(bytes(16), key)
    assert not accepts(one, AAD, iv, ciphertext + hmac.digest(key, AAD + iv + ciphertext, "sha256")[:16])
    assert one.open(AAD, iv, seal(one, AAD, iv, bytes(32))) == bytes(32)


@suites
def test_every_kind_of_buffer_is_taken(encryption: Encryption, integrity: Integrity | None) -> None:
    one = any_cipher(encryption, integrity)
    iv, plaintext = bytes(one.iv_bytes), bytes(32)
    sealed = seal(one, AAD, iv, plaintext, b"tail")
    for kind in (bytearray, memoryview):
        assert seal(one, kind(AAD), kind(iv), kind(plaintext), kind(b"tail")) == sealed
        assert one.open(kind(AAD), kind(iv), kind(sealed), kind(b"tail")) == plaintext


@suites
def test_a_wrong_size_is_named(encryption: Encryption, integrity: Integrity | None) -> None:
    one = any_cipher(encryption, integrity)
    for size in {0, 4, 7, 8, 9, 12, 15, 16, 17} - {one.iv_bytes}:
        with pytest.raises(ValueError, match=f"{one.iv_bytes} octets of IV, not {size}"):
            one.open(AAD, bytes(size), bytes(64))
        with pytest.raises(ValueError, match=f"{one.iv_bytes} octets of IV, not {size}"):
            seal(one, AAD, bytes(size), bytes(64))
    good = encryption.keymat_bytes
    integrity_key = bytes(integrity.key_bytes if integrity else 0)
    for size in {0, abs(good - 1), good + 1} - {good}:
        with pytest.raises(ValueError, match=f"{encryption.name} takes {good} octets of key, not {size}"):
            cipher(encryption, integrity, bytes(size), integrity_key, no_rand)


@pytest.mark.parametrize("integrity", INTEGRITY.values(), ids=lambda i: i.name)
def test_a_wrong_size_of_integrity_key_is_named(integrity: Integrity) -> None:
    for size in (0, integrity.key_bytes - 1, integrity.key_bytes + 1):
        with pytest.raises(ValueError, match=f"{integrity.name} takes {integrity.key_bytes} octets of key"):
            cbc(bytes(16), bytes(size), integrity)


def test_cbc_takes_whole_blocks_only() -> None:
    one = cbc(bytes(16), bytes(32))
    with pytest.raises(ValueError, match="whole blocks of 16, not 17"):
        seal(one, b"", bytes(16), bytes(17))


def test_aead_iv_is_the_counter_and_never_repeats() -> None:
    """RFC 4106 3.1, RFC 7634 2: a counter is the simplest way to a unique IV."""
    one = gcm(bytes(16), bytes(4))
    assert [one.next_iv(n) for n in (0, 1, 2**64 - 1)] == [bytes(8), bytes(7) + b"\x01", b"\xff" * 8]
    with pytest.raises(OverflowError):
        one.next_iv(2**64)


def test_cbc_iv_is_drawn_at_random() -> None:
    """RFC 3602 3: it must not be predictable, so no counter and no last block."""
    first, second = bytes(range(16)), bytes(range(16, 32))
    one = cbc(bytes(16), bytes(32), SHA256, drawn(first, second))
    assert [one.next_iv(1), one.next_iv(1)] == [first, second]


def test_c18_an_aead_takes_no_second_integrity() -> None:
    for row in [row for row in ENCRYPTION.values() if row.aead]:
        with pytest.raises(ValueError, match="brings its own integrity"):
            cipher(row, SHA256, bytes(row.keymat_bytes), bytes(32), no_rand)


def test_c34_no_cipher_without_integrity() -> None:
    assert IntegrityId.NONE not in INTEGRITY
    for row in ENCRYPTION.values():
        if not row.aead:
            with pytest.raises(ValueError, match="needs an integrity algorithm"):
                cipher(row, None, bytes(row.keymat_bytes), b"", no_rand)


@st.composite
def packets(draw: st.DrawFn, one: Cipher) -> tuple[bytes, bytes, bytes, bytes]:
    blocks = draw(st.integers(0, 100 // one.block_bytes))
    size = blocks * one.block_bytes
    return (
        draw(st.binary(min_size=8, max_size=8) | st.binary(min_size=12, max_size=12)),
        draw(st.binary(min_size=one.iv_bytes, max_size=one.iv_bytes)),
        draw(st.binary(min_size=size, max_size=size)),
        draw(st.binary(max_size=4)),
    )


def flip(parts: list[bytes], place: int) -> list[bytes]:
    """The parts with one bit changed, `place` counting over all of them."""
    whole = bytearray(b"".join(parts))
    whole[place // 8] ^= 1 << place % 8
    out = []
    for part in parts:
        out.append(bytes(whole[: len(part)]))
        del whole[: len(part)]
    return out


@suites
def test_a_cipher_that_keeps_no_context_does_the_same(
    encryption: Encryption, integrity: Integrity | None
) -> None:
    keys = bytes(range(encryption.keymat_bytes)), bytes(range(integrity.key_bytes if integrity else 0))
    kept, other = (cipher(encryption, integrity, *keys, bytes, keep=keep) for keep in (True, False))
    for number in (1, 2):
        iv, text = kept.next_iv(number), bytes(range(48))
        sealed = seal(kept, AAD, iv, text)
        assert seal(other, AAD, iv, text) == sealed
        assert other.open(AAD, iv, sealed) == text
