"""Outer packets in order again, and when one is given up (RFC 9347 2.2.3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.iptfs.items import Aggregate
from sim.ipsec.iptfs.reorder import Reorder


def arrive(window: Reorder, *numbers: int, at: int = 0) -> list[int | None]:
    """The numbers that are ready after each arrival; None is a loss."""
    ready: list[int | None] = []
    for number in numbers:
        window.put(Aggregate(bytearray(), number, at, False))
        ready += said(window, at)
    return ready


def said(window: Reorder, now: int) -> list[int | None]:
    return [None if packet is None else packet.seq for packet in window.ready(now)]


def test_packets_in_order_do_not_wait() -> None:
    assert arrive(Reorder(3, 1000), 1, 2, 3) == [1, 2, 3]


def test_a_late_packet_within_the_window_takes_its_place() -> None:
    window = Reorder(3, 1000)
    assert arrive(window, 2, 3, 4) == []
    assert arrive(window, 1) == [1, 2, 3, 4]


def test_one_packet_beyond_the_window_means_that_the_first_is_lost() -> None:
    window = Reorder(3, 1000)
    assert arrive(window, 2, 3, 4, 5) == [None, 2, 3, 4, 5]
    assert not window.put(Aggregate(bytearray(), 1, 0, False)), "its turn is over"


def test_only_as_many_are_given_up_as_the_window_demands() -> None:
    window = Reorder(3, 1000)
    assert arrive(window, 6) == [None], "1 and 2 are lost, 3 to 5 may still come"
    assert arrive(window, 3, 4, 5) == [3, 4, 5, 6]


def test_a_window_of_0_waits_for_nothing() -> None:
    assert arrive(Reorder(0, 1000), 2, 1, 3) == [None, 2, 3]


def test_a_packet_waits_no_longer_than_the_drop_time() -> None:
    window = Reorder(3, 1000)
    assert arrive(window, 2, at=500) == []
    assert arrive(window, 4, at=900) == []
    assert window.next_timer == 1500
    assert arrive(window, at=1499) == []
    assert said(window, 1500) == [None, 2]
    assert window.next_timer == 1900
    assert said(window, 1900) == [None, 4]
    assert window.next_timer is None


@given(st.permutations(range(1, 12)), st.integers(0, 12))
def test_what_comes_out_is_in_order_and_complete_if_the_window_is_wide(order: list[int], size: int) -> None:
    window = Reorder(size, 1000)
    out = arrive(window, *order)
    out += said(window, 2000)
    seen = [number for number in out if number is not None]
    assert seen == sorted(set(seen))
    if size >= 11:
        assert seen == list(range(1, 12))
