"""scapy opens what we seal, and we open what scapy seals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from sim.crypto.ids import EncryptionId, IntegrityId
from sim.crypto.suites import ENCRYPTION
from sim.wire.address import format_address
from sim.wire.esp import Mode
from tests.ipsec.pair import EVERY_SUITE, MODES, SPI_B, Pair, between, datagram, make_pair

with warnings.catch_warnings():
    # scapy names ciphers that pyca has deprecated, and looks at the machine's interfaces.
    warnings.simplefilter("ignore")
    from scapy.layers import ipsec as scapy_ipsec
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

_untyped: Any = scapy_ipsec
CRYPT = {
    EncryptionId.ENCR_AES_GCM_16: "AES-GCM",
    EncryptionId.ENCR_NULL_AUTH_AES_GMAC: "AES-NULL-GMAC",
    EncryptionId.ENCR_AES_CCM_8: "AES-CCM",
    EncryptionId.ENCR_AES_CCM_12: "AES-CCM",
    EncryptionId.ENCR_AES_CCM_16: "AES-CCM",
    EncryptionId.ENCR_CHACHA20_POLY1305: "CHACHA20-POLY1305",
    EncryptionId.ENCR_AES_CBC: "AES-CBC",
    EncryptionId.ENCR_AES_CTR: "AES-CTR",
    EncryptionId.ENCR_3DES: "3DES",
    EncryptionId.ENCR_NULL: "NULL",
}
AUTH = {
    IntegrityId.AUTH_HMAC_SHA1_96: "HMAC-SHA1-96",
    IntegrityId.AUTH_HMAC_SHA2_256_128: "SHA2-256-128",
    IntegrityId.AUTH_HMAC_SHA2_384_192: "SHA2-384-192",
    IntegrityId.AUTH_HMAC_SHA2_512_256: "SHA2-512-256",
    IntegrityId.AUTH_AES_CMAC_96: "AES-CMAC-96",
}
JUDGED = {
    suite
    for suite, (encryption, integrity) in EVERY_SUITE.items()
    if encryption.id in CRYPT and (integrity is None or integrity.id in AUTH)
}
RELATIVES = {
    EncryptionId.ENCR_AES_GCM_8: "aes{}gcm16",
    EncryptionId.ENCR_AES_GCM_12: "aes{}gcm16",
    EncryptionId.ENCR_AES_GCM_16_IIV: "aes{}gcm16",
    EncryptionId.ENCR_AES_CCM_8_IIV: "aes{}ccm8",
    EncryptionId.ENCR_CHACHA20_POLY1305_IIV: "chacha20poly1305",
}
"""What scapy lacks, but has with more octets on the wire."""

Case = tuple[Mode, int, int, bool, bool]
CASES: list[Case] = [
    (mode, outer, inner, encap, esn)
    for mode in MODES
    for outer in (4, 6)
    for inner in (4, 6)
    for encap in (False, True)
    for esn in (False, True)
    if (mode is Mode.TUNNEL or inner == outer) and not (encap and outer == 6)
]
"""scapy puts a zero checksum on UDP over IPv6, and will not take ours apart."""
SIZES = (49, 50, 51, 1400)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("suite", sorted(JUDGED))
def test_scapy_opens_what_we_seal(suite: str) -> None:
    for case in CASES:
        pair = pair_of(suite, case)
        judge = association(suite, pair)
        if pair.spec.esn:
            pair.a.sad[pair.spec.spi_in].outbound.wrapper.seq = 5 << 32
        for size in SIZES:
            packet = inner_packet(pair, size, case[2])
            sealed = bytes(pair.seal(packet))
            outside = IP(sealed) if case[1] == 4 else IPv6(sealed)

            opened = judge.decrypt(outside)

            assert bytes(opened) == packet, (case, size)
            assert rebuilt(sealed) == sealed, (case, size)


@pytest.mark.parametrize("suite", sorted(JUDGED))
def test_we_open_what_scapy_seals(suite: str) -> None:
    for case in CASES:
        pair = pair_of(suite, case)
        judge = association(suite, pair)
        if pair.spec.esn:
            pair.b.sad[SPI_B].inbound.window.accept(5 << 32)
        for size in SIZES:
            packet = inner_packet(pair, size, case[2])

            sealed = judge.encrypt((IP if case[2] == 4 else IPv6)(bytes(packet)))

            assert pair.open(bytearray(bytes(sealed))) == packet, (case, size)


def test_scapy_lacks_short_gcm_icvs_implicit_ivs_and_aes_xcbc_alone() -> None:
    """AES-XCBC is judged by RFC 3566's vectors and by strongSwan, the others below."""
    lacking = {
        suite for suite in EVERY_SUITE if suite not in JUDGED and EVERY_SUITE[suite][0].id not in RELATIVES
    }
    assert all(suite.endswith("-aesxcbc") for suite in lacking)
    assert len(lacking) == len([cipher for cipher in ENCRYPTION.values() if not cipher.aead])


