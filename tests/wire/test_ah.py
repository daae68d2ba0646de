"""The Authentication Header's octets (RFC 4302 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire import ah
from sim.wire.buffer import WireError

SAMPLE = bytes.fromhex("3204 0000 00001234 00000007 a1a2a3a4a5a6a7a8a9aaabac")
"""AH of 24 octets before ESP, by hand after the diagram: length 24/4 - 2 = 4."""


def test_fields_and_octets() -> None:
    header = ah.parse(SAMPLE, 0)
    assert header == ah.AuthHeader(next_header=50, size=24, spi=0x1234, seq=7)

    out = bytearray(b"\xa5" * 24)
    ah.emit(out, 0, header)
    assert out[:12] == SAMPLE[:12]
    assert out[12:] == b"\xa5" * 12


def test_truncation_at_every_length() -> None:
    for size in range(len(SAMPLE)):
        with pytest.raises(WireError):
            ah.parse(SAMPLE[:size], 0)


@pytest.mark.parametrize("words", [0, 250])
def test_a_length_that_cannot_be(words: int) -> None:
    """Shorter than the fixed fields, or longer than what is there."""
    with pytest.raises(WireError, match="octets"):
        ah.parse(SAMPLE[:1] + bytes((words,)) + SAMPLE[2:], 0)


@pytest.mark.parametrize("size", [8, 13, 1032])
def test_no_header_has_such_a_size(size: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        ah.emit(bytearray(2000), 0, ah.AuthHeader(6, size, 1, 1))


@given(st.binary(max_size=64), st.integers(0, 80))
def test_any_octets_are_a_header_or_a_wire_error(data: bytes, offset: int) -> None:
    try:
        header = ah.parse(data, offset)
    except WireError:
        return
    assert offset + header.size <= len(data)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_round_trip(next_header: int, words: int, spi: int, seq: int) -> None:
    header = ah.AuthHeader(next_header, max(12, (words + 2) * 4), spi, seq)
    out = bytearray(b"\xa5" * header.size)
    ah.emit(out, 0, header)
    assert ah.parse(out, 0) == header


@pytest.mark.parametrize(("icv", "v4", "v6"), [(12, 24, 24), (16, 28, 32), (24, 36, 40), (32, 44, 48)])
def test_c89_size_is_a_multiple_of_4_or_8(icv: int, v4: int, v6: int) -> None:
    assert (ah.size_with(icv, 4), ah.size_with(icv, 6)) == (v4, v6)
