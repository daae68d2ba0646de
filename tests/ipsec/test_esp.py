"""ESP itself: published packets, sequence numbers, padding, and that every authenticated bit counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.crypto.cipher import AeadCipher, Cipher, cipher
from sim.crypto.ids import EncryptionId
from sim.crypto.suites import ENCRYPTION, Encryption
from sim.ipsec.esp import EspOpener, EspSealer
from sim.ipsec.events import SequenceExhausted
from sim.ipsec.replay import ReplayWindow
from sim.ipsec.verdict import PacketError, Reason
from tests.ipsec.pair import SPI_A, SPI_B, SUITES, Suite, datagram, keys, make_pair, packet_of, reason_of

_VECTORS = Path(__file__).parent.parent / "data" / "rfc-vectors"
_UDP = b"\x11"


def load_vectors() -> list[Any]:
    """Whole ESP packets."""
    files = [_VECTORS / f"{name}_esp.json" for name in ("mcgrew_gcm", "gmac", "rfc7634")]
    vectors = [vector for file in files for vector in json.loads(file.read_text())["vectors"]]
    return [pytest.param(vector, id=f"case-{vector['case']}") for vector in vectors]


@pytest.mark.parametrize("vector", load_vectors())
def test_seal_makes_the_published_packet(vector: dict[str, Any]) -> None:
    esn, seq = vector["esn"], int(vector["seq"], 16)
    sealer = EspSealer(_FixedIv(vector), int(vector["spi"], 16), aead=True, esn=esn)
    sealer.seq = seq - 1
    plaintext = bytes.fromhex(vector["plaintext_with_trailer"])
    payload = plaintext[: -2 - plaintext[-2]]

    assert sealer.seal(0, bytearray(payload), plaintext[-1:]).hex() == vector["packet"]


@pytest.mark.parametrize("vector", load_vectors())
def test_open_reads_the_published_packet(vector: dict[str, Any]) -> None:
    packet = bytearray.fromhex(vector["packet"])
    plaintext = bytes.fromhex(vector["plaintext_with_trailer"])

    payload, next_header, newest = _vector_opener(vector).open(packet, 0, int(vector["seq"], 16) & 0xFFFFFFFF)

    assert payload == plaintext[: -2 - plaintext[-2]]
    assert next_header == plaintext[-1]
    assert newest


@pytest.mark.parametrize("vector", [v for v in load_vectors() if v.values[0]["esn"]])
def test_c85_wrong_high_half_fails_the_integrity_check(vector: dict[str, Any]) -> None:
    opener = _vector_opener(vector, off_by=1 << 32)

    with pytest.raises(PacketError, match="integrity"):
        opener.open(bytearray.fromhex(vector["packet"]), 0, int(vector["seq"], 16) & 0xFFFFFFFF)


@pytest.mark.parametrize("esn", [False, True], ids=["seq", "esn"])
@pytest.mark.parametrize("suite", SUITES)
@given(payload=st.binary(max_size=200), room=st.integers(0, 60), next_header=st.integers(0, 255))
def test_open_gives_what_seal_took(
    suite: str, esn: bool, payload: bytes, room: int, next_header: int
) -> None:
    sealer, opener = make_ends(SUITES[suite], esn=esn)

    packet = sealer.seal(room, bytearray(payload), bytes((next_header,)))

    assert len(packet) == room + sealer.size(len(payload))
    assert packet[:room] == bytes(room)
    assert opener.open(packet, room, 1) == (bytearray(payload), next_header, True)


@pytest.mark.parametrize("suite", SUITES)
def test_c87_ciphertext_is_aligned_to_four_and_to_the_block(suite: str) -> None:
    encryption, integrity = SUITES[suite]
    icv = integrity.icv_bytes if integrity else encryption.icv_bytes
    for size in range(40):
        sealer, _ = make_ends(SUITES[suite])
        ciphertext = len(sealer.seal(0, bytearray(size), _UDP)) - 8 - encryption.iv_bytes - icv

        assert ciphertext % max(4, encryption.block_bytes) == 0
        assert 2 <= ciphertext - size < 2 + max(4, encryption.block_bytes)


@pytest.mark.parametrize("suite", SUITES)
def test_c87_padding_counts_one_two_three(suite: str) -> None:
    encryption, integrity = SUITES[suite]
    for size in range(1, 20):
        sealer, _ = make_ends(SUITES[suite])
        packet = bytes(sealer.seal(0, bytearray(size), _UDP))
        judge = cipher(encryption, integrity, *keys(encryption, integrity, 1), bytes)
        start = 8 + encryption.iv_bytes
        plaintext = judge.open(packet[:8], packet[8:start], packet[start:])
        padding = plaintext[-2]

        assert plaintext[size:] == bytes(range(1, padding + 1)) + bytes((padding,)) + _UDP


@pytest.mark.parametrize(
    "plaintext",
    [
        "aabbccddeeffaabb 0103 02 11",
        "aabbccddeeffaabb 0000 02 11",
        "aabbccddeeffaabb 0201 02 11",
        "0102030405060708090a 0b 11",
        "0102030405060708090a ff 11",
    ],
)
def test_c87_authentic_packet_with_wrong_padding_is_refused(plaintext: str) -> None:
    """Not 1, 2, 3 ..., or more of it than there are octets."""
    with pytest.raises(PacketError, match="padding"):
        _gcm_opener().open(_sealed_plaintext(bytes.fromhex(plaintext)), 0, 1)


@pytest.mark.parametrize("octets", [1, 2, 3, 5])
def test_c87_ciphertext_that_is_not_aligned_is_malformed_even_if_authentic(octets: int) -> None:
    with pytest.raises(PacketError, match="malformed"):
        _gcm_opener().open(_sealed_plaintext(bytes(octets)), 0, 1)


@pytest.mark.parametrize("padding", [0, 6, 255])
def test_c87_more_padding_than_alignment_needs_is_accepted(padding: int) -> None:
    """Up to 255 octets (RFC 4303 2.4), and nothing but padding, too."""
    payload = bytes(-(padding + 2) % 4)
    plaintext = payload + bytes(range(1, padding + 1)) + bytes((padding, 0x11))

    assert _gcm_opener().open(_sealed_plaintext(plaintext), 0, 1) == (bytearray(payload), 0x11, True)


def test_c85_first_sequence_number_is_one() -> None:
    sealed = make_pair().seal(datagram())

    assert sealed[24:28] == bytes.fromhex("00000001")


@pytest.mark.parametrize(("esn", "last"), [(False, 2**32 - 1), (True, 2**64 - 1)])
def test_c85_sequence_number_never_wraps(esn: bool, last: int) -> None:
    pair = make_pair(esn=esn)
    sa = pair.a.sad[SPI_A].outbound
    sa.wrapper.seq = last - 1

    assert pair.seal(datagram())[24:28] == b"\xff\xff\xff\xff"
    for _ in range(3):
        assert reason_of(pair.a.outbound(datagram(), 0)) == "sequence numbers exhausted"

    assert pair.a.next_event() == SequenceExhausted(SPI_A, SPI_B)
    assert pair.a.next_event() is None
    assert sa.drops[Reason.SEQUENCE_EXHAUSTED] == 3
    assert sa.packets == 1


@pytest.mark.parametrize("suite", SUITES)
def test_c85_only_the_low_half_of_an_extended_number_is_sent(suite: str) -> None:
    pair = make_pair(suite, esn=True)
    before = pair.seal(datagram())
    pair.a.sad[SPI_A].outbound.wrapper.seq = 2**32
    after = pair.seal(datagram())

    assert len(before) == len(after)
    assert after[24:28] == bytes.fromhex("00000001")
    # The receiver counts on from where it is: 2^32 packets later the low half comes round again.
    pair.b.sad[SPI_B].inbound.window.accept(2**32 - 40)
    assert pair.open(after) == datagram()


@pytest.mark.parametrize("suite", SUITES)
def test_c86_any_flipped_bit_is_refused_and_changes_nothing(suite: str) -> None:
    pair = make_pair(suite)
    pair.open(pair.seal(datagram()))
    packet = pair.seal(datagram(60))
    before = pair.state_b()
    for bit in range(20 * 8, len(packet) * 8):
        forged = bytearray(packet)
        forged[bit >> 3] ^= 0x80 >> (bit & 7)

        expected = ("unknown SPI",) if bit < 24 * 8 else ("integrity check failed", "replayed")
        assert reason_of(pair.open(forged, 9)) in expected

    assert pair.state_b() == before
    assert packet_of(pair.open(packet)) == datagram(60)


def test_c86_a_packet_left_of_the_window_is_counted_apart_from_replays() -> None:
    pair = make_pair()
    late = pair.seal(datagram())
    for _ in range(32):
        last = pair.seal(datagram())
    pair.open(last)
    assert reason_of(pair.open(late)) == "older than the replay window"
    assert reason_of(pair.open(last)) == "replayed"
    assert pair.b.sad[SPI_B].inbound.drops == {Reason.LATE: 1, Reason.REPLAYED: 1}


@pytest.mark.parametrize("suite", SUITES)
def test_c86_a_replayed_packet_changes_nothing(suite: str) -> None:
    pair = make_pair(suite)
    packet = pair.seal(datagram())
    pair.open(packet)
    before = pair.state_b()

    assert reason_of(pair.open(packet, 77)) == "replayed"
    assert pair.state_b() == before
    assert pair.b.sad[SPI_B].inbound.drops == {Reason.REPLAYED: 1}


def test_c86_forged_number_far_ahead_does_not_move_the_window() -> None:
    """Otherwise one forged packet would make everything genuine look old."""
    pair = make_pair()
    genuine = pair.seal(datagram())
    forged = bytearray(genuine)
    forged[24:28] = b"\x7f\xff\xff\xff"

    assert reason_of(pair.open(forged)) == "integrity check failed"
    assert pair.open(genuine) == datagram()


def make_ends(suite: Suite, *, esn: bool = False) -> tuple[EspSealer, EspOpener]:
    encryption, integrity = suite
    keyed = keys(encryption, integrity, 1)
    sealer = EspSealer(cipher(encryption, integrity, *keyed, bytes), 7, aead=encryption.aead, esn=esn)
    window = ReplayWindow(32, esn=esn)
    opener = EspOpener(cipher(encryption, integrity, *keyed, bytes), 7, window, aead=encryption.aead, esn=esn)
    return sealer, opener


class _FixedIv(AeadCipher):
    """The vectors' own IVs, which are no counters."""

    def __init__(self, vector: dict[str, Any]) -> None:
        super().__init__(_encryption(vector), _key(vector))
        self.iv = bytes.fromhex(vector["iv"])

    def next_iv(self, counter: int) -> bytes:
        return self.iv


