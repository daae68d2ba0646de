"""Traffic selectors in swanctl.conf's text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.scenario.selectors import format_selectors, parse_selector, parse_selectors
from sim.wire.selector import ANY_PORTS, OPAQUE_PORTS, Selector


@pytest.mark.parametrize(
    ("text", "protocol", "ports"),
    [
        ("10.1.0.0/16", 0, ANY_PORTS),
        ("10.1.0.0/16[tcp]", 6, ANY_PORTS),
        ("10.1.0.0/16[udp/53]", 17, (53, 53)),
        ("10.1.0.0/16[17/1024-2047]", 17, (1024, 2047)),
        ("10.1.0.0/16[any/opaque]", 0, OPAQUE_PORTS),
        ("10.1.0.0/16 [ icmp / any ]", 1, ANY_PORTS),
        ("10.1.0.0/16[icmp/8]", 1, (0x800, 0x800)),
        ("10.1.0.0/16[icmp/0]", 1, (0, 0)),
        ("10.1.0.0/16[icmp/3(0)-3(255)]", 1, (0x300, 0x3FF)),
        ("10.1.0.0/16[icmp/2048]", 1, (0x800, 0x800)),
        ("10.1.0.0/16[icmp/3(4)]", 1, (0x304, 0x304)),
        ("10.1.0.0/16[icmp/0(3)-3(1)]", 1, (3, 0x301)),
        ("10.1.0.0/16[58/128-129]", 58, (0x8000, 0x8100)),
        ("10.1.0.0/16[tcp/8]", 6, (8, 8)),
        ("10.1.0.0/16[gre]", 47, ANY_PORTS),
        ("10.1.0.0/16[sctp/36412]", 132, (36412, 36412)),
    ],
)
def test_a_selector_has_addresses_a_protocol_and_ports(
    text: str, protocol: int, ports: tuple[int, int]
) -> None:
    assert parse_selector(text) == Selector.from_prefix("10.1.0.0/16", protocol, ports)


def test_a_range_need_not_be_a_network() -> None:
    assert parse_selector("10.0.0.1-10.0.0.6") == Selector(b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x06")


def test_dynamic_is_no_selector_at_all() -> None:
    assert parse_selectors(["dynamic"]) == parse_selectors("dynamic") == ()
    assert format_selectors(()) == ["dynamic"]


@pytest.mark.parametrize(
    "text",
    ["", "x", "10.0.0.0/33", "10.0.0.0/8[", "10.0.0.0/8[tcp/]", "10.0.0.0/8[tpc]", "10.0.0.0/8[256]",
     "10.0.0.0/8[tcp/70000]", "10.0.0.0/8[tcp/9-8]",
     "10.0.0.0/8[icmp/3(256)]", "10.0.0.0/8[icmp/3(]", "10.0.0.0/8[icmp/9(0)-8(0)]",
     "10.0.0.0/8[tcp/3(4)]", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0.1-"],
)  # fmt: skip
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_selector(text)


def test_dynamic_stands_alone() -> None:
    with pytest.raises(ValueError, match="alone"):
        parse_selectors(["dynamic", "10.0.0.0/8"])


_PORTS = st.sampled_from([ANY_PORTS, OPAQUE_PORTS]) | st.tuples(
    st.integers(0, 65535), st.integers(0, 65535)
).map(lambda pair: (min(pair), max(pair)))


@given(st.sampled_from([4, 16]).flatmap(lambda n: st.tuples(*[st.binary(min_size=n, max_size=n)] * 2)),
       st.integers(0, 255) | st.sampled_from([1, 58]), _PORTS)  # fmt: skip
def test_every_selector_survives_its_text(
    ends: tuple[bytes, ...], protocol: int, ports: tuple[int, int]
) -> None:
    selector = Selector(min(ends), max(ends), protocol, ports)
    assert parse_selectors(format_selectors((selector,))) == (selector,)
