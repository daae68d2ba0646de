"""Published numbers: MD4 (RFC 1320 A.5), MSCHAPv2 (RFC 2759 9.2), its keys (RFC 3079 3.5.3)."""

from __future__ import annotations

import pytest

from sim.crypto.md4 import md4
from sim.ike.eap import mschap

SERVER = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
HASH = bytes.fromhex("44EBBA8D5312B8D611474411F56989AE")
RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
MASTER = bytes.fromhex("FDECE3717A8C838CB388E527AE3CDD31")


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        ("a", "bde52cb31de33e46245e05fbdbd6fb24"),
        ("abc", "a448017aaf21d8525fc10ae87aa6729d"),
        ("message digest", "d9130a8164549fe818874806e1c7014b"),
        ("abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "043f8582f241db351ce627e153e7f0e4",
        ),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "e33b4ddc9c38f2199c3e7b164fcc0536",
        ),
    ],
)
def test_md4_gives_the_digests_of_rfc_1320(text: str, digest: str) -> None:
    assert md4(text.encode()).hex() == digest


def test_mschapv2_gives_the_numbers_of_rfc_2759_section_9_2() -> None:
    assert mschap.password_hash("clientPass") == HASH
    assert mschap.challenge_hash(PEER, SERVER, b"User").hex().upper() == "D02E4386BCE91226"
    assert mschap.nt_response(SERVER, PEER, b"User", HASH) == RESPONSE
    proof = mschap.authenticator_response(HASH, RESPONSE, PEER, SERVER, b"User")
    assert proof.hex().upper() == "407A5589115FD0D6209F510FE9C04566932CDA56"


def test_a_domain_before_the_name_is_not_hashed() -> None:
    """RFC 2759 4: the name is hashed without its Windows domain."""
    assert mschap.nt_response(SERVER, PEER, rb"BIGCO\User", HASH) == RESPONSE


def test_mschapv2_keys_are_those_of_rfc_3079_section_3_5_3() -> None:
    assert mschap.master_key(HASH, RESPONSE) == MASTER
    to_client = mschap.start_key(MASTER, to_server=False)
    assert to_client.hex().upper() == "8B7CDC149B993A1BA118CB153F56DCCB"


def test_the_msk_begins_with_what_the_server_receives_by() -> None:
    """RFC 3748 7.10: at least 64 octets; the keys of RFC 3079 3, receiving first, then zeros."""
    key = mschap.msk(HASH, RESPONSE)
    assert key[:16] == mschap.start_key(MASTER, to_server=True)
    assert key[16:32] == mschap.start_key(MASTER, to_server=False)
    assert key[32:] == bytes(32)
