"""Traffic selectors as sets of packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.wire.address import format_address, format_sock, pack_address
from sim.wire.selector import ANY_PORTS, OPAQUE_PORTS, Selector

SMALL = st.integers(0, 7)
RANGES = st.tuples(SMALL, SMALL).map(lambda pair: (min(pair), max(pair)))
SELECTORS = st.builds(
    lambda addresses, protocol, ports: Selector(
        _address(addresses[0]), _address(addresses[1]), protocol, ports
    ),
    RANGES,
    st.sampled_from([0, 1, 2]),
    RANGES | st.just(ANY_PORTS),
)
PACKETS = st.tuples(SMALL, st.sampled_from([1, 2, 3]), SMALL | st.just(65535))


@given(SELECTORS, SELECTORS, PACKETS)
def test_intersection_matches_what_both_match(a: Selector, b: Selector, packet: tuple[int, int, int]) -> None:
    address, protocol, port = _address(packet[0]), packet[1], packet[2]
    both = a.matches(address, protocol, port) and b.matches(address, protocol, port)
    common = a.intersect(b)
    assert both == (common is not None and common.matches(address, protocol, port))


@given(SELECTORS, SELECTORS)
def test_intersection_does_not_depend_on_the_order(a: Selector, b: Selector) -> None:
    assert a.intersect(b) == b.intersect(a)
    assert a.intersect(a) == a
    assert a.contains(b) == (a.intersect(b) == b)


def test_opaque_ports_are_inside_any_port_and_nothing_narrower() -> None:
    """RFC 7296 3.13.1."""
    host = pack_address("192.0.2.1")
    opaque = Selector.host(host, 17, OPAQUE_PORTS)
    assert Selector.host(host, 17).intersect(opaque) == opaque
    assert Selector.host(host, 17, (500, 500)).intersect(opaque) is None
    assert not any(opaque.matches(host, 17, port) for port in (0, 500, 65535))


def test_families_never_meet() -> None:
    v4, v6 = Selector.from_prefix("0.0.0.0/0"), Selector.from_prefix("::/0")
    assert v4.intersect(v6) is None
    assert not v6.matches(pack_address("192.0.2.1"), 17, 500)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (Selector.from_prefix("10.1.0.0/16"), "10.1.0.0/16"),
        (Selector.from_prefix("10.1.2.3/16"), "10.1.0.0/16"),
        (Selector.host(pack_address("2001:db8::1")), "2001:db8::1/128"),
        (Selector.from_prefix("10.0.0.1", 17, (500, 500)), "10.0.0.1/32[17/500]"),
        (Selector.from_prefix("10.0.0.1", 0, (500, 4500)), "10.0.0.1/32[any/500-4500]"),
        (Selector.from_prefix("10.0.0.1", 17, OPAQUE_PORTS), "10.0.0.1/32[17/opaque]"),
        (Selector.from_prefix("10.0.0.1", 17), "10.0.0.1/32[17/any]"),
        (Selector(pack_address("10.0.0.1"), pack_address("10.0.0.9")), "10.0.0.1-10.0.0.9"),
    ],
)
def test_text_is_as_short_as_the_selector_allows(selector: Selector, text: str) -> None:
    assert str(selector) == text


@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
def test_an_address_survives_its_text(address: bytes) -> None:
    assert pack_address(format_address(address)) == address


def test_text_that_is_no_address_is_a_value_error() -> None:
    for text in ("", "10.0.0", "10.0.0.256", "2001:db8:::1", "moon"):
        with pytest.raises(ValueError):
            pack_address(text)
    assert format_sock((pack_address("192.0.2.1"), 4500)) == "192.0.2.1[4500]"


def _address(host: int) -> bytes:
    return bytes([192, 0, 2, host])
