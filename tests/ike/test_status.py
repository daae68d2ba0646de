"""What RFC 8247 and RFC 8221 require of algorithms, and the sentence about a weak one."""

from __future__ import annotations

import pytest

from sim.ike.algorithms import TOKENS, is_supported
from sim.ike.constants import ProtocolId, TransformType
from sim.ike.proposals import parse_proposal
from sim.ike.status import STATUS, WEAK, status_of, weak_algorithms

IKE, ESP = ProtocolId.IKE, ProtocolId.ESP


@pytest.mark.parametrize(
    ("protocol", "levels"),
    [
        (IKE, "aes128 MUST, aes256 MUST, chacha20poly1305 SHOULD, aes256gcm16 SHOULD, 3des MAY"),
        (IKE, "aes128ccm8 SHOULD, aes192ccm8 SHOULD"),
        (IKE, "prfsha256 MUST, prfsha512 SHOULD+, prfsha1 MUST-, prfaesxcbc SHOULD, prfmd5 MUST NOT"),
        (IKE, "sha256 MUST, sha512 SHOULD, sha1 MUST-, aesxcbc SHOULD, md5 MUST NOT"),
        (IKE, "modp2048 MUST, ecp256 SHOULD, modp1536 SHOULD NOT, modp1024 SHOULD NOT, modp768 MUST NOT"),
        (IKE, "modp1024s160 MUST NOT, modp2048s224 SHOULD NOT, modp2048s256 SHOULD NOT"),
        (ESP, "null MUST, aes192 MUST, aes128gcm16 MUST, chacha20poly1305 SHOULD, 3des SHOULD NOT"),
        (ESP, "aes128ccm8 SHOULD, aes256ccm8 SHOULD"),
        (ESP, "sha256 MUST, sha512 SHOULD, sha1 MUST-, aesxcbc SHOULD, md5 MUST NOT, modp1024 SHOULD NOT"),
    ],
)
def test_the_status_is_that_of_the_rfcs_tables(protocol: ProtocolId, levels: str) -> None:
    """RFC 8247 2.1 to 2.4, RFC 8221 5 and 6."""
    for entry in levels.split(", "):
        name, _, level = entry.partition(" ")
        assert status_of(protocol, TOKENS[name]) == level, name


@pytest.mark.parametrize("name", ["aes128ctr", "aes128gcm8", "prfaescmac", "sha384", "x25519", "mlkem768"])
def test_what_the_rfcs_do_not_name_has_no_status(name: str) -> None:
    assert status_of(IKE, TOKENS[name]) is None


@pytest.mark.parametrize("name", ["aes128gmac", "aes128ccm8iiv", "aes128gcm16iiv", "chacha20poly1305iiv"])
def test_ciphers_for_esp_that_rfc_8221_does_not_name_have_no_status(name: str) -> None:
    assert status_of(ESP, TOKENS[name]) is None


def test_weak_and_at_work_are_exactly_these() -> None:
    weak = {
        (protocol.name, name)
        for protocol in (IKE, ESP)
        for name, transform in TOKENS.items()
        if transform.type in STATUS[protocol]
        and is_supported(transform)
        and status_of(protocol, transform) in WEAK
    }
    groups = {"modp1024", "modp1536"}
    assert weak == {("ESP", "3des"), *((name, group) for name in ("IKE", "ESP") for group in groups)}


def test_a_weak_algorithm_is_named_with_its_source() -> None:
    assert list(weak_algorithms(parse_proposal("3des-aes256-sha1-modp1536-x25519-modp1024", IKE))) == [
        "modp1536 is weak: SHOULD NOT be used for IKE (RFC 8247 2.4)",
        "modp1024 is weak: SHOULD NOT be used for IKE (RFC 8247 2.4)",
    ]
    assert list(weak_algorithms(parse_proposal("3des-sha256-modp1024", ESP))) == [
        "3des is weak: SHOULD NOT be used for ESP (RFC 8221 5)",
        "modp1024 is weak: SHOULD NOT be used for ESP (RFC 8247 2.4)",
    ]
    assert not list(weak_algorithms(parse_proposal("aes128-sha1-modp2048", IKE)))


def test_an_additional_key_exchange_has_the_status_of_its_method() -> None:
    assert status_of(IKE, TOKENS["ke3_modp1024"]) == "SHOULD NOT"
    assert TOKENS["ke3_modp1024"].type == TransformType.ADDKE3
