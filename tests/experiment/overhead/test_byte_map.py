"""Byte maps: they are the whole packet, from its own octets, and say what is not on the wire."""

from __future__ import annotations

import pytest

import sim
from sim.experiment.overhead.encoded import Encoded, engine_with
from sim.experiment.overhead.inner import Inner, Kind
from sim.experiment.overhead.payloads import counting
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.variant import Question, variants
from tests.experiment.overhead import formula
from tests.experiment.overhead.test_formula import column
from tests.ipsec.pair import mirrored

EVERY_WAY = [
    {"protocols": protocol, "modes": mode, "ip": version, "outer": outer, "natt": natt}
    for protocol in ("esp", "ah", "gre", "l2tp")
    for mode in ("tunnel", "transport")
    for version in (4, 6)
    for outer in (4, 6)
    for natt in (False, True)
    if not (protocol == "ah" and natt)
    and not (mode == "transport" and protocol in ("esp", "ah") and outer != version)
]
UNDEFINED = {"data"}
"""Fields that no RFC defines: what users send."""


@pytest.mark.parametrize("way", EVERY_WAY, ids=lambda way: " ".join(map(str, way.values())))
@pytest.mark.parametrize("esn", [False, True], ids=["", "esn"])
def test_a_map_is_the_whole_packet_in_order(way: dict[str, object], esn: bool) -> None:
    found = column("aes128-sha256", **way, esn=esn)
    for size in (100, 101, 1400):
        pieces = found.byte_map(size)
        assert [piece.offset for piece in pieces] == offsets(pieces)
        assert sum(piece.octets for piece in pieces) == found.wire(size)
        assert sum(piece.octets for piece in pieces if piece.added) == found.cell(size).added
        assert not [piece for piece in pieces if not piece.source and piece.field not in UNDEFINED]


@pytest.mark.parametrize("protocol", ["plain", "wireguard", "tls"])
def test_maps_of_rivals_are_whole_too(protocol: str) -> None:
    found = column(protocols=protocol, ip=6, inner="tcp")
    pieces = found.byte_map(576)
    assert [piece.offset for piece in pieces] == offsets(pieces)
    assert sum(piece.octets for piece in pieces) == found.wire(576)
    assert sum(piece.octets for piece in pieces if piece.added) == found.cell(576).added


@pytest.mark.parametrize("suite", formula.SUITES)
def test_iv_padding_and_icv_are_those_of_the_suite(suite: str) -> None:
    cipher = formula.SUITES[suite]
    for size in range(100, 117):
        found = {piece.field: piece.octets for piece in column(suite).byte_map(size) if piece.octets}
        padding = formula.roundup(size + 2, max(cipher.block, 4)) - size - 2
        assert (found.get("IV", 0), found.get("padding", 0), found["ICV"]) == (cipher.iv, padding, cipher.icv)


@pytest.mark.parametrize(
    ("suite", "octets"), [("aes128gcm16", 4), ("aes128ccm16", 3), ("aes128ctr-sha256", 4)]
)
def test_the_salt_is_not_on_the_wire_and_the_map_says_so(suite: str, octets: int) -> None:
    """Four octets that people count by mistake: they come from the keying material (RFC 4106 8.1)."""
    (salt,) = (piece for piece in column(suite).byte_map(100) if piece.field == "salt")
    assert salt.octets == 0
    assert salt.value.startswith(f"{octets} octets")


def test_what_else_is_not_sent_is_told() -> None:
    unsent = {piece.field for piece in column("aes128gcm16iiv", esn=True).byte_map(100) if not piece.octets}
    assert unsent == {"salt", "IV, implicit", "sequence number, high half"}
    assert not [piece for piece in column("aes128-sha256").byte_map(100) if not piece.octets]


def test_esn_adds_nothing() -> None:
    for suite in ("aes128gcm16", "aes256-sha256"):
        assert column(suite, esn=True).wire(1400) == column(suite).wire(1400)


def test_each_field_names_the_section_of_its_own_cipher() -> None:
    def source(suite: str, name: str, **way: object) -> str:
        return next(piece.source for piece in column(suite, **way).byte_map(101) if piece.field == name)

    assert source("aes128gcm16", "IV") == "RFC 4106 3.1"
    assert source("aes128gcm16", "ICV") == "RFC 4106 6"
    assert source("chacha20poly1305", "IV") == "RFC 7634 2"
    assert source("aes256-sha256", "IV") == "RFC 3602 3"
    assert source("aes256-sha256", "ICV") == "RFC 4868 2.3"
    assert source("sha1", "ICV", protocols="ah") == "RFC 2404 2"
    assert source("aes128gcm16", "source port", natt=True) == "RFC 3948 2.1"


