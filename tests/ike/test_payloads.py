"""Every payload by itself: round trips, the octets of other implementations, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ike.constants import (
    AuthMethod,
    ConfigAttributeType,
    ConfigType,
    IdType,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
)
from sim.ike.message import emit_payloads, parse_payloads
from sim.ike.payloads import (
    Attribute,
    AuthPayload,
    CertPayload,
    CertReqPayload,
    ConfigAttribute,
    CpPayload,
    DeletePayload,
    EncryptedFragment,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    Proposal,
    SaPayload,
    Transform,
    TsPayload,
    UnknownPayload,
)
from sim.ike.selectors import UnknownSelector
from sim.wire.buffer import WireError
from sim.wire.selector import OPAQUE_PORTS, Selector
from tests.crypto.vectors import load
from tests.ike.strategies import CHAINS, CLOSED_PAYLOADS, OPEN_PAYLOADS

ANDROID: dict[str, dict[str, str]] = load("android-unit/android_ike_unit_vectors.json")["constants"]


@pytest.mark.parametrize("strategy", [*OPEN_PAYLOADS, *CLOSED_PAYLOADS], ids=str)
def test_every_payload_survives_emission_and_parsing(strategy: st.SearchStrategy[Payload]) -> None:
    @given(strategy)
    def round_trip(payload: Payload) -> None:
        assert reread(payload) == payload

    round_trip()


@given(CHAINS)
def test_chains_keep_order_unknown_payloads_and_reserved_bits(chain: tuple[Payload, ...]) -> None:
    assert parse_payloads(*emit_payloads(chain)) == chain


@given(CHAINS.filter(bool))
def test_a_chain_cut_at_any_length_is_refused(chain: tuple[Payload, ...]) -> None:
    kind, octets = emit_payloads(chain)
    for size in range(len(octets)):
        with pytest.raises(WireError):
            parse_payloads(kind, octets[:size])


@given(st.integers(0, 255), st.binary(max_size=120))
def test_arbitrary_octets_are_a_chain_or_a_wire_error(kind: int, octets: bytes) -> None:
    try:
        chain = parse_payloads(kind, octets)
    except WireError:
        return
    assert emit_payloads(chain) == (kind, octets)


@given(st.sampled_from([int(kind) for kind in PayloadType if kind]), st.binary(max_size=80))
def test_an_arbitrary_body_is_a_payload_or_a_wire_error(kind: int, body: bytes) -> None:
    octets = bytes((0, 0)) + (4 + len(body)).to_bytes(2, "big") + body
    try:
        chain = parse_payloads(kind, octets)
    except WireError:
        return
    assert emit_payloads(chain) == (kind, octets)


def test_the_critical_bit_and_the_reserved_bits_beside_it_are_kept() -> None:
    """RFC 7296 3.2: bit 0 is critical; the rest is RESERVED and ignored (c22)."""
    (payload,) = parse_payloads(PayloadType.NONCE, bytes.fromhex("00d5 0014") + bytes(16))
    assert payload == NoncePayload(bytes(16), critical=True, reserved=0x55)
    assert emit_payloads([payload])[1][:4] == bytes.fromhex("00d5 0014")


def test_a_payload_of_an_unknown_type_is_data() -> None:
    assert only(200, "0080 0007 616263") == UnknownPayload(200, b"abc", critical=True)


# Octets of Android's IKE library


def test_android_sa_payload_of_two_proposals() -> None:
    payload = only(PayloadType.SA, generic(android("IkeSaPayload", "INBOUND_TWO_PROPOSAL_RAW_PACKET")))
    assert isinstance(payload, SaPayload)
    assert [proposal.number for proposal in payload.proposals] == [1, 2]
    assert payload.proposals[0].transforms[:2] == (
        Transform(TransformType.ENCR, 12, 128),
        Transform(TransformType.ENCR, 12, 192),
    )


def test_android_proposal() -> None:
    payload = only(PayloadType.SA, generic(android("IkeSaPayload", "OUTBOUND_PROPOSAL_RAW_PACKET")))
    chosen = (
        Transform(TransformType.ENCR, 12, 128),
        Transform(TransformType.PRF, 2),
        Transform(TransformType.INTEG, 2),
        Transform(TransformType.KE, 2),
    )
    assert payload == SaPayload((Proposal(1, ProtocolId.IKE, b"", chosen),))


def test_android_key_exchange() -> None:
    value = bytes.fromhex(android("IkeKePayload", "KEY_EXCHANGE_DATA_RAW_PACKET"))
    assert only(PayloadType.KE, generic(android("IkeKePayload", "KE_PAYLOAD_RAW_PACKET"))) == KePayload(
        2, value
    )


def test_android_identities() -> None:
    assert only(
        PayloadType.ID_R, generic(android("IkeIdPayload", "IPV4_ADDR_ID_PAYLOAD_RESPONDER_BODY_HEX"))
    ) == (IdPayload(PayloadType.ID_R, IdType.IPV4_ADDR, bytes([192, 0, 2, 100])))
    payload = only(
        PayloadType.ID_R, generic(android("IkeIdPayload", "IPV6_ADDR_ID_PAYLOAD_RESPONDER_BODY_HEX"))
    )
    assert isinstance(payload, IdPayload)
    assert (payload.id_type, len(payload.data)) == (IdType.IPV6_ADDR, 16)


def test_android_authentication() -> None:
    data = bytes.fromhex(android("IkeAuthPayload", "PSK_AUTH_PAYLOAD_SIGNATURE_HEX"))
    assert only(PayloadType.AUTH, generic(android("IkeAuthPayload", "PSK_AUTH_PAYLOAD_HEX"))) == AuthPayload(
        AuthMethod.SHARED_KEY_MIC, data
    )


def test_android_certificate() -> None:
    payload = only(PayloadType.CERT, generic(android("IkeCertX509CertPayload", "CERT_PAYLOAD_BODY_HEX")))
    assert isinstance(payload, CertPayload)
    assert (payload.encoding, payload.data[:2]) == (4, b"\x30\x82")


def test_android_notification() -> None:
    data = bytes.fromhex(android("IkeNotifyPayload", "NAT_DETECTION_SOURCE_IP_DATA_HEX"))
    assert only(
        PayloadType.NOTIFY, generic(android("IkeNotifyPayload", "NOTIFY_PAYLOAD_BODY_RAW_PACKET"))
    ) == (NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, data))


def test_android_deletes() -> None:
    assert only(PayloadType.DELETE, android("IkeDeletePayload", "DELETE_IKE_PAYLOAD_HEX")) == DeletePayload(
        ProtocolId.IKE
    )
    assert only(PayloadType.DELETE, android("IkeDeletePayload", "DELETE_CHILD_PAYLOAD_HEX")) == DeletePayload(
        ProtocolId.ESP, (bytes.fromhex("2ad4c0a2"),)
    )


def test_android_traffic_selectors() -> None:
    octets = android("IkeTsPayload", "TS_INITIATOR_PAYLOAD_HEX")
    assert only(PayloadType.TS_I, "00" + octets[2:]) == TsPayload(
        PayloadType.TS_I,
        (
            Selector.from_prefix("0.0.0.0/0"),
            Selector(bytes.fromhex("00000001"), bytes.fromhex("fffffffe")),
        ),
    )


# What is kept as data


def test_an_attribute_that_is_no_short_key_length_is_kept_as_it_came() -> None:
    """RFC 7296 3.3.5: Key Length is short and first; all else stays data, in its order."""
    transform = "00000016 0100000c 800e0080 000e0002 0100 800e00c0"
    payload = only(PayloadType.SA, generic("0000001e 01010001" + transform))
    assert isinstance(payload, SaPayload)
    assert payload.proposals[0].transforms == (
        Transform(1, 12, 128, (Attribute(14, b"\x01\x00"), Attribute(14, 192))),
    )


def test_a_selector_of_another_type_is_kept() -> None:
    """TS_SECLABEL (RFC 9478) is no address range."""
    payload = only(PayloadType.TS_R, generic("01000000" + "0a000007" + "616263"))
    assert payload == TsPayload(PayloadType.TS_R, (UnknownSelector(10, 0, b"abc"),))


def test_c37_opaque_ports_are_a_selector() -> None:
    payload = only(PayloadType.TS_I, generic("01000000" + "07000010ffff0000" + "0a0000010a000001"))
    assert payload == TsPayload(PayloadType.TS_I, (Selector.host(bytes([10, 0, 0, 1]), ports=OPAQUE_PORTS),))


def test_a_configuration_request_asks_with_empty_values() -> None:
    """RFC 7296 3.15.1; the R bit is kept."""
    payload = only(PayloadType.CP, generic("01000000" + "00010000" + "80080000"))
    assert payload == CpPayload(
        ConfigType.CFG_REQUEST,
        (
            ConfigAttribute(ConfigAttributeType.INTERNAL_IP4_ADDRESS),
            ConfigAttribute(ConfigAttributeType.INTERNAL_IP6_ADDRESS, reserved=True),
        ),
    )


def test_certificates_and_requests_for_them_are_told_apart() -> None:
    assert only(PayloadType.CERTREQ, "00000005 04") == CertReqPayload(4, b"")
    assert only(PayloadType.CERT, "00000005 04") == CertPayload(4, b"")


def test_a_fragment_tells_its_place() -> None:
    """RFC 7383 2.5."""
    (payload,) = parse_payloads(PayloadType.SKF, bytes.fromhex("23000009 0001 0003 ff"))
    assert payload == EncryptedFragment(PayloadType.ID_I, 1, 3, b"\xff")


# What is refused

REFUSED = {
    "a proposal longer than its payload": (PayloadType.SA, "0000000c 01010000"),
    "a proposal shorter than its head": (PayloadType.SA, "00000004 01010000"),
    "no proposal": (PayloadType.SA, ""),
    "a proposal that announces another": (PayloadType.SA, "02000008 01010000"),
    "a proposal that announces a transform": (PayloadType.SA, "03000008 01010000"),
    "octets behind the last proposal": (PayloadType.SA, "00000008 01010000 00"),
    "fewer transforms than counted": (PayloadType.SA, "00000010 01010002 00000008 01000014"),
    "more transforms than counted": (PayloadType.SA, "00000018 01010001 03000008 01000014 00000008 01000014"),
    "a transform shorter than its head": (PayloadType.SA, "00000010 01010001 00000007 01000014"),
    "a cut attribute": (PayloadType.SA, "00000012 01010001 0000000a 01000014 800e"),
    "an attribute longer than its transform": (
        PayloadType.SA,
        "00000014 01010001 0000000c 01000014 000e0001",
    ),
    "an SPI longer than its proposal": (PayloadType.SA, "00000008 01030400"),
    "a short nonce (c19)": (PayloadType.NONCE, "00" * 15),
    "a long nonce (c19)": (PayloadType.NONCE, "00" * 257),
    "a cut key exchange": (PayloadType.KE, "001f00"),
    "a cut identity": (PayloadType.ID_I, "010000"),
    "a cut notification": (PayloadType.NOTIFY, "000040"),
    "an SPI longer than its notification": (PayloadType.NOTIFY, "0304 4009 000000"),
    "fewer SPIs than counted": (PayloadType.DELETE, "03040002 00000001"),
    "more SPIs than counted": (PayloadType.DELETE, "03040001 00000001 00000002"),
    "SPIs of no octets": (PayloadType.DELETE, "0300ffff"),
    "fewer selectors than counted": (PayloadType.TS_I, "02000000 07000010 0000ffff 0a000001 0a000001"),
    "more selectors than counted": (PayloadType.TS_I, "00000000 07000010 0000ffff 0a000001 0a000001"),
    "an IPv4 selector of another size": (
        PayloadType.TS_I,
        "01000000 07000014 0000ffff 0a000001 0a000001 00000000",
    ),
    "a selector shorter than its head": (PayloadType.TS_I, "01000000 09000003"),
    "addresses from high to low": (PayloadType.TS_I, "01000000 07000010 0000ffff 0a000002 0a000001"),
    "ports from high to low": (PayloadType.TS_I, "01000000 07000010 00020001 0a000001 0a000001"),
    "a cut configuration attribute": (PayloadType.CP, "01000000 00010004 0a0000"),
    "an EAP message of another length": (PayloadType.EAP, "01010005"),
    "a cut EAP message": (PayloadType.EAP, "010100"),
    "fragment 0": (PayloadType.SKF, "00000001"),
    "fragment 3 of 2": (PayloadType.SKF, "00030002"),
    "no certificate encoding": (PayloadType.CERT, ""),
}


@pytest.mark.parametrize(("kind", "body"), REFUSED.values(), ids=REFUSED)
def test_malformed_payloads_are_refused(kind: PayloadType, body: str) -> None:
    with pytest.raises(WireError):
        parse_payloads(kind, bytes.fromhex(generic(body)))


ANDROID_RANGES = [name for name in ANDROID["IkeTrafficSelectorTest.java"] if "INVALID" in name]


@pytest.mark.parametrize("name", ANDROID_RANGES)
def test_android_refuses_the_same_ranges(name: str) -> None:
    with pytest.raises(WireError):
        parse_payloads(
            PayloadType.TS_I,
            bytes.fromhex(generic("01000000" + ANDROID["IkeTrafficSelectorTest.java"][name])),
        )


# Helpers


def android(test: str, prefix: str) -> str:
    """The hex constant of an Android test class whose name starts so."""
    constants = ANDROID.get(f"message/{test}Test.java", {})
    return next(value for name, value in constants.items() if name.startswith(prefix))


def generic(body: str) -> str:
    """A body behind a generic header that ends its chain."""
    return f"0000{4 + len(bytes.fromhex(body)):04x}{body}"


def only(kind: int, octets: str) -> Payload:
    """The one payload in hexadecimal octets, which emits them again."""
    (payload,) = chain = parse_payloads(kind, bytes.fromhex(octets))
    assert emit_payloads(chain) == (kind, bytes.fromhex(octets))
    return payload


def reread(payload: Payload) -> Any:
    (again,) = parse_payloads(*emit_payloads([payload]))
    return again
