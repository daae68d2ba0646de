"""Messages: the header, the chain, and the Encrypted payload opened and sealed to the octets of others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.crypto.cipher import Cipher, cipher
from sim.crypto.errors import CryptoError, IntegrityError
from sim.crypto.suites import Encryption, Integrity
from sim.ike.constants import ExchangeType, Flags, IdType, NotifyType, PayloadType
from sim.ike.message import (
    HEADER_BYTES,
    NO_SPI,
    Header,
    Message,
    ProtectedWireError,
    emit_message,
    emit_payloads,
    open_message,
    parse_header,
    parse_message,
    parse_payloads,
    seal_message,
)
from sim.ike.payloads import (
    AuthPayload,
    EncryptedPayload,
    IdPayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    UnknownPayload,
    VendorPayload,
)
from sim.wire.buffer import WireError
from tests.crypto.vectors import SHA1, SUITES, any_cipher, cbc, chacha, drawn, load
from tests.ike.strategies import CHAINS, HEADERS, OPEN_PAYLOADS

ANDROID: dict[str, dict[str, str]] = load("android-unit/android_ike_unit_vectors.json")["constants"]
RFC7634: dict[str, str] = load("rfc-vectors/rfc7634_ikev2.json")
HEADER = Header(b"initiate", b"responds", ExchangeType.INFORMATIONAL, Flags.INITIATOR, 7)
FOR_IKE = [(encryption, integrity) for encryption, integrity in SUITES if not encryption.esp_only]
OPEN_CHAINS = st.lists(st.one_of(OPEN_PAYLOADS), max_size=4).map(tuple)


@given(HEADERS, CHAINS)
def test_every_message_survives_emission_and_parsing(header: Header, chain: tuple[Payload, ...]) -> None:
    raw = emit_message(header, chain)
    assert parse_message(raw) == Message(header, chain, raw)
    assert parse_header(raw) == header


@given(HEADERS, CHAINS)
def test_a_message_cut_at_any_length_is_refused(header: Header, chain: tuple[Payload, ...]) -> None:
    raw = emit_message(header, chain)
    for size in range(len(raw)):
        with pytest.raises(WireError):
            parse_message(raw[:size])


@given(HEADERS, st.integers(0, 255), st.binary(max_size=120))
def test_arbitrary_octets_behind_a_header_are_a_message_or_a_wire_error(
    header: Header, kind: int, octets: bytes
) -> None:
    raw = bytearray(emit_message(header, ()) + octets)
    raw[16] = kind
    raw[24:28] = len(raw).to_bytes(4, "big")
    try:
        message = parse_message(raw)
    except WireError:
        return
    assert emit_message(message.header, message.payloads) == raw


@given(st.binary(max_size=80))
def test_arbitrary_octets_are_a_message_or_a_wire_error(octets: bytes) -> None:
    try:
        message = parse_message(octets)
    except WireError:
        return
    assert emit_message(message.header, message.payloads) == octets


def test_the_message_is_read_from_any_buffer() -> None:
    raw = emit_message(HEADER, (VendorPayload(b"one"),))
    message = parse_message(raw)
    assert parse_message(bytearray(raw)) == parse_message(memoryview(raw)) == message
    assert type(message.raw) is bytes


def test_the_header_tells_direction_and_role() -> None:
    header = replace(HEADER, flags=Flags.RESPONSE | 0x40)
    assert (header.is_response, header.from_initiator) == (True, False)
    assert (HEADER.is_response, HEADER.from_initiator) == (False, True)


def test_c22_another_major_version_has_a_header_but_no_payloads() -> None:
    """INVALID_MAJOR_VERSION needs the header of a message that cannot be read (RFC 7296 2.5)."""
    raw = emit_message(replace(HEADER, version=0x31), ())
    assert parse_header(raw).major == 3
    with pytest.raises(WireError, match="major version 3"):
        parse_message(raw)


def test_c22_minor_version_and_reserved_flags_are_ignored() -> None:
    header = replace(HEADER, version=0x2F, flags=0xFF)
    assert parse_message(emit_message(header, ())).header == header


def test_c22_payloads_come_in_any_order() -> None:
    chain = (VendorPayload(b""), NoncePayload(bytes(16)), NotifyPayload(NotifyType.COOKIE, b"c"))
    assert parse_message(emit_message(HEADER, chain[::-1])).payloads == chain[::-1]


def test_c22_only_a_critical_payload_of_unknown_type_is_unsupported() -> None:
    known = NoncePayload(bytes(16), critical=True)
    tolerated, refused = UnknownPayload(201, b""), UnknownPayload(202, b"", critical=True)
    assert parse_message(emit_message(HEADER, (known, tolerated))).unsupported_critical() is None
    assert parse_message(emit_message(HEADER, (known, tolerated, refused))).unsupported_critical() == refused


def test_payloads_are_found_by_class_type_and_notification() -> None:
    first, second = (NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, bytes([n]) * 20) for n in (1, 2))
    ids = tuple(IdPayload(r, IdType.FQDN, b"x") for r in (PayloadType.ID_I, PayloadType.ID_R))
    message = parse_message(emit_message(HEADER, (first, *ids, second)))
    assert message.find(NotifyPayload) == message.notify(NotifyType.NAT_DETECTION_SOURCE_IP) == first
    assert message.find_all(NotifyPayload) == message.notifies(first.type) == (first, second)
    assert message.of_type(PayloadType.ID_R) == ids[1]
    assert message.find(AuthPayload) is message.of_type(PayloadType.AUTH) is message.notify(1) is None


@pytest.mark.parametrize(
    ("what", "tail"),
    {
        "no generic header": "",
        "a length of 0 (it would loop)": "2b000000",
        "a length below the header's": "00000003",
        "a length beyond the message": "00000005",
        "octets behind the last payload": "00000004 00",
        "another payload announced": "2b000004",
        "a payload behind the Encrypted one": "2e000004 00000004 00000004",
    }.items(),
)
def test_a_broken_chain_is_refused(what: str, tail: str) -> None:
    with pytest.raises(WireError):
        parse_payloads(PayloadType.VENDOR, bytes.fromhex(tail))


def test_the_length_field_must_be_the_length() -> None:
    raw = emit_message(HEADER, ())
    for wrong in (raw + b"\0", raw[:24] + b"\0\0\0\0", raw[:24] + b"\xff\xff\xff\xff"):
        with pytest.raises(WireError):
            parse_header(wrong)


def test_an_error_names_the_offset_in_the_message() -> None:
    """Where a user finds it in a capture: the SPI of the notification starts after 28 + 8 + 4 + 4 octets."""
    raw = bytearray(emit_message(HEADER, (VendorPayload(b"1234"), NotifyPayload(1, spi=b"spis"))))
    raw[41] = 9
    with pytest.raises(WireError, match="9 octets wanted at offset 44, 4 are left"):
        parse_message(raw)


# Encrypted payload


def test_the_message_of_rfc7634_is_opened_and_sealed() -> None:
    """RFC 7634 appendix B: INFORMATIONAL with SET_WINDOW_SIZE, ChaCha20-Poly1305."""
    raw, key, salt = (bytes.fromhex(RFC7634[name]) for name in ("message", "key", "salt"))
    payloads = (NotifyPayload(NotifyType.SET_WINDOW_SIZE, bytes([0, 0, 0, 10])),)
    message = open_message(parse_message(raw), chacha(key, salt))
    assert message.payloads == payloads
    assert message.raw == raw
    assert seal_message(message.header, payloads, chacha(key, salt), 0x1011121314151617) == raw


def test_androids_ike_auth_is_opened_and_sealed() -> None:
    """AES-CBC with HMAC-SHA1-96: the padding is zeros, the IV that of the original."""
    vector = ANDROID["message/IkeEncryptedPayloadBodyTest.java"]
    raw = bytes.fromhex(ANDROID["message/IkeSkPayloadTest.java"]["IKE_AUTH_INIT_REQUEST_HEX_STRING"])
    plaintext = bytes.fromhex(vector["IKE_AUTH_INIT_REQUEST_UNENCRYPTED_DATA"])
    keys = (
        bytes.fromhex(vector["ENCR_KEY_FROM_INIT_TO_RESP"]),
        bytes.fromhex(vector["INTE_KEY_FROM_INIT_TO_RESP"]),
    )
    message = open_message(parse_message(raw), cbc(*keys, SHA1))

    assert emit_payloads(message.payloads) == (PayloadType.ID_I, plaintext)
    sealer = cbc(*keys, SHA1, drawn(bytes.fromhex(vector["IKE_AUTH_INIT_REQUEST_IV"])))
    assert seal_message(message.header, message.payloads, sealer, 0) == raw


def test_padding_comes_from_rand() -> None:
    """RFC 7296 3.14: any value, to the next block, the Pad Length included."""
    rand = drawn(b"\x07" * 11)
    raw = seal_message(HEADER, (), Plain(block_bytes=12), 0, rand=rand)
    assert raw[HEADER_BYTES:] == bytes.fromhex("00000014") + b"iv" + b"\x07" * 11 + b"\x0b" + b"ic"


@pytest.mark.parametrize(("encryption", "integrity"), FOR_IKE)
@given(header=HEADERS, chain=OPEN_CHAINS, pad=st.integers(0, 255))
def test_what_was_sealed_opens_with_every_suite(
    encryption: Encryption, integrity: Integrity | None, header: Header, chain: tuple[Payload, ...], pad: int
) -> None:
    raw = seal_message(header, chain, sealer(encryption, integrity), pad)
    message = open_message(parse_message(raw), any_cipher(encryption, integrity))
    assert (message.header, message.payloads, message.raw) == (header, chain, raw)


@pytest.mark.parametrize(("encryption", "integrity"), FOR_IKE)
def test_no_flipped_bit_of_a_protected_message_goes_unnoticed(
    encryption: Encryption, integrity: Integrity | None
) -> None:
    opener = any_cipher(encryption, integrity)
    raw = seal_message(
        HEADER, (NotifyPayload(NotifyType.COOKIE2, b"12345678"),), sealer(encryption, integrity), 1
    )
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((WireError, CryptoError)):
            open_message(parse_message(flipped), opener)


def test_payloads_before_the_encrypted_one_stay_in_front() -> None:
    outer = VendorPayload(b"outer")
    sealed = parse_message(seal_message(HEADER, (VendorPayload(b"inner"),), Plain(), 0))
    raw = emit_message(HEADER, (outer, *sealed.payloads))
    assert open_message(parse_message(raw), Plain()).payloads == (outer, VendorPayload(b"inner"))


def test_the_icv_covers_header_and_generic_header() -> None:
    plain = Plain()
    raw = seal_message(HEADER, (), plain, 0)
    open_message(parse_message(raw), plain)
    assert plain.aads == [raw[: HEADER_BYTES + 4]] * 2


@pytest.mark.parametrize("size", range(5))
def test_an_encrypted_payload_without_room_for_a_pad_length_is_refused(size: int) -> None:
    raw = emit_message(HEADER, (EncryptedPayload(0, bytes(size)),))
    with pytest.raises(WireError) as raised:
        open_message(parse_message(raw), Plain())
    assert raised.type is WireError


def test_ciphertext_that_is_no_whole_blocks_is_refused() -> None:
    raw = emit_message(HEADER, (EncryptedPayload(0, bytes(4 + 13)),))
    with pytest.raises(WireError, match="13 octets"):
        open_message(parse_message(raw), Plain(block_bytes=12))


def test_a_message_in_the_clear_cannot_be_opened() -> None:
    for chain in ((), (VendorPayload(b""),)):
        with pytest.raises(WireError, match="no Encrypted payload"):
            open_message(parse_message(emit_message(HEADER, chain)), Plain())


@pytest.mark.parametrize(
    ("what", "first_type", "plaintext"),
    [
        ("a Pad Length beyond the plaintext", 0, b"\x01"),
        ("padding that cuts a payload", PayloadType.VENDOR, bytes.fromhex("00000004 01")),
        ("payloads announced, none there", PayloadType.VENDOR, b"\0"),
        ("octets behind the last payload", PayloadType.VENDOR, bytes.fromhex("00000004 00 00")),
        ("an Encrypted payload inside", PayloadType.SK, bytes.fromhex("00000004 00")),
    ],
)
def test_what_an_authentic_message_got_wrong_is_told_apart(
    what: str, first_type: int, plaintext: bytes
) -> None:
    """Only these are answered with INVALID_SYNTAX (RFC 7296 2.21.3)."""
    raw = emit_message(HEADER, (EncryptedPayload(first_type, b"iv" + plaintext + b"ic"),))
    with pytest.raises(ProtectedWireError):
        open_message(parse_message(raw), Plain())


def test_other_keys_are_an_integrity_error() -> None:
    raw = seal_message(HEADER, (), chacha(bytes(32), bytes(4)), 0)
    with pytest.raises(IntegrityError):
        open_message(parse_message(raw), chacha(bytes(31) + b"\1", bytes(4)))


def test_an_initial_request_has_no_responder_spi() -> None:
    header = Header(b"initiate", NO_SPI, ExchangeType.IKE_SA_INIT, Flags.INITIATOR, 0)
    assert emit_message(header, ())[8:16] == bytes(8)


# Helpers


class Plain:
    """A cipher that does nothing but remember what was authenticated; IV and ICV have two octets."""

    iv_bytes = 2
    icv_bytes = 2

    def __init__(self, block_bytes: int = 1) -> None:
        self.block_bytes = block_bytes
        self.aads: list[bytes] = []

    def next_iv(self, counter: int) -> bytes:
        return b"iv"

    def seal_into(
        self, aad: object, iv: object, plaintext: object, out: memoryview, tail: object = b""
    ) -> None:
        assert isinstance(plaintext, bytes)
        assert isinstance(aad, bytes)
        self.aads.append(aad)
        out[:] = plaintext + b"ic"

    def open(self, aad: object, iv: object, sealed: object, tail: object = b"") -> bytes:
        assert isinstance(sealed, bytes)
        assert isinstance(aad, bytes)
        self.aads.append(aad)
        return sealed[:-2]

    def open_into(self, aad: object, iv: object, sealed: object, out: bytearray, tail: object = b"") -> None:
        out[:] = self.open(aad, iv, sealed)


def sealer(encryption: Encryption, integrity: Integrity | None) -> Cipher:
    """The cipher of `any_cipher`, with zeros for randomness."""
    integrity_key = bytes(range(integrity.key_bytes)) if integrity else b""
    return cipher(encryption, integrity, bytes(range(encryption.keymat_bytes)), integrity_key, bytes)
