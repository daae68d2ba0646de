"""scapy opens what we seal, and we open what scapy seals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from sim.wire.address import format_address
from sim.wire.esp import Mode
from tests.ipsec.pair import SPI_B, SUITES, Pair, between, datagram, make_pair

with warnings.catch_warnings():
    # scapy names ciphers that pyca has deprecated, and looks at the machine's interfaces.
    warnings.simplefilter("ignore")
    from scapy.layers import ipsec as scapy_ipsec
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

_untyped: Any = scapy_ipsec
NAMES = {
    "aes128gcm16": ("AES-GCM", None),
    "aes256gcm16": ("AES-GCM", None),
    "chacha20poly1305": ("CHACHA20-POLY1305", None),
    "aes128-sha1": ("AES-CBC", "HMAC-SHA1-96"),
    "aes256-sha256": ("AES-CBC", "SHA2-256-128"),
    "aes192ccm16": ("AES-CCM", None),
    "aes192ctr-sha384": ("AES-CTR", "SHA2-384-192"),
    "3des-aescmac": ("3DES", "AES-CMAC-96"),
    "null-sha512": ("NULL", "SHA2-512-256"),
}
CASES = [
    pytest.param(mode, outer, inner, encap, esn, id=f"{mode.value}-{inner}in{outer}-{encap=}-{esn=}")
    for mode in Mode
    for outer in (4, 6)
    for inner in (4, 6)
    for encap in (False, True)
    for esn in (False, True)
    if (mode is Mode.TUNNEL or inner == outer) and not (encap and outer == 6)
]
"""scapy puts a zero checksum on UDP over IPv6, and will not take ours apart."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("mode", "outer", "inner", "encap", "esn"), CASES)
def test_scapy_opens_what_we_seal(
    suite: str, mode: Mode, outer: int, inner: int, encap: bool, esn: bool
) -> None:
    pair = make_pair(suite, mode=mode, outer=outer, encap=encap, esn=esn)
    judge = association(suite, pair)
    if esn:
        pair.a.sad[pair.spec.spi_in].outbound.esp.seq = 5 << 32
    for size in (48, 49, 50, 51, 64, 512, 1400):
        packet = inner_packet(pair, size, inner)
        sealed = bytes(pair.seal(packet))
        outside = IP(sealed) if outer == 4 else IPv6(sealed)

        opened = judge.decrypt(outside)

        assert bytes(opened) == packet
        assert rebuilt(sealed) == sealed


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("mode", "outer", "inner", "encap", "esn"), CASES)
def test_we_open_what_scapy_seals(
    suite: str, mode: Mode, outer: int, inner: int, encap: bool, esn: bool
) -> None:
    pair = make_pair(suite, mode=mode, outer=outer, encap=encap, esn=esn)
    judge = association(suite, pair)
    if esn:
        pair.b.sad[SPI_B].inbound.window.accept(5 << 32)
    for size in (48, 49, 50, 51, 64, 512, 1400):
        packet = inner_packet(pair, size, inner)

        sealed = judge.encrypt((IP if inner == 4 else IPv6)(bytes(packet)))

        assert pair.open(bytearray(bytes(sealed))) == packet


def association(suite: str, pair: Pair) -> Any:
    """scapy's form of the SA from A to B."""
    crypt, auth = NAMES[suite]
    spec = pair.spec
    src, dst = format_address(spec.local[0]), format_address(spec.remote[0])
    header = IP(src=src, dst=dst) if len(spec.local[0]) == 4 else IPv6(src=src, dst=dst)
    settings: dict[str, Any] = {"esn_en": True, "esn": 5} if spec.esn else {}
    return _untyped.SecurityAssociation(
        _untyped.ESP,
        spi=SPI_B,
        crypt_algo=crypt,
        crypt_key=spec.keys_out[0],
        auth_algo=auth,
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
