"""Shared key authentication over the messages of two other implementations (RFC 7296 2.15)."""

from __future__ import annotations

from sim.crypto.ids import PrfId
from sim.crypto.suites import PRF
from sim.ike.auth import psk_auth, signed_octets, verify_psk_auth
from sim.ike.constants import AuthMethod, PayloadType
from sim.ike.message import open_message, parse_message
from sim.ike.payloads import AuthPayload, NoncePayload
from tests.crypto.vectors import SHA1 as SHA1_96
from tests.crypto.vectors import cbc, load, octets

SHA1 = PRF[PrfId.PRF_HMAC_SHA1]
RUB_FILE = load("rub-nds/ikev2_kdf_auth.json")
RUB: dict[str, str] = RUB_FILE["vectors"][1]
ANDROID: dict[str, dict[str, str]] = load("android-unit/android_ike_unit_vectors.json")["constants"]
RECORD = ANDROID["SaRecordTest.java"]
PSK_TEST = ANDROID["message/IkeAuthPskPayloadTest.java"]


def test_c25_rub_auth_over_a_whole_ike_sa_init() -> None:
    """The secret is text without a terminator; the signed octets end with prf(SK_p, ID')."""
    message, nonce, ni, nr, shared = octets(
        RUB, "setMessage", "setResponderNonce", "setInitiatorNonce", "setResponderNonce", "setDHSecret"
    )
    spis = b"".join(octets(RUB, "setInitiatorCookie", "setResponderCookie"))
    # AES-CBC-128 and HMAC-SHA1-96: SK_pi is the sixth of the keys.
    sk_pi = SHA1.plus(SHA1(ni + nr, shared), ni + nr + spis, 132)[92:112]
    id_body = bytes.fromhex(RUB_FILE["idi_body"])
    signed = signed_octets(SHA1, message, nonce, sk_pi, id_body)
    auth = psk_auth(SHA1, RUB_FILE["psk"].encode(), message, nonce, sk_pi, id_body)
    assert (signed.hex(), auth.hex()) == (RUB["expect_getOctets"], RUB["expect_computeAUTH"])


def test_c25_android_ike_auth_from_key_exchange_to_verified_peer() -> None:
    """The IKE_AUTH opens with the chain's keys, and its AUTH covers the IKE_SA_INIT before it."""
    request = parse_message(bytes.fromhex(PSK_TEST["PSK_IKE_INIT_REQUEST_HEX_STRING"]))
    keys = octets(RECORD, "IKE_SK_ENCR_INIT_HEX_STRING", "IKE_SK_AUTH_INIT_HEX_STRING")
    raw = bytes.fromhex(ANDROID["message/IkeSkPayloadTest.java"]["IKE_AUTH_INIT_REQUEST_HEX_STRING"])
    message = open_message(parse_message(raw), cbc(keys[0], keys[1], SHA1_96))
    auth, identity, nonce = (
        message.find(AuthPayload),
        message.of_type(PayloadType.ID_I),
        request.find(NoncePayload),
    )
    assert auth is not None
    assert identity is not None
    assert nonce is not None
    assert nonce.data == bytes.fromhex(RECORD["IKE_NONCE_INIT_HEX_STRING"])
    assert auth.method == AuthMethod.SHARED_KEY_MIC

    nonce_r, sk_pi = octets(RECORD, "IKE_NONCE_RESP_HEX_STRING", "IKE_SK_PRF_INIT_HEX_STRING")
    psk = bytes.fromhex(PSK_TEST["PSK_HEX_STRING"])
    body = identity.emit()
    assert psk_auth(SHA1, psk, request.raw, nonce_r, sk_pi, body) == auth.data
    assert verify_psk_auth(auth.data, SHA1, psk, request.raw, nonce_r, sk_pi, body)


def test_c25_every_input_of_auth_counts() -> None:
    inputs = (b"secret", b"message", b"nonce", b"sk_p", b"identity")
    auth = psk_auth(SHA1, *inputs)
    assert verify_psk_auth(auth, SHA1, *inputs)
    for index in range(5):
        changed = [value + b"!" if index == at else value for at, value in enumerate(inputs)]
        assert not verify_psk_auth(auth, SHA1, *changed)
    assert not verify_psk_auth(auth[:-1], SHA1, *inputs)


def test_c25_a_secret_of_64_octets_and_more_is_taken() -> None:
    """RFC 7296 2.15 demands 64 octets at least."""
    auths = {psk_auth(SHA1, b"s" * size, b"m", b"n", b"k", b"i") for size in (63, 64, 65, 200)}
    assert len(auths) == 4
