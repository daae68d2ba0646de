"""IP-TFS in the study: RFC 9347's own overhead, alone and on a busy link."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.experiment.overhead import study_of
from tests.experiment.overhead import formula
from tests.experiment.overhead.test_formula import column

AGGFRAG = 4
both_outer = pytest.mark.parametrize("outer", [4, 6])


@both_outer
@pytest.mark.parametrize("natt", [False, True], ids=["plain", "natt"])
@settings(max_examples=40)
@given(
    suite=st.sampled_from(["aes128gcm16", "aes256-sha256", "chacha20poly1305iiv"]), size=st.integers(40, 9000)
)
def test_a_packet_alone_costs_four_octets_more_than_in_tunnel_mode(
    outer: int, natt: bool, suite: str, size: int
) -> None:
    found = column(suite, protocols="iptfs", outer=outer, natt=natt)
    assert found.wire(size) == formula.tunnel(suite, size + AGGFRAG, outer, natt)


@pytest.mark.parametrize(("mtu", "percent"), [(576, 11.20), (1500, 4.02), (9000, 0.65)])
@pytest.mark.parametrize("size", [40, 576, 1500])
def test_a_busy_link_loses_what_appendix_c_of_rfc_9347_says(mtu: int, percent: float, size: int) -> None:
    """Figure 12: 58 octets for each full packet, whatever it holds."""
    cell = column("aes128gcm16", protocols="iptfs", mtu=mtu).cell(size)
    lost = 100 * (1e9 / cell.goodput_bps - 1)
    room = mtu - 58
    assert lost == pytest.approx(100 * 58 / room, abs=0.01) == pytest.approx(percent, abs=0.01)


@pytest.mark.parametrize("size", [40, 100, 1400, 1443, 4000])
def test_the_map_names_the_header_and_the_packet(size: int) -> None:
    found = column("aes128gcm16", protocols="iptfs")
    pieces = found.byte_map(size)
    assert sum(piece.octets for piece in pieces) == found.wire(size)
    assert sum(piece.octets for piece in pieces if piece.added) == found.cell(size).added
    header = [(piece.field, piece.octets) for piece in pieces if piece.layer == "AGGFRAG"]
    assert header == [("sub-type", 1), ("reserved", 1), ("BlockOffset", 2)]


def test_what_does_not_fit_is_cut_inside_the_tunnel() -> None:
    found = column("aes128gcm16", protocols="iptfs")
    assert found.limits().largest == 1442
    cell = found.cell(2000)
    assert (cell.packets, cell.on_path) == (
        2,
        1500 + formula.tunnel("aes128gcm16", 2000 - 1442 + AGGFRAG, 4, False),
    )


def test_small_packets_travel_at_full_rate_together_and_alone_do_not() -> None:
    together, alone = (
        study_of("aes128gcm16", protocols=protocol, sizes=40).columns[0].cell(40).goodput_bps
        for protocol in ("iptfs", "esp")
    )
    assert together > 2 * alone
