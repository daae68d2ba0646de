"""Addresses inside addresses, by the table of RFC 6052 2.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire.address import format_address, pack_address
from sim.wire.embedded import LENGTHS, WELL_KNOWN, Prefix64

TABLE = {
    "2001:db8::/32": "2001:db8:c000:221::",
    "2001:db8:100::/40": "2001:db8:1c0:2:21::",
    "2001:db8:122::/48": "2001:db8:122:c000:2:2100::",
    "2001:db8:122:300::/56": "2001:db8:122:3c0:0:221::",
    "2001:db8:122:344::/64": "2001:db8:122:344:c0:2:2100::",
    "2001:db8:122:344::/96": "2001:db8:122:344::192.0.2.33",
    "64:ff9b::/96": "64:ff9b::192.0.2.33",
}
"""192.0.2.33 in every length."""


@pytest.mark.parametrize(("prefix", "address"), TABLE.items())
def test_an_address_lies_where_the_rfc_has_it(prefix: str, address: str) -> None:
    text, length = prefix.split("/")
    inside = Prefix64(pack_address(text), int(length))
    assert inside.embed(pack_address("192.0.2.33")) == pack_address(address)
    assert inside.extract(pack_address(address)) == pack_address("192.0.2.33")


@given(st.sampled_from(LENGTHS), st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
def test_what_is_embedded_is_found_again(length: int, ipv4: bytes, octets: bytes) -> None:
    prefix = Prefix64(octets[: length // 8].ljust(16, b"\0")[:8] + b"\0" + octets[9:], length)
    assert prefix.extract(prefix.embed(ipv4)) == ipv4


def test_another_prefix_stands_for_nothing() -> None:
    assert WELL_KNOWN.extract(pack_address("64:ff9b:1::192.0.2.33")) is None
    assert format_address(WELL_KNOWN.embed(pack_address("192.0.2.33"))) == "64:ff9b::c000:221"
