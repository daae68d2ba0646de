"""The rule of the four nonces (RFC 7296 2.8.1)."""

from __future__ import annotations

import pytest

from sim.ike.collision import Nonces, is_redundant


@pytest.mark.parametrize(
    ("own", "others"),
    [
        ((b"\x01\x00", b"\x09\x00"), (b"\x02\x00", b"\x03\x00")),
        ((b"\x09\x00", b"\x01\x00"), (b"\x02\x00", b"\x03\x00")),
        ((b"\x05\x00", b"\x01\xff"), (b"\x02\x00", b"\x02\x00")),
        ((b"\x02\x00", b"\x01"), (b"\x01\x00", b"\x02\x00")),  # the beginning of another is the lower one
        ((b"\x7f\xff", b"\xff\xff"), (b"\x80\x00", b"\xff\xff")),
    ],
)
def test_c45_the_lowest_of_four_is_in_the_redundant_exchange(own: Nonces, others: Nonces) -> None:
    assert is_redundant(own, others)
    assert is_redundant(own[::-1], others)
    assert not is_redundant(others, own)
    assert not is_redundant(others[::-1], own)