@pytest.mark.parametrize("esn", [False, True], ids=["seq", "esn"])
@pytest.mark.parametrize("suite", [name for name, (row, _) in EVERY_SUITE.items() if row.id in RELATIVES])
def test_scapy_agrees_but_for_octets_that_do_not_travel(suite: str, esn: bool) -> None:
    """A short ICV is the start of the whole one (RFC 4106 6), an implicit IV is not sent (RFC 8750)."""
    encryption, _ = EVERY_SUITE[suite]
    pair = make_pair(suite, esn=esn)
    judge = association(RELATIVES[encryption.id].format(encryption.key_bits), pair)
    number = (5 << 32) + 1 if esn else 1
    pair.a.sad[pair.spec.spi_in].outbound.wrapper.seq = number - 1
    for seq, size in enumerate(SIZES, number):
        packet = datagram(size)

        sealed = bytes(judge.encrypt(IP(bytes(packet)), iv=seq.to_bytes(8, "big")))[20:]

        iv = sealed[8:16] if encryption.iv_bytes else b""
        end = len(sealed) - judge.crypt_icv_size + encryption.icv_bytes
        assert pair.seal(packet)[20:] == sealed[:8] + iv + sealed[16:end]


def pair_of(suite: str, case: Case) -> Pair:
    mode, outer, _, encap, esn = case
    return make_pair(suite, mode=mode, outer=outer, encap=encap, esn=esn)


def association(suite: str, pair: Pair) -> Any:
    """scapy's form of the SA from A to B."""
    encryption, integrity = EVERY_SUITE[suite]
    spec = pair.spec
    src, dst = format_address(spec.local[0]), format_address(spec.remote[0])
    header = IP(src=src, dst=dst) if len(spec.local[0]) == 4 else IPv6(src=src, dst=dst)
    settings: dict[str, Any] = {"esn_en": True, "esn": 5} if spec.esn else {}
    return _untyped.SecurityAssociation(
        _untyped.ESP,
        spi=SPI_B,
        crypt_algo=CRYPT[encryption.id],
        crypt_icv_size=encryption.icv_bytes or None,
        crypt_key=spec.keys_out[0],
        auth_algo=AUTH[integrity.id] if integrity else None,
        auth_key=spec.keys_out[1] or None,
        tunnel_header=header if spec.mode is Mode.TUNNEL else None,
        nat_t_header=UDP(sport=4500, dport=4500) if spec.encap else None,
        **settings,
    )


def inner_packet(pair: Pair, size: int, version: int) -> bytearray:
    if pair.spec.mode is Mode.TUNNEL:
        return datagram(size, version=version)
    return between((pair.spec.local[0], 1), (pair.spec.remote[0], 2), size)


def rebuilt(sealed: bytes) -> bytes:
    """The packet with every length and checksum of its headers computed by scapy, UDP's excepted."""
    packet = IP(sealed) if sealed[0] >> 4 == 4 else IPv6(sealed)
    for name in ("len", "chksum", "ihl") if sealed[0] >> 4 == 4 else ("plen",):
        packet.delfieldval(name)
    if packet.haslayer(UDP):
        packet[UDP].delfieldval("len")
    return bytes(packet)
