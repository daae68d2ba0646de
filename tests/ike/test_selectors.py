"""Narrowing of traffic selectors (RFC 7296 2.9); their octets are tested with the payloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ike.constants import PayloadType
from sim.ike.payloads import TsPayload
from sim.ike.selectors import UnknownSelector, emit_selector, narrow, parse_selector
from sim.wire.buffer import Reader
from sim.wire.selector import ANY_PORTS, OPAQUE_PORTS, Selector
from tests.crypto.vectors import load
from tests.ike.strategies import WIRE_SELECTORS, selectors

ANDROID: dict[str, str] = load("android-unit/android_ike_unit_vectors.json")["constants"][
    "IkeTrafficSelectorTest.java"
]
ICMP, TCP, UDP = 1, 6, 17
LAN = Selector.from_prefix("10.1.0.0/16")
HOST = Selector.from_prefix("10.1.0.10")


@pytest.mark.parametrize(
    ("name", "selector"),
    {
        "TS_IPV4_ONE_HEX_STRING": Selector(bytes([192, 0, 2, 100]), bytes([192, 0, 3, 101]), 0, (16, 65520)),
        "TS_IPV4_TWO_HEX_STRING": Selector(bytes([192, 0, 4, 100]), bytes([192, 0, 4, 102])),
    }.items(),
)
def test_android_selectors_both_ways(name: str, selector: Selector) -> None:
    octets = bytes.fromhex(ANDROID[name])
    assert parse_selector(Reader(octets)) == selector
    assert emit_selector(selector) == octets


def test_c35_the_answer_is_what_both_allow() -> None:
    assert narrow([Selector.from_prefix("10.0.0.0/8")], [LAN]) == (LAN,)
    assert narrow([HOST], [LAN]) == (HOST,)
    assert narrow([Selector.from_prefix("0.0.0.0/0", TCP)], [LAN]) == (
        Selector.from_prefix("10.1.0.0/16", TCP),
    )
    assert narrow([LAN], [Selector.from_prefix("10.1.0.10", UDP, (53, 53))]) == (
        Selector.from_prefix("10.1.0.10", UDP, (53, 53)),
    )


def test_c35_nothing_in_common_is_unacceptable() -> None:
    other_network, other_family = Selector.from_prefix("10.2.0.0/16"), Selector.from_prefix("::/0")
    assert narrow([other_network, other_family], [LAN]) == ()
    assert (
        narrow([Selector.from_prefix("10.1.0.0/16", TCP)], [Selector.from_prefix("10.1.0.0/16", UDP)]) == ()
    )
    assert narrow([], [LAN]) == narrow([LAN], []) == ()


def test_c35_the_packets_selector_stays_inside_the_first_answer() -> None:
    """An offer as RFC 7296 2.9 wants it: the packet's own selector, then the initiator's whole range."""
    packet = Selector.from_prefix("192.0.1.43", UDP, (123, 123))
    whole = Selector.from_prefix("192.0.0.0/16")
    allowed = [Selector.from_prefix("192.0.2.0/24"), Selector.from_prefix("192.0.1.0/24")]
    assert narrow([packet, whole], allowed) == (allowed[1], allowed[0])


def test_c35_what_lies_inside_another_answer_is_dropped() -> None:
    assert narrow([HOST, LAN], [LAN]) == (LAN,)
    assert narrow([LAN, LAN], [LAN]) == (LAN,)


def test_c35_unknown_selectors_match_nothing() -> None:
    assert narrow([UnknownSelector(10, 0, b"secret")], [LAN]) == ()
    assert narrow([UnknownSelector(10, 0, b"secret"), HOST], [LAN]) == (HOST,)


def test_c35_icmp_types_and_codes_are_ports() -> None:
    """RFC 7296 3.13.1: the type in the high octet, the code in the low one."""
    echo_requests = Selector.from_prefix("10.1.0.0/16", ICMP, (0x0800, 0x08FF))
    assert narrow([Selector.from_prefix("0.0.0.0/0", ICMP, (0x0800, 0x0800))], [echo_requests]) == (
        Selector.from_prefix("10.1.0.0/16", ICMP, (0x0800, 0x0800)),
    )


def test_c37_any_takes_in_opaque_and_nothing_else_does() -> None:
    """RFC 7296 3.13.1: ANY encompasses OPAQUE."""
    opaque, ranged = (Selector.from_prefix("10.1.0.0/16", UDP, p) for p in (OPAQUE_PORTS, (0, 65534)))
    anything = Selector.from_prefix("10.1.0.0/16", UDP, ANY_PORTS)
    assert (
        narrow([opaque], [anything])
        == narrow([anything], [opaque])
        == narrow([opaque], [opaque])
        == (opaque,)
    )
    assert narrow([opaque], [ranged]) == narrow([ranged], [opaque]) == ()


def test_c35_an_answer_has_no_more_selectors_than_a_payload_can_count() -> None:
    offered = [Selector.host(bytes([10, 1, n, 1])) for n in range(255)]
    allowed = [Selector.from_prefix("10.1.0.0/16", TCP, (port, 60000 + port)) for port in range(4)]
    answer = narrow(offered, allowed)
    assert len(answer) == 255
    assert offered[0].contains(answer[0])
    TsPayload(PayloadType.TS_I, answer).emit()


@given(st.lists(WIRE_SELECTORS, max_size=4), st.lists(selectors(), max_size=4))
def test_c35_the_answer_is_never_wider_than_either_side(
    offered: list[Selector | UnknownSelector], allowed: list[Selector]
) -> None:
    for part in narrow(offered, allowed):
        assert any(isinstance(theirs, Selector) and theirs.contains(part) for theirs in offered)
        assert any(ours.contains(part) for ours in allowed)


@given(st.lists(selectors(), min_size=1, max_size=4), st.lists(selectors(), max_size=3))
def test_c35_an_allowed_first_selector_is_in_the_first_answer(
    offered: list[Selector], more: list[Selector]
) -> None:
    """If the packet itself is allowed, the SA must fit it (RFC 7296 2.9)."""
    assert narrow(offered, [*more, offered[0]])[0].contains(offered[0])
