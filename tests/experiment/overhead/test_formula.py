"""Encoded packets against the closed form, at every size and in every combination."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.experiment.overhead import study_of
from sim.experiment.overhead.study import Column
from tests.experiment.overhead import formula

versions = pytest.mark.parametrize("version", [4, 6])
outers = pytest.mark.parametrize("outer", [4, 6])
with_and_without_natt = pytest.mark.parametrize("natt", [False, True], ids=["plain", "natt"])
SIZES = range(40, 1501)


@outers
@with_and_without_natt
@pytest.mark.parametrize(
    "suite", ["aes128gcm16", "aes256-sha256", "3des-sha1", "null-sha256", "aes128gcm16iiv"]
)
def test_tunnel_mode_is_the_closed_form_at_every_size(suite: str, outer: int, natt: bool) -> None:
    found = column(suite, modes="tunnel", outer=outer, natt=natt)
    assert [found.wire(size) for size in SIZES] == [
        formula.tunnel(suite, size, outer, natt) for size in SIZES
    ]


@pytest.mark.parametrize("suite", formula.SUITES)
@settings(max_examples=25)
@given(data=st.data())
def test_every_suite_is_the_closed_form(suite: str, data: st.DataObject) -> None:
    version, outer = data.draw(st.sampled_from([4, 6])), data.draw(st.sampled_from([4, 6]))
    natt, size = data.draw(st.booleans()), data.draw(st.integers(48, 9000))
    in_tunnel = column(suite, modes="tunnel", ip=version, outer=outer, natt=natt)
    in_transport = column(suite, modes="transport", ip=version, natt=natt)
    assert in_tunnel.wire(size) == formula.tunnel(suite, size, outer, natt)
    assert in_transport.wire(size) == formula.transport(suite, size, version, natt)


@versions
@outers
@pytest.mark.parametrize("mac", [*formula.MACS, *formula.GMACS])
def test_ah_is_the_closed_form(mac: str, outer: int, version: int) -> None:
    in_tunnel = column(mac, protocols="ah", modes="tunnel", ip=version, outer=outer)
    in_transport = column(mac, protocols="ah", modes="transport", ip=version)
    for size in (48, 49, 576, 1400, 1427):
        assert in_tunnel.wire(size) == formula.IP[outer] + formula.ah(mac, outer) + size
        assert in_transport.wire(size) == formula.ah(mac, version) + size


@versions
@outers
@with_and_without_natt
@pytest.mark.parametrize("mode", ["transport", "tunnel"])
@settings(max_examples=25)
@given(size=st.integers(48, 1500))
def test_gre_and_l2tp_are_the_closed_form(mode: str, natt: bool, outer: int, version: int, size: int) -> None:
    seal = formula.transport if mode == "transport" else formula.tunnel
    delivery = formula.IP[outer]
    for protocol, shell in (("gre", formula.GRE), ("l2tp", formula.UDP + formula.L2TP_PPP)):
        found = column("aes128gcm16", protocols=protocol, modes=mode, ip=version, outer=outer, natt=natt)
        assert found.wire(size) == seal("aes128gcm16", delivery + shell + size, outer, natt)


@outers
@given(mtu=st.integers(1280, 9000), data=st.data())
def test_wireguard_pads_to_16_but_not_past_the_mtu(outer: int, mtu: int, data: st.DataObject) -> None:
    found = column(protocols="wireguard", outer=outer, mtu=mtu)
    largest = mtu - formula.IP[outer] - 40
    size = data.draw(st.integers(40, largest))
    assert found.limits().largest == largest
    assert found.wire(size) == formula.wireguard(size, outer, mtu) <= mtu
    assert found.wire(largest + 1) > mtu


@given(
    suite=st.sampled_from(sorted(formula.SUITES)),
    outer=st.sampled_from([4, 6]),
    mtu=st.integers(1280, 9000),
)
def test_the_largest_packet_fits_and_the_next_does_not(suite: str, outer: int, mtu: int) -> None:
    found = column(suite, outer=outer, mtu=mtu)
    largest = found.limits().largest
    assert found.wire(largest) <= mtu < found.wire(largest + 1)
    assert (
        formula.tunnel(suite, largest, outer, False) <= mtu < formula.tunnel(suite, largest + 1, outer, False)
    )


@pytest.mark.parametrize("suite", ["aes128gcm16", "aes256-sha256", "3des-sha1"])
def test_padding_jumps_where_the_plaintext_fills_its_blocks(suite: str) -> None:
    block = max(formula.SUITES[suite].block, 4)
    assert column(suite).jumps(40, 1500) == [size for size in SIZES if (size + 2) % block == 0]


def test_nothing_jumps_where_nothing_is_padded() -> None:
    for protocol in ("plain", "ah", "tls"):
        assert column(protocols=protocol).jumps(40, 1500) == []


@outers
@given(size=st.integers(1400, 9000))
def test_what_is_cut_up_adds_headers_and_loses_nothing(outer: int, size: int) -> None:
    """RFC 791 3.2, RFC 8200 4.5: each fragment but the last carries a multiple of 8 octets."""
    found = column("aes256-sha256", outer=outer)
    cell = found.cell(size)
    header = formula.IP[outer] + (8 if outer == 6 else 0)
    data = cell.wire - formula.IP[outer]
    room = (1500 - header) // 8 * 8
    pieces = 1 if cell.wire <= 1500 else -(-data // room)
    assert cell.packets == pieces
    assert cell.on_path == (cell.wire if pieces == 1 else data + pieces * header)


def test_rates_are_those_of_the_octets_on_the_link() -> None:
    table, _ = sim.overhead("aes128gcm16", sizes=1446, rate="100 Mbit/s", framing=38)
    row = table.iloc[0]
    assert row.wire == 1500
    assert row.packets_per_s == pytest.approx(1e8 / 8 / 1538, abs=0.01)
    assert row.goodput_bps == pytest.approx(1e8 * 1446 / 1538, abs=0.01)


def column(suite: str | tuple[str, ...] = (), **settings: object) -> Column:
    """The only column of a study."""
    (found,) = study_of(suite, **settings).columns  # type: ignore[arg-type]
    return found
