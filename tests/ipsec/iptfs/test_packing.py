"""Cutting inner packets into payloads and putting them together again (RFC 9347 2.2, Appendix A)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.iptfs.items import Queued
from sim.ipsec.iptfs.packer import Packer
from sim.ipsec.iptfs.unpacker import Unpacker
from sim.ipsec.verdict import Reason
from sim.wire import aggfrag
from tests.ipsec.pair import datagram


def test_payloads_and_offsets_are_those_of_figure_11() -> None:
    """Appendix A: packets of 750, 750, 60, 240 and 3000 octets in payloads of 1400 beside the header."""
    packer = filled(750, 750, 60, 240, 3000)
    pulled = [packer.pull(1400) for _ in range(4)]
    assert [offset for offset, _, _ in pulled] == [0, 100, 2000, 600]
    assert [len(blocks) for _, blocks, _ in pulled] == [1400, 1400, 1400, 600]
    assert [tags for _, _, tags in pulled] == [(0,), (1, 2, 3), (), (4,)]


def test_whole_packets_wait_for_a_payload_that_holds_them() -> None:
    packer = filled(750, 750, 600, 60, whole=True)
    pulled = [packer.pull(1400) for _ in range(2)]
    assert [(offset, len(blocks)) for offset, blocks, _ in pulled] == [(0, 750), (0, 1350)]
    assert packer.octets == 60


def test_the_queue_takes_no_more_than_its_limit() -> None:
    packer = Packer(1000, whole=False)
    assert [packer.put(bytearray(size), Queued()) for size in (600, 401, 400, 1)] == [
        True,
        False,
        True,
        False,
    ]
    packer.pull(100)
    assert packer.put(bytearray(100), Queued())


@given(st.lists(st.integers(28, 3000), max_size=20), st.integers(7, 2000), st.booleans())
def test_what_was_cut_comes_together_again(sizes: list[int], room: int, padded: bool) -> None:
    """Any packets in payloads of any size, with padding behind or not, and pauses of padding between them."""
    packer, packets = filled(*sizes), [inner(size) for size in sizes]
    unpacker, failed = unpacker_with_failures()
    found = []
    for _ in range(sum(sizes) // room + 1):
        offset, blocks, tags = packer.pull(room)
        if padded:
            blocks += bytes(room - len(blocks))
            assert unpack(unpacker, 0, bytes(room)) == [], "all padding"
        arrived = unpack(unpacker, offset, bytes(blocks))
        assert [index for index, _ in arrived] == list(range(len(tags)))
        found += [packet for _, packet in arrived]
    assert found == packets
    assert failed == {}


@given(st.lists(st.integers(28, 900), min_size=1, max_size=12), st.integers(60, 500), st.data())
def test_a_lost_payload_costs_only_what_was_in_it(sizes: list[int], room: int, data: st.DataObject) -> None:
    packer, unpacker = filled(*sizes), unpacker_with_failures()[0]
    pulled = [packer.pull(room) for _ in range(-(-sum(sizes) // room))]
    lost = data.draw(st.sets(st.sampled_from(range(len(pulled)))))
    touched = set()
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    for n in lost:
        inside = range(n * room, (n + 1) * room)
        touched |= {i for i, end in enumerate(ends) if inside.start < end and end - sizes[i] < inside.stop}
    found = []
    for n, (offset, blocks, tags) in enumerate(pulled):
        if n in lost:
            unpacker.lose()
        else:
            found += [(tags[index], packet) for index, packet in unpack(unpacker, offset, bytes(blocks))]
    assert found == [(i, inner(size)) for i, size in enumerate(sizes) if i not in touched]


@given(st.lists(st.tuples(st.integers(0, 70), st.binary(max_size=60)), max_size=8))
def test_arbitrary_payloads_give_packets_or_a_count(payloads: list[tuple[int, bytes]]) -> None:
    """Whatever the peer claims, what comes out is as long as it says itself."""
    unpacker, failed = unpacker_with_failures()
    for offset, blocks in payloads:
        for _, packet in unpack(unpacker, offset, blocks):
            assert aggfrag.block_length(packet) == len(packet)
    assert set(failed) <= {Reason.MALFORMED_AGGFRAG}


@pytest.mark.parametrize(("second", "failures"), [(50, 0), (49, 1), (51, 1), (0, 1)])
def test_an_offset_that_contradicts_the_packet_costs_that_packet(second: int, failures: int) -> None:
    """RFC 9347 2.5: the next data block begins where BlockOffset says, whatever became of the last one."""
    unpacker, failed = unpacker_with_failures()
    one, two = inner(100), inner(60)
    assert unpack(unpacker, 0, bytes(one[:50])) == []
    rest = bytes(one[50:])[:second] + bytes(max(0, second - 50)) + bytes(two)
    found = [packet for _, packet in unpack(unpacker, second, rest)]
    assert found == ([one] if not failures else []) + [two]
    assert failed[Reason.MALFORMED_AGGFRAG] == failures


def test_a_packet_that_is_to_go_on_longer_than_it_says_is_given_up() -> None:
    unpacker, failed = unpacker_with_failures()
    packet = inner(100)
    unpack(unpacker, 0, bytes(packet[:40]))
    unpack(unpacker, 100, bytes(20))
    assert failed == {Reason.MALFORMED_AGGFRAG: 1}


def test_an_empty_payload_says_nothing() -> None:
    unpacker, failed = unpacker_with_failures()
    packet = inner(100)
    assert unpack(unpacker, 0, bytes(packet[:40])) == unpack(unpacker, 0, b"") == []
    assert unpack(unpacker, 60, bytes(packet[40:])) == [(0, packet)]
    assert failed == {}


def inner(size: int) -> bytearray:
    return datagram(size)


def filled(*sizes: int, whole: bool = False) -> Packer:
    packer = Packer(1 << 20, whole=whole)
    for tag, size in enumerate(sizes):
        item = Queued()
        item.tag = tag
        assert packer.put(inner(size), item)
    return packer


def unpacker_with_failures() -> tuple[Unpacker, Counter[Reason]]:
    failed: Counter[Reason] = Counter()

    def note(reason: Reason) -> None:
        failed[reason] += 1

    return Unpacker(note), failed


def unpack(unpacker: Unpacker, offset: int, blocks: bytes) -> list[tuple[int, bytearray]]:
    payload = bytearray(aggfrag.emit(offset) + blocks)
    return unpacker.take(payload, aggfrag.parse(payload))
