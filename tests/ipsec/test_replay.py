"""The replay window against a naive set, and extended sequence numbers against the sender's own count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec.replay import ReplayWindow

SIZES = [32, 64, 128, 4096]


class NaiveWindow:
    """Everything ever accepted, in a set."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = {0}

    def take(self, seq: int) -> bool:
        fresh = seq not in self.seen and seq > max(self.seen) - self.size
        if fresh:
            self.seen.add(seq)
        return fresh


class RingOfBlocks:
    """The algorithm of RFC 6479 2: blocks of bits in a ring, cleared as the top enters them, never shifted.

    One block more than the window needs, so that its oldest numbers outlive the clearing. The RFC's code also
    takes the number `size` behind the top; RFC 4303 3.4.3 draws the window without it, and so does this.
    """

    BITS = 32

    def __init__(self, size: int) -> None:
        self.size = size
        self.blocks = [0] * (size // self.BITS + 1)
        self.top = 0

    def take(self, seq: int) -> bool:
        if seq == 0 or seq <= self.top - self.size:
            return False
        block, bit = divmod(seq, self.BITS)
        if seq > self.top:
            newer = block - self.top // self.BITS
            for step in range(1, min(newer, len(self.blocks)) + 1):
                self.blocks[
                    (block - newer + step) % len(self.blocks) if newer < len(self.blocks) else step - 1
                ] = 0
            self.top = seq
        fresh = not self.blocks[block % len(self.blocks)] >> bit & 1
        self.blocks[block % len(self.blocks)] |= 1 << bit
        return fresh


@pytest.mark.parametrize("size", SIZES)
@given(start=st.integers(1, 2**32 - 20000), steps=st.lists(st.integers(-4200, 4200), max_size=200))
def test_c86_window_agrees_with_the_ring_of_rfc_6479(size: int, start: int, steps: list[int]) -> None:
    window, ring = ReplayWindow(size), RingOfBlocks(size)
    seq = start
    for step in [0, *steps]:
        seq = max(0, seq + step)
        fresh = window.check(seq)
        if fresh:
            window.accept(seq)

        assert fresh == ring.take(seq)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ahead", [31, 32, 33, 4095, 4096, 4097, 2**31])
def test_c86_a_jump_of_any_width_forgets_exactly_what_it_leaves_behind(size: int, ahead: int) -> None:
    window = ReplayWindow(size)
    for seq in range(1, size + 1):
        window.accept(seq)
    window.accept(size + ahead)
    top = size + ahead
    for seq in range(max(1, top - 5000), top):
        assert window.check(seq) is (seq > max(ahead, size)), seq
    assert not window.check(size)
    assert window.seen < 1 << size, "what is remembered does not grow"


@pytest.mark.parametrize("size", SIZES)
def test_a_number_left_of_the_window_is_late_and_not_seen(size: int) -> None:
    """RFC 4303 3.4.3: only inside the window can a copy be told."""
    window = ReplayWindow(size)
    window.accept(size + 2)
    for seq, late in ((0, False), (1, True), (2, True), (3, False), (size + 2, False), (size + 3, False)):
        assert window.is_late(seq) is late
        assert window.check(seq) is (3 <= seq != size + 2)


@pytest.mark.parametrize("size", SIZES)
@given(start=st.integers(1, 2**32 - 20000), steps=st.lists(st.integers(-4200, 4200), max_size=200))
def test_c86_window_agrees_with_a_set_for_any_order_loss_and_duplication(
    size: int, start: int, steps: list[int]
) -> None:
    window, naive = ReplayWindow(size), NaiveWindow(size)
    seq = start
    for step in [0, *steps]:
        seq = max(0, seq + step)
        fresh = window.check(seq)
        if fresh:
            window.accept(seq)

        assert fresh == naive.take(seq)


@pytest.mark.parametrize("size", SIZES)
@given(order=st.permutations(range(1, 80)), repeats=st.lists(st.integers(1, 79), max_size=40))
def test_c86_every_number_within_the_window_is_accepted_once(
    size: int, order: list[int], repeats: list[int]
) -> None:
    window, naive = ReplayWindow(size), NaiveWindow(size)
    for seq in order + repeats:
        fresh = window.check(seq)
        if fresh:
            window.accept(seq)

        assert fresh == naive.take(seq)


def test_c86_a_check_alone_moves_nothing() -> None:
    window = ReplayWindow(64)
    window.accept(10)

    assert window.check(5_000_000)
    assert window.top == 10
    assert window.check(9)
    assert not window.check(10)


def test_accept_says_which_packet_is_the_newest() -> None:
    window = ReplayWindow(32)

    assert [window.accept(seq) for seq in (2, 1, 40, 20)] == [True, False, True, False]


@pytest.mark.parametrize("size", [0, 31, 4097])
def test_sizes_outside_32_to_4096_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 to 4096"):
        ReplayWindow(size)


def test_c85_sequence_number_zero_is_never_accepted() -> None:
    assert not ReplayWindow(32).check(0)
    assert not ReplayWindow(32, esn=True).check(ReplayWindow(32, esn=True).recover(0))


@pytest.mark.parametrize("size", SIZES)
@given(data=st.data())
def test_c85_high_half_is_recovered_from_the_low_one(size: int, data: st.DataObject) -> None:
    """Whatever the sender's 64-bit count is, within the window or 2^32 - size above it (RFC 4303 A2.1)."""
    top = data.draw(st.one_of(st.integers(1, 2**33), st.integers(2**63, 2**64 - 1), _near_a_carry()))
    window = ReplayWindow(size, esn=True)
    window.accept(top)
    highest = min(top + 2**32 - size, 2**64 - 1)
    seq = data.draw(st.integers(max(1, top - size + 1), highest))

    assert window.recover(seq & 0xFFFFFFFF) == seq


def test_c85_no_number_below_zero_or_beyond_64_bits_is_recovered() -> None:
    young, old = ReplayWindow(32, esn=True), ReplayWindow(32, esn=True)
    young.accept(5)
    old.accept(2**64 - 1)

    assert not young.check(young.recover(0xFFFFFFFE))
    assert not old.check(old.recover(0))


def test_without_esn_the_number_is_what_the_packet_shows() -> None:
    window = ReplayWindow(32)
    window.accept(0xFFFFFFFF)

    assert window.recover(3) == 3
    assert not window.check(3)


def _near_a_carry() -> st.SearchStrategy[int]:
    return st.builds(lambda high, off: (high << 32) + off, st.integers(1, 2**31), st.integers(-5000, 5000))