@pytest.mark.parametrize("way", EVERY_WAY, ids=lambda way: " ".join(map(str, way.values())))
@pytest.mark.parametrize("kind", Kind)
def test_the_far_end_opens_what_was_measured(way: dict[str, object], kind: Kind) -> None:
    """The numbers are those of sound packets: a second engine with the same keys gets the inner one back."""
    protocol, mode, version, outer, natt = way.values()
    question = Question(
        ("aes128-sha256",), (str(protocol),), (str(mode),), (bool(natt),), (4 if outer == 4 else 6,)
    )
    inner = Inner(kind, 4 if version == 4 else 6, counting)
    (variant,) = variants(question, inner.version)
    encoded = Encoded(variant, inner)
    far = engine_with(mirrored(encoded.spec))
    for size in (inner.least, 100, 1400):
        opened = far.inbound(bytearray(encoded.encode(size)), 0)
        assert isinstance(opened, bytearray)
        assert opened.endswith(encoded.packet(size)[inner.least :])
        if protocol in ("esp", "ah"):
            assert opened == encoded.packet(size)


def test_the_data_frame_of_a_map_has_a_row_for_each_field() -> None:
    frame = sim.byte_map(["aes128gcm16", "aes256-sha256"], 1400, natt=True)
    assert list(frame.columns) == [
        *("variant", "offset", "octets", "layer", "field", "value", "source", "added"),
    ]
    assert frame.groupby("variant", sort=False).octets.sum().tolist() == [1464, 1476]


def test_packet_map_reads_ah_without_keys() -> None:
    (found,) = (Encoded(one, Inner(Kind.UDP, 6, counting)) for one in variants(Question((), ("ah",)), 6))
    frame = sim.packet_map(found.encode(200))
    assert frame.groupby("layer", sort=False).octets.sum().to_dict() == {
        "IP": 40,
        "AH": 32,
        "inner IP": 40,
        "inner UDP": 160,
    }


def offsets(pieces: list[Piece]) -> list[int]:
    return [sum(piece.octets for piece in pieces[:n]) for n in range(len(pieces))]


@pytest.mark.parametrize("protocol", ["esp", "ah", "gre", "l2tp"])
@pytest.mark.parametrize("mode", ["tunnel", "transport"])
def test_a_compressed_packet_is_read_from_its_ipcomp_header(protocol: str, mode: str) -> None:
    found = column("aes128-sha256", protocols=protocol, modes=mode, ipcomp=True)
    pieces = found.byte_map(1400)
    assert [piece.offset for piece in pieces] == offsets(pieces)
    assert sum(piece.octets for piece in pieces) == found.wire(1400) < 900
    assert [(piece.field, piece.octets) for piece in pieces if piece.layer == "IPComp"] == [
        *(("next header", 1), ("flags", 1), ("CPI", 2)),
    ]


def test_what_does_not_shrink_travels_without_an_ipcomp_header() -> None:
    plain = column("aes128gcm16")
    for size, payload in ((1400, "random"), (64, "text")):
        found = column("aes128gcm16", ipcomp=True, payload=payload)
        assert found.wire(size) == plain.wire(size)
        assert not [piece for piece in found.byte_map(size) if piece.layer == "IPComp"]


def test_the_largest_packet_with_ipcomp_is_that_of_the_worst_case() -> None:
    assert column("aes128gcm16", ipcomp=True, payload="zeros").limits() == column("aes128gcm16").limits()


@pytest.mark.parametrize("protocol", ["esp", "gre", "l2tp"])
@pytest.mark.parametrize("size", [100, 999, 1000, 1001, 1400])
def test_tfc_padding_stands_behind_the_inner_packet(protocol: str, size: int) -> None:
    """RFC 4303 2.7: up to a size, and never a packet that the path does not take."""
    found = column("aes128gcm16", protocols=protocol, modes="tunnel", tfc=1000)
    pieces = found.byte_map(size)
    assert [piece.offset for piece in pieces] == offsets(pieces)
    assert sum(piece.octets for piece in pieces if piece.added) == found.cell(size).added
    shell = {"esp": 0, "gre": 24, "l2tp": 38}[protocol]
    padding = sum(piece.octets for piece in pieces if piece.field == "TFC padding")
    assert padding == max(0, 1000 - shell - size)


def test_tfc_padding_to_the_mtu_makes_all_packets_equal() -> None:
    found = column("aes128gcm16", tfc="mtu", mtu=1400)
    assert {found.wire(size) for size in range(40, 1347)} == {1400}
    assert found.limits() == column("aes128gcm16", mtu=1400).limits()