def _encryption(vector: dict[str, Any]) -> Encryption:
    if str(vector["case"]).startswith("RFC7634"):
        return ENCRYPTION[EncryptionId.ENCR_CHACHA20_POLY1305, None]
    is_gmac = vector["case"] == "GMAC"
    kind = EncryptionId.ENCR_NULL_AUTH_AES_GMAC if is_gmac else EncryptionId.ENCR_AES_GCM_16
    return ENCRYPTION[kind, len(vector["key"]) * 4]


def _key(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["key"] + vector["salt"])


def _vector_opener(vector: dict[str, Any], off_by: int = 0) -> EspOpener:
    """An opener that has seen the number before the vector's, or one that is off by so much."""
    seen = int(vector["seq"], 16) - 1
    window = ReplayWindow(64, esn=vector["esn"])
    seen += off_by if seen + off_by < 2**64 - 1 else -off_by
    if seen:
        window.accept(seen)
    keyed: Cipher = _FixedIv(vector)
    return EspOpener(keyed, int(vector["spi"], 16), window, aead=True, esn=vector["esn"])


def _gcm_opener() -> EspOpener:
    return make_ends(SUITES["aes128gcm16"])[1]


def _sealed_plaintext(plaintext: bytes) -> bytearray:
    """An authentic packet, number 1, around a plaintext whose trailer may be wrong."""
    encryption, _ = SUITES["aes128gcm16"]
    keyed = cipher(encryption, None, *keys(encryption, None, 1), bytes)
    header, iv = bytes.fromhex("0000000700000001"), keyed.next_iv(1)
    sealed = bytearray(len(plaintext) + 16)
    keyed.seal_into(header, iv, plaintext, memoryview(sealed))
    return bytearray(header + iv) + sealed
