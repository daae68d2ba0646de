"""scapy signs and checks AH as we do, and tshark takes our captures apart."""

from __future__ import annotations

import itertools
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import ip
from sim.wire.address import format_address
from sim.wire.esp import Mode
from tests.interop.sniffer import write_capture
from tests.ipsec.pair import (
    A4,
    A6,
    AH_SUITES,
    B4,
    B6,
    SPI_A,
    SPI_B,
    Pair,
    between,
    datagram,
    make_pair,
    packet_of,
)
from tests.ipsec.test_transport import with_extensions
from tests.ipsec.test_tunnel import with_options
from tests.peers import require

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers import ipsec as scapy_ipsec
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6

_untyped: Any = scapy_ipsec
NAMES = {
    "ah-sha1": "HMAC-SHA1-96",
    "ah-sha256": "SHA2-256-128",
    "ah-sha384": "SHA2-384-192",
    "ah-sha512": "SHA2-512-256",
    "ah-aescmac": "AES-CMAC-96",
}
"""What scapy has; AES-XCBC and GMAC it lacks for AH."""
WAYS = [(Mode.TUNNEL, o, i) for o in (4, 6) for i in (4, 6)] + [(Mode.TRANSPORT, v, v) for v in (4, 6)]
SIZES = (48, 49, 50, 51, 64, 512, 1400)
OPTIONS = {
    "router alert": bytes.fromhex("94040000"),
    "timestamp": bytes.fromhex("440c05010000000000000000"),
    "record route, end": bytes.fromhex("07070400000000") + b"\0",
    "security": bytes.fromhex("820b0000000000000000") + b"\0\1",
}
CHAINS = [[0], [60], [0, 43], [0, 60, 43, 60]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("suite", NAMES)
@pytest.mark.parametrize("esn", [False, True], ids=["seq", "esn"])
def test_c89_scapy_checks_what_we_sign_and_we_what_it_signs(suite: str, esn: bool) -> None:
    for way in WAYS:
        pair = make_pair(suite, mode=way[0], outer=way[1], esn=esn)
        judge = association(suite, pair)
        if esn:
            pair.a.sad[SPI_A].outbound.wrapper.seq = 5 << 32
            pair.b.sad[SPI_B].inbound.window.accept(5 << 32)
        for size in SIZES:
            packet = inner_packet(pair, size, way[2])
            agree(pair, judge, packet)


@pytest.mark.parametrize("name", OPTIONS)
def test_c89_scapy_agrees_on_ipv4_options(name: str) -> None:
    pair = make_pair("ah-sha256", mode=Mode.TRANSPORT)
    agree(pair, association("ah-sha256", pair), with_options(between((A4, 1), (B4, 2)), OPTIONS[name]))


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("changes", [False, True], ids=["fixed", "mutable"])
def test_c89_scapy_agrees_on_ipv6_extension_headers(chain: list[int], changes: bool) -> None:
    if chain == [60]:
        return  # scapy puts AH behind destination options even without a routing header, as Linux does
    pair = make_pair("ah-sha256", outer=6, mode=Mode.TRANSPORT)
    packet = with_extensions(between((A6, 1), (B6, 2)), chain)
    if changes:
        packet[42:48] = bytes((0x3E, 4, 1, 2, 3, 4))
    # Of a routing header that is at its end already, scapy's sender moves the addresses on all the same.
    agree(pair, association("ah-sha256", pair), packet, both=43 not in chain)


def test_c89_scapy_agrees_on_a_routing_header_that_is_under_way() -> None:
    from sim.wire.selector import Selector

    via = bytes(15) + b"\1"
    pair = make_pair("ah-sha256", outer=6, mode=Mode.TRANSPORT, remote_ts=(Selector.host(via),))
    packet = with_extensions(between((A6, 1), (via, 2)), [43])
    packet[43], packet[48:64] = 1, B6
    judge = association("ah-sha256", pair)
    theirs = bytes(judge.encrypt(IPv6(bytes(packet)), seq_num=1))

    assert bytes(pair.seal(packet)) == theirs


def agree(pair: Pair, judge: Any, packet: bytearray, *, both: bool = True) -> None:
    """The judge opens ours, and we open the judge's."""
    kind = IP if packet[0] < 0x60 else IPv6
    sealed = pair.seal(packet)
    opened = judge.decrypt((IP if sealed[0] < 0x60 else IPv6)(bytes(sealed)))
    assert bytes(opened) == packet, "scapy does not open ours"
    if not both:
        return
    number = pair.a.sad[SPI_A].outbound.seq & 0xFFFFFFFF
    theirs = bytes(judge.encrypt(kind(bytes(packet)), seq_num=number))
    assert packet_of(pair.open(bytearray(theirs))) == packet, "we do not open scapy's"


def association(suite: str, pair: Pair) -> Any:
    spec = pair.spec
    src, dst = format_address(spec.local[0]), format_address(spec.remote[0])
    header = IP(src=src, dst=dst) if len(spec.local[0]) == 4 else IPv6(src=src, dst=dst)
    return _untyped.SecurityAssociation(
        _untyped.AH,
        spi=SPI_B,
        auth_algo=NAMES[suite],
        auth_key=spec.keys_out[1],
        tunnel_header=header if spec.mode is Mode.TUNNEL else None,
        **({"esn_en": True, "esn": 5} if spec.esn else {}),
    )


def inner_packet(pair: Pair, size: int, version: int) -> bytearray:
    if pair.spec.mode is Mode.TUNNEL:
        return datagram(size, version=version)
    return between((pair.spec.local[0], 1), (pair.spec.remote[0], 2), size)


@pytest.mark.peers
@pytest.mark.parametrize("suite", AH_SUITES)
def test_c89_tshark_dissects_every_form_and_finds_nothing_wrong(suite: str, tmp_path: Path) -> None:
    """All modes and IP versions, with IPv4 options and IPv6 extension headers in front and behind."""
    packets = []
    for mode, outer, inner in WAYS:
        pair = make_pair(suite, mode=mode, outer=outer)
        plain = inner_packet(pair, 100, inner)
        more = with_options(plain) if inner == 4 else with_extensions(plain, [0, 60, 43, 60])
        packets += [bytes(pair.seal(plain)), bytes(pair.seal(more))]
    write_capture(tmp_path / "ah.pcapng", packets)
    fields = ("ah.spi", "ah.sequence", "udp.dstport", "_ws.malformed", "_ws.expert.severity")
    command = [require("tshark"), "-n", "-r", str(tmp_path / "ah.pcapng"), "-T", "fields"]
    command += ["-E", "separator=|", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    command += [word for name in fields for word in ("-e", name)]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert len(rows) == len(packets)
    for number, row in enumerate(rows):
        spi, seq, port, malformed, severity = row.split("|")
        assert (int(spi, 16), int(seq)) == (SPI_B, number % 2 + 1)
        assert (port, malformed) == ("2000" if WAYS[number // 2][0] is Mode.TUNNEL else "2", "")
        assert all(int(level) < 0x00600000 for level in severity.split(",") if level), row


_CHAIN = st.lists(st.sampled_from([60, 43, 44]), max_size=3, unique=True)


@pytest.mark.parametrize("suite", ["ah-sha256", "ah-aes128gmac", "aes128gcm16", "aes128-sha1"])
@given(
    mode=st.sampled_from([Mode.TUNNEL, Mode.TRANSPORT]),
    outer=st.sampled_from([4, 6]),
    inner=st.sampled_from([4, 6]),
    size=st.integers(48, 300),
    options=st.lists(st.sampled_from(sorted(OPTIONS.values())), max_size=3),
    hop_by_hop=st.booleans(),
    chain=_CHAIN,
)
def test_c89_open_gives_what_seal_took_with_options_and_extension_headers(
    suite: str,
    mode: Mode,
    outer: int,
    inner: int,
    size: int,
    options: list[bytes],
    hop_by_hop: bool,
    chain: list[int],
) -> None:
    inner = outer if mode is Mode.TRANSPORT else inner
    pair = make_pair(suite, mode=mode, outer=outer)
    packet = inner_packet(pair, size, inner)
    if inner == 4:
        packet = with_options(packet, b"".join(options))
    else:
        packet = with_extensions(packet, [0] * hop_by_hop + chain)

    sealed = pair.seal(packet)

    assert ip.parse(sealed).protocol == (51 if suite.startswith("ah-") else 50)
    assert pair.open(sealed) == packet


def test_every_way_is_there() -> None:
    assert {way[1:] for way in WAYS if way[0] is Mode.TUNNEL} == set(itertools.product((4, 6), repeat=2))
