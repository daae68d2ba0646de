"""Proposal strings, and the choice among proposals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.crypto.ids import EncryptionId, IntegrityId, KeyExchangeId, PrfId
from sim.crypto.suites import ENCRYPTION, INTEGRITY, KEY_EXCHANGE, PRF
from sim.ike.algorithms import ADDITIONAL, ALIASES, TOKENS, is_supported
from sim.ike.constants import Esn, ExchangeType, ProtocolId, TransformType
from sim.ike.payloads import Attribute
from sim.ike.proposals import (
    EspSuite,
    IkeSuite,
    Proposal,
    Transform,
    additional_exchanges,
    esp_suite,
    format_proposal,
    ike_suite,
    is_choice_of,
    offer,
    parse_proposal,
    select,
)
from sim.ike.tasks.child_terms import proposals_for
from tests.ike.strategies import PROPOSALS

IKE, ESP = ProtocolId.IKE, ProtocolId.ESP
SPI = b"\x12\x34\x56\x78"
ENCR, PRFS, INTEG, KE, ESN = (TransformType(n) for n in range(1, 6))
AES_128_GCM = Transform(ENCR, EncryptionId.ENCR_AES_GCM_16, 128)
AES_256_CBC = Transform(ENCR, EncryptionId.ENCR_AES_CBC, 256)
SHA256 = Transform(INTEG, IntegrityId.AUTH_HMAC_SHA2_256_128)
PRF_SHA256 = Transform(PRFS, PrfId.PRF_HMAC_SHA2_256)
X25519 = Transform(KE, KeyExchangeId.CURVE25519)
MODP_2048 = Transform(KE, KeyExchangeId.MODP_2048)
NO_ESN = Transform(ESN, Esn.NO_ESN)
NO_INTEGRITY = Transform(INTEG, IntegrityId.NONE)
NO_KE = Transform(KE, KeyExchangeId.NONE)


# Strings


@pytest.mark.parametrize(
    ("text", "protocol", "transforms"),
    [
        ("aes128gcm16-prfsha256-x25519", IKE, (AES_128_GCM, PRF_SHA256, X25519)),
        ("aes256-sha256-modp2048", IKE, (AES_256_CBC, PRF_SHA256, SHA256, MODP_2048)),
        ("modp2048-sha256-aes256", IKE, (AES_256_CBC, PRF_SHA256, SHA256, MODP_2048)),
        ("aes128gcm16", ESP, (AES_128_GCM, NO_ESN)),
        ("aes256-sha256-x25519-esn", ESP, (AES_256_CBC, SHA256, X25519, Transform(ESN, Esn.ESN))),
        ("aes128gcm16-esn-noesn", ESP, (AES_128_GCM, Transform(ESN, Esn.ESN), NO_ESN)),
        ("aes128gcm16-x25519-modpnone", ESP, (AES_128_GCM, X25519, NO_KE, NO_ESN)),
        ("AES128GCM16", ESP, (AES_128_GCM, NO_ESN)),
    ],
)
def test_a_string_names_transforms(
    text: str, protocol: ProtocolId, transforms: tuple[Transform, ...]
) -> None:
    assert parse_proposal(text, protocol) == Proposal(1, protocol, b"", transforms)


def test_algorithms_of_one_type_are_alternatives_in_order() -> None:
    proposal = parse_proposal("aes256-aes128-sha256-sha1-x25519-ecp256-x25519", IKE)
    assert [t.key_bits for t in proposal.of_type(ENCR)] == [256, 128]
    assert [t.id for t in proposal.of_type(PRFS)] == [PrfId.PRF_HMAC_SHA2_256, PrfId.PRF_HMAC_SHA1]
    assert proposal.of_type(KE) == (X25519, Transform(KE, KeyExchangeId.ECP_256))


def test_a_named_prf_replaces_those_of_the_integrity_algorithms() -> None:
    proposal = parse_proposal("aes128-sha256-prfsha512-x25519", IKE)
    assert [t.id for t in proposal.of_type(PRFS)] == [PrfId.PRF_HMAC_SHA2_512]


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_stands_for_a_name(alias: str, name: str) -> None:
    assert name in TOKENS
    assert alias not in TOKENS


def test_strongswans_other_spellings() -> None:
    assert parse_proposal("aes128gcm128-prfsha256-curve25519", IKE) == parse_proposal(
        "aes128gcm16-prfsha256-x25519", IKE
    )
    assert parse_proposal("aes-sha-modp2048", IKE) == parse_proposal("aes128-sha1-modp2048", IKE)


@pytest.mark.parametrize(
    ("text", "protocol", "complaint"),
    [
        ("aes128gcm16-prfsha256-x25518", IKE, "'x25518' is no algorithm; known are .*x25519"),
        ("", IKE, "'' is no algorithm"),
        ("aes128gcm16-prfsha256-x25519-ke1_mlkem512", IKE, "ke1_mlkem512 is not supported yet"),
        ("aes128gcm16-prfsha256-x25519-ke8_mlkem768", IKE, "'ke8_mlkem768' is no algorithm"),
        ("aes128gcm16-prfsha256-x25519-ke1_mlkem769", IKE, "'ke1_mlkem769' is no algorithm"),
        ("aes128gcm16-prfsha256-mlkem512", IKE, "mlkem512 is not supported yet; supported are .*x25519"),
        ("aes128-md5-x25519", IKE, "md5 is not supported yet"),
        ("aes192gmac-sha256", ESP, "no integrity algorithm beside it"),
        ("null-sha256-x25519", IKE, "null is for ESP alone: an IKE SA must encrypt"),
        ("aes128gmac-prfsha256-x25519", IKE, "aes128gmac is for ESP alone: an IKE SA must encrypt"),
        (
            "aes128gcm16-aes128gcm16iiv-prfsha256-x25519",
            IKE,
            "aes128gcm16iiv is for ESP alone: its IV is ESP's",
        ),
        ("aes256ccm8iiv-prfsha256-x25519", IKE, "aes256ccm8iiv is for ESP alone"),
        ("chacha20poly1305iiv-prfsha256-x25519", IKE, "chacha20poly1305iiv is for ESP alone"),
        ("aes128gcm12iiv", ESP, "'aes128gcm12iiv' is no algorithm; known are .*aes128gcm16iiv"),
        ("null", ESP, "needs an integrity algorithm"),
        ("aes128gcm16-aes128-sha256-x25519", IKE, "separate proposals"),
        ("aes128gcm16-sha256-prfsha256-x25519", IKE, "no integrity algorithm beside it"),
        ("aes128gcm16-sha256", ESP, "no integrity algorithm beside it"),
        ("aes128", ESP, "needs an integrity algorithm"),
        ("sha256-x25519", IKE, "no encryption algorithm"),
        ("aes128gcm16-x25519", IKE, "must name a PRF"),
        ("aes128-sha256", IKE, "needs a key exchange method"),
        ("aes128-sha256-x25519-modpnone", IKE, "cannot do without a key exchange"),
        ("aes128gcm16-prfsha256", ESP, "prfsha256 has no place in a proposal for ESP"),
        ("aes128-sha256-x25519-esn", IKE, "esn has no place in a proposal for IKE"),
        ("sha256", ProtocolId.FC_ESP_HEADER, "FC_ESP_HEADER is not supported yet"),
        ("aes128-sha256", ProtocolId.AH, "aes128 has no place in a proposal for AH: AH encrypts nothing"),
        ("x25519", ProtocolId.AH, "names no integrity algorithm"),
        ("prfsha256", ProtocolId.AH, "prfsha256 has no place in a proposal for AH"),
    ],
)
def test_c18_a_wrong_string_is_refused_with_the_word_that_is_wrong(
    text: str, protocol: ProtocolId, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_proposal(text, protocol)


def test_only_what_the_protocol_can_use_is_offered_as_a_remedy() -> None:
    with pytest.raises(ValueError, match="known are") as raised:
        parse_proposal("aes129", ESP)
    assert "aes128gcm16, " in str(raised.value)
    assert not any(f" {word}" in str(raised.value) for word in ("prfsha256", "ke1_x25519"))
    with pytest.raises(ValueError, match="known are") as raised:
        parse_proposal("aes129", IKE)
    esp_only = ("null", "aes128gmac", "aes128gcm16iiv", "aes256ccm8iiv", "chacha20poly1305iiv")
    assert not any(f" {word}" in str(raised.value) for word in esp_only)


def test_every_supported_algorithm_has_a_name() -> None:
    named = {(t.type, t.id, t.key_bits) for t in TOKENS.values() if is_supported(t)}
    assert named >= {(ENCR, int(i), bits) for i, bits in ENCRYPTION}
    for kind, table in ((PRFS, PRF), (INTEG, INTEGRITY), (KE, KEY_EXCHANGE)):
        assert named >= {(kind, int(i), None) for i in table}


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        (IKE, "aes128gcm16-prfsha256-x25519"),
        (IKE, "aes256-sha256-modp2048"),
        (IKE, "aes256-aes128-prfsha512-sha256-sha1-x25519-ecp256"),
        (ESP, "chacha20poly1305"),
        (ESP, "aes128-sha1-x25519-esn"),
        (ESP, "aes128gcm16-noesn-esn"),
        (ESP, "aes128gcm16-x25519-modpnone"),
        (ESP, "null-aesxcbc-esn"),
        (ESP, "aes256gmac-esn"),
        (ESP, "aes128gcm16iiv-aes256ccm8iiv-chacha20poly1305iiv-aes128gcm16"),
        (IKE, "3des-aes192ctr-aescmac-sha384-x448-mlkem1024"),
    ],
)
def test_formatting_is_the_inverse_of_parsing(protocol: ProtocolId, text: str) -> None:
    assert format_proposal(parse_proposal(text, protocol)) == text


@given(PROPOSALS)
def test_any_proposal_of_a_peer_can_be_shown(proposal: Proposal) -> None:
    assert format_proposal(proposal).isprintable()


def test_what_has_no_name_is_shown_in_numbers() -> None:
    proposal = Proposal(1, ESP, SPI, (Transform(ENCR, 1024, 128), Transform(99, 7), NO_ESN))
    assert format_proposal(proposal) == "1:1024:128-99:7"


# Choosing


def test_c17_one_transform_of_each_type_and_the_offers_number() -> None:
    offered = offer([esp("aes128-aes256-sha1-sha256"), esp("aes128gcm16-aes256gcm16")], SPI)
    chosen = select(offered, [esp("aes256gcm16")])
    assert chosen == Proposal(2, ESP, SPI, (AES_128_GCM._replace(key_bits=256), NO_ESN))


def test_the_responders_order_decides() -> None:
    """Of its proposals, and of the algorithms in them (RFC 7296 2.7 leaves it open)."""
    offered = offer([esp("aes128gcm16"), esp("aes128-aes256-sha256")], SPI)
    chosen = select(offered, [esp("aes256-aes128-sha256"), esp("aes128gcm16")])
    assert chosen is not None
    assert (chosen.number, chosen.of_type(ENCR)) == (2, (AES_256_CBC,))


def test_c17_no_common_algorithm_of_one_type_is_no_proposal_chosen() -> None:
    for theirs in ("aes128-sha256-modp2048", "aes256-sha1-modp2048", "aes256-sha256-x25519"):
        assert select(offer([ike(theirs)]), [ike("aes256-sha256-modp2048")]) is None
    assert select((), [ike("aes256-sha256-modp2048")]) is None
    assert select(offer([ike("aes256-sha256-modp2048")]), ()) is None


def test_c17_key_lengths_must_be_the_same() -> None:
    keyless = Proposal(1, ESP, SPI, (AES_128_GCM._replace(key_bits=None), NO_ESN))
    assert select((keyless,), [esp("aes128gcm16")]) is None


def test_c17_a_transform_with_an_unknown_attribute_is_never_chosen() -> None:
    """RFC 7296 3.3.6; the one without it is."""
    strange = AES_128_GCM._replace(attributes=(Attribute(77, 1),))
    assert select((Proposal(1, ESP, SPI, (strange, NO_ESN)),), [esp("aes128gcm16")]) is None
    both = (Proposal(1, ESP, SPI, (strange, AES_128_GCM, NO_ESN)),)
    assert select(both, [esp("aes128gcm16")]) == Proposal(1, ESP, SPI, (AES_128_GCM, NO_ESN))


@pytest.mark.parametrize("kind", [13, 240])
def test_c17_a_proposal_with_an_unknown_transform_type_is_never_chosen(kind: int) -> None:
    """RFC 7296 3.3.6: we could not choose one transform of each type."""
    proposal = Proposal(1, ESP, SPI, (AES_128_GCM, NO_ESN, Transform(kind, 0)))
    assert select((proposal,), [esp("aes128gcm16")]) is None


def test_c17_reserved_bits_of_an_offer_are_not_echoed() -> None:
    offered = Proposal(1, ESP, SPI, (AES_128_GCM._replace(reserved=0x101), NO_ESN), reserved=1)
    assert select((offered,), [esp("aes128gcm16")]) == Proposal(1, ESP, SPI, (AES_128_GCM, NO_ESN))


def test_c18_integrity_none_beside_an_aead_is_tolerated_and_echoed() -> None:
    """RFC 7296 3.3: either no integrity transform or the single one NONE."""
    offered = Proposal(1, ESP, SPI, (AES_128_GCM, NO_INTEGRITY, NO_ESN))
    assert select((offered,), [esp("aes128gcm16")]) == offered


def test_c18_an_aead_with_another_integrity_algorithm_is_not_chosen() -> None:
    offered = Proposal(1, ESP, SPI, (AES_128_GCM, SHA256, NO_ESN))
    mixed = Proposal(1, ESP, b"", (AES_128_GCM, AES_256_CBC, SHA256, NO_ESN))
    assert select((offered,), [esp("aes128gcm16")]) is None
    assert select((offered,), [mixed]) is None


def test_c34_no_cipher_without_integrity() -> None:
    offered = Proposal(1, ESP, SPI, (AES_256_CBC, NO_INTEGRITY, NO_ESN))
    accepted = Proposal(1, ESP, b"", (AES_256_CBC, NO_INTEGRITY, NO_ESN))
    assert select((offered,), [accepted]) is None


def test_c17_esp_without_an_esn_transform_is_not_chosen() -> None:
    """ESN is mandatory in an ESP proposal (RFC 7296 3.3.3)."""
    assert select((Proposal(1, ESP, SPI, (AES_128_GCM,)),), [esp("aes128gcm16")]) is None


def test_esn_is_negotiated_like_any_transform() -> None:
    both, without = offer([esp("aes128gcm16-esn-noesn")], SPI), offer([esp("aes128gcm16")], SPI)
    chosen = select(both, [esp("aes128gcm16-esn")])
    assert chosen is not None
    assert esp_suite(chosen).esn
    assert select(without, [esp("aes128gcm16-esn")]) is None


def test_the_group_of_the_ke_payload_saves_a_round_trip() -> None:
    """The responder would rather have x25519, but what it got is good enough."""
    offered = offer([ike("aes128gcm16-prfsha256-modp2048-x25519")])
    accepted = [ike("aes128gcm16-prfsha256-x25519-modp2048")]
    assert _group(select(offered, accepted)) == X25519
    assert _group(select(offered, accepted, ke_group=MODP_2048.id)) == MODP_2048


def test_c16_an_unacceptable_group_leads_to_one_that_was_offered() -> None:
    """That other group is what INVALID_KE_PAYLOAD asks for (RFC 7296 1.2)."""
    offered = offer([ike("aes128gcm16-prfsha256-modp2048-x25519")])
    accepted = [ike("aes128gcm16-prfsha256-x25519")]
    assert _group(select(offered, accepted, ke_group=MODP_2048.id)) == X25519
    assert _group(select(offered, accepted, ke_group=1234)) == X25519


def test_c40_no_key_exchange_suits_only_who_can_do_without() -> None:
    with_pfs, optional, without = (
        esp("aes128gcm16-x25519"),
        esp("aes128gcm16-x25519-modpnone"),
        esp("aes128gcm16"),
    )
    assert select(offer([without], SPI), [with_pfs]) is None
    assert select(offer([with_pfs], SPI), [without]) is None
    assert select(offer([esp("aes128gcm16-modp2048-modpnone")], SPI), [with_pfs]) is None
    assert _group(select(offer([optional], SPI), [without])) == NO_KE
    chosen = select(offer([without], SPI), [optional])
    assert chosen is not None
    assert esp_suite(chosen).kex is None


def test_ike_auth_leaves_the_key_exchange_out() -> None:
    """A Child SA made in IKE_AUTH has none (RFC 7296 1.2)."""
    proposal = esp("aes128gcm16-x25519").without(KE)
    assert select(offer([proposal], SPI), [proposal]) == Proposal(1, ESP, SPI, (AES_128_GCM, NO_ESN))


@pytest.mark.parametrize("spi", [b"", b"\0\0\0\0", b"12345678", b"123"])
def test_a_child_sa_needs_an_spi_of_four_octets_that_is_not_zero(spi: bytes) -> None:
    """RFC 7296 3.3.1, RFC 4303 2.1."""
    offered = offer([esp("aes128gcm16")], SPI)
    assert select(offer([esp("aes128gcm16")], spi), [esp("aes128gcm16")]) is None
    assert not is_choice_of([offered[0]._replace(spi=spi)], offered)


def test_protocols_are_not_confused() -> None:
    offered = esp("aes128gcm16")._replace(protocol=ProtocolId.AH, spi=SPI)
    assert select((offered,), [esp("aes128gcm16")]) is None
    assert select((offered._replace(protocol=200),), [esp("aes128gcm16")]) is None


def test_offers_are_numbered_from_one_and_carry_the_spi() -> None:
    numbered = offer([esp("aes128gcm16"), esp("chacha20poly1305")], SPI)
    assert [(proposal.number, proposal.spi) for proposal in numbered] == [(1, SPI), (2, SPI)]


# The initiator's check


def test_c17_an_answer_is_one_whole_choice_of_the_offer() -> None:
    offered = offer([esp("aes128-aes256-sha1-sha256"), esp("aes128gcm16")], SPI)
    right = Proposal(1, ESP, b"peer", (AES_256_CBC, SHA256, NO_ESN))
    assert is_choice_of([right], offered)
    wrong = {
        "nothing": [],
        "two proposals": [right, right],
        "another number": [right._replace(number=2)],
        "a number that was not offered": [right._replace(number=3)],
        "another protocol": [right._replace(protocol=ProtocolId.AH)],
        "a type left out": [right._replace(transforms=right.transforms[:2])],
        "a type twice": [right._replace(transforms=(*right.transforms, SHA256._replace(id=2)))],
        "a type added": [right._replace(transforms=(*right.transforms, X25519))],
        "another algorithm": [right._replace(transforms=(AES_128_GCM, SHA256, NO_ESN))],
        "another key length": [
            right._replace(transforms=(AES_256_CBC._replace(key_bits=192), SHA256, NO_ESN))
        ],
        "an attribute added": [
            right._replace(transforms=(AES_256_CBC._replace(attributes=(Attribute(1, 1),)), SHA256, NO_ESN))
        ],
    }
    assert [what for what, answer in wrong.items() if is_choice_of(answer, offered)] == []


def test_an_answer_may_leave_out_what_may_be_none() -> None:
    offered = offer([esp("aes128gcm16-x25519-modpnone")], SPI)
    for answered in ((AES_128_GCM, NO_ESN), (AES_128_GCM, NO_KE, NO_ESN), (AES_128_GCM, X25519, NO_ESN)):
        assert is_choice_of([Proposal(1, ESP, b"peer", answered)], offered)
    assert not is_choice_of([Proposal(1, ESP, b"peer", (AES_128_GCM,))], offered)


ESP_STRINGS = (
    "aes128gcm16",
    "aes256gcm16-x25519-modpnone",
    "aes128-aes256-sha1-sha256-esn-noesn",
    "chacha20poly1305-esn",
)


@given(st.lists(st.sampled_from(ESP_STRINGS), max_size=3), st.lists(st.sampled_from(ESP_STRINGS), max_size=3))
def test_c17_every_choice_passes_the_initiators_check(theirs: list[str], ours: list[str]) -> None:
    offered = offer(map(esp, theirs), SPI)
    chosen = select(offered, [esp(text) for text in ours])
    assert (chosen is not None) == bool(set(theirs) & set(ours))
    assert chosen is None or is_choice_of([chosen._replace(spi=b"peer")], offered)


@given(st.lists(PROPOSALS, max_size=4), st.none() | st.integers(0, 65535))
def test_whatever_is_offered_gives_a_choice_or_none(offered: list[Proposal], group: int | None) -> None:
    chosen = select(offered, [esp("aes128gcm16"), ike("aes256-sha256-modp2048")], group)
    assert chosen is None or any(chosen.number == proposal.number for proposal in offered)
    assert is_choice_of(offered, offer([esp("aes128gcm16")], SPI)) in (True, False)


# Suites


def test_a_choice_names_the_algorithms_of_an_ike_sa() -> None:
    assert ike_suite(ike("aes256-sha256-modp2048")) == IkeSuite(
        ENCRYPTION[EncryptionId.ENCR_AES_CBC, 256],
        INTEGRITY[IntegrityId.AUTH_HMAC_SHA2_256_128],
        PRF[PrfId.PRF_HMAC_SHA2_256],
        KEY_EXCHANGE[KeyExchangeId.MODP_2048],
    )
    assert ike_suite(ike("aes128gcm16-prfsha384-x25519")).integrity is None


def test_a_choice_names_the_algorithms_of_a_child_sa() -> None:
    chosen = Proposal(1, ESP, SPI, (AES_128_GCM, NO_INTEGRITY, NO_KE, NO_ESN))
    encryption = ENCRYPTION[EncryptionId.ENCR_AES_GCM_16, 128]
    assert esp_suite(chosen) == EspSuite(encryption, None, esn=False, kex=None)
    assert esp_suite(esp("aes128gcm16-x25519-esn")) == EspSuite(
        encryption, None, esn=True, kex=KEY_EXCHANGE[KeyExchangeId.CURVE25519]
    )


# Additional key exchanges (RFC 9370)


HYBRID = "aes128gcm16-prfsha256-x25519-ke1_mlkem768"


@pytest.mark.parametrize(
    "text",
    [
        HYBRID,
        "aes256-sha256-x25519-ke1_mlkem768-ke1_mlkem1024-ke7_ecp384",
        "aes256-sha256-x25519-ke2_mlkem768-ke2_none",
    ],
)
def test_an_additional_key_exchange_has_a_transform_type_of_its_own(text: str) -> None:
    assert format_proposal(ike(text)) == text


def test_additional_key_exchanges_are_types_six_to_twelve() -> None:
    """RFC 9370 2.2.1."""
    for number in range(1, 8):
        (transform,) = ike(f"aes256-sha256-x25519-ke{number}_mlkem1024").of_type(5 + number)
        assert (transform.type, transform.id) == (5 + number, KeyExchangeId.ML_KEM_1024)


def test_c17_one_method_of_each_additional_type_is_chosen() -> None:
    offered = offer([ike("aes128gcm16-prfsha256-x25519-ke1_mlkem768-ke1_mlkem1024-ke2_ecp256-ke2_none")])
    chosen = select(offered, [ike("aes128gcm16-prfsha256-x25519-ke1_mlkem1024-ke2_none-ke2_ecp256")])
    assert chosen is not None
    assert is_choice_of([chosen], offered)
    assert [(t.type, t.id) for t in chosen.transforms][3:] == [
        (ADDITIONAL[0], KeyExchangeId.ML_KEM_1024),
        (ADDITIONAL[1], KeyExchangeId.NONE),
    ]
    assert ike_suite(chosen).kex.id == KeyExchangeId.CURVE25519
    assert [kex.id for kex in additional_exchanges(chosen)] == [KeyExchangeId.ML_KEM_1024]


def test_c17_no_additional_key_exchange_suits_only_who_can_do_without() -> None:
    plain, hybrid = "aes128gcm16-prfsha256-x25519", HYBRID
    optional = f"{HYBRID}-ke1_none"
    assert select(offer([ike(hybrid)]), [ike(plain)]) is None
    assert select(offer([ike(plain)]), [ike(hybrid)]) is None
    for theirs, ours in ((optional, plain), (plain, optional)):
        offered = offer([ike(theirs)])
        chosen = select(offered, [ike(ours)])
        assert chosen is not None
        assert additional_exchanges(chosen) == ()
        assert is_choice_of([chosen], offered)


@pytest.mark.parametrize(
    ("theirs", "methods"),
    [
        ("x25519-ke1_x25519-ke1_mlkem768", [31, 36]),
        ("x25519-ecp256-ke1_x25519", [19, 31]),
        ("x25519-ke1_mlkem768-ke1_ecp256-ke2_mlkem768", [31, 19, 36]),
        ("x25519-ke1_mlkem768-ke2_mlkem768-ke2_none", [31, 36]),
    ],
)
def test_no_method_is_used_twice(theirs: str, methods: list[int]) -> None:
    """RFC 9370 2.2.1: what the first choices would repeat, later ones avoid."""
    proposal = ike(f"aes128gcm16-prfsha256-{theirs}")
    chosen = select(offer([proposal]), [proposal])
    assert chosen is not None
    assert [ike_suite(chosen).kex.id, *(kex.id for kex in additional_exchanges(chosen))] == methods


def test_two_proposals_that_have_only_a_repetition_in_common_do_not_match() -> None:
    """RFC 9370 2.2.1: each alone is good."""
    theirs, ours = "x25519-ke1_x25519-ke1_mlkem768", "x25519-ke1_x25519-ke1_ecp384"
    head = "aes128gcm16-prfsha256-"
    assert select(offer([ike(head + theirs)]), [ike(head + ours)]) is None


@pytest.mark.parametrize("protocol", [IKE, ESP])
@pytest.mark.parametrize(
    "methods",
    [
        "x25519-ke1_x25519",
        "x25519-ke1_mlkem768-ke2_mlkem768",
        "x25519-ecp256-ke1_x25519-ke1_ecp256-ke2_x25519-ke2_ecp256",
    ],
)
def test_a_proposal_whose_every_choice_repeats_a_method_is_refused(protocol: int, methods: str) -> None:
    """RFC 9370 2.2.1: it could never match."""
    head = "aes128gcm16-prfsha256-" if protocol == IKE else "aes128gcm16-"
    with pytest.raises(ValueError, match="no key exchange method may be used twice"):
        parse_proposal(head + methods, protocol)


def test_an_answer_that_repeats_a_method_is_no_choice() -> None:
    """RFC 9370 2.2.1: the initiator must not go on with it."""
    offered = offer([ike("aes128gcm16-prfsha256-x25519-ke1_x25519-ke1_mlkem768-ke2_mlkem768-ke2_none")])
    head = offered[0].transforms[:3]
    good = (*head, Transform(6, KeyExchangeId.ML_KEM_768), Transform(7, KeyExchangeId.NONE))
    assert is_choice_of([offered[0]._replace(transforms=good)], offered)
    for one, other in ((36, 36), (31, 36), (31, 0)):
        wrong = (*head, Transform(6, one), Transform(7, other))
        assert not is_choice_of([offered[0]._replace(transforms=wrong)], offered)


def test_ike_auth_leaves_additional_key_exchanges_out_as_well() -> None:
    proposals = proposals_for(ExchangeType.IKE_AUTH, (esp("aes128gcm16-x25519-ke1_mlkem768"),))
    assert [format_proposal(proposal) for proposal in proposals] == ["aes128gcm16"]


def test_a_peer_that_insists_on_an_additional_key_exchange_finds_no_proposal() -> None:
    """Endpoints do not have the exchanges yet; a peer that can do without gets its SA."""
    plain = ike("aes128gcm16-prfsha256-x25519")
    hybrid = plain._replace(transforms=(*plain.transforms, Transform(6, KeyExchangeId.ML_KEM_768)))
    assert select((hybrid,), [plain]) is None
    optional = hybrid._replace(transforms=(*hybrid.transforms, Transform(6, 0)))
    chosen = select((optional,), [plain])
    assert chosen is not None
    assert chosen.transforms == (*plain.transforms, Transform(6, 0))


@pytest.mark.parametrize(
    "word", ["null", "aes128gmac", "aes128ccm8iiv", "aes256gcm16iiv", "chacha20poly1305iiv"]
)
def test_c34_a_cipher_for_esp_alone_is_no_suite_of_an_ike_sa(word: str) -> None:
    """RFC 7296 5, RFC 8750 8: whatever was negotiated."""
    proposal = ike("aes256-sha256-modp2048" if word == "null" else "aes128gcm16-prfsha256-x25519")
    with pytest.raises(ValueError, match="encryption that is not for ESP alone"):
        ike_suite(proposal._replace(transforms=(TOKENS[word], *proposal.transforms[1:])))
    suite = esp_suite(esp("null-sha256" if word == "null" else word))
    assert (int(suite.encryption.id), suite.encryption.key_bits) == (TOKENS[word].id, TOKENS[word].key_bits)


def test_an_implicit_iv_is_chosen_where_both_have_it() -> None:
    """RFC 8750 5: the initiator proposes it and the same cipher with an IV; a peer without takes that."""
    offered = offer([esp("aes128gcm16iiv-aes128gcm16")], b"SPI1")
    for accepted, chosen in (
        ("aes128gcm16iiv-aes128gcm16", "aes128gcm16iiv"),
        ("aes128gcm16", "aes128gcm16"),
    ):
        answer = select(offered, [esp(accepted)])
        assert answer is not None
        assert format_proposal(answer) == chosen


def ike(text: str) -> Proposal:
    return parse_proposal(text, IKE)


def esp(text: str) -> Proposal:
    return parse_proposal(text, ESP)


def _group(chosen: Proposal | None) -> Transform:
    assert chosen is not None
    (transform,) = chosen.of_type(KE)
    return transform
