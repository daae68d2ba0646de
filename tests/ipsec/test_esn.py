"""Extended sequence numbers around 2^32: the half that is not sent counts up (RFC 4303 2.2.1, App. A)."""

from __future__ import annotations

import random

import pytest

from sim.ipsec.esp import LAST_SEQ, RESYNC_AFTER, RESYNC_TRIES, EspOpener
from sim.ipsec.events import SequenceExhausted
from sim.ipsec.verdict import Reason
from sim.units import NS_PER_MS, NS_PER_S
from sim.wire.esp import Mode
from tests.ipsec.pair import (
    MODES,
    SPI_A,
    SPI_B,
    SUITES,
    Pair,
    between,
    datagram,
    make_pair,
    packet_of,
    reason_of,
)
from tests.tunnels.lab import ALICE, BOB, CHILD, Lab

CARRY = 1 << 32
WINDOWS = (32, 64, 128, 1024, 4096)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("suite", SUITES)
def test_c85_packets_on_both_sides_of_the_carry_are_opened_in_any_order(suite: str, mode: Mode) -> None:
    pair = starting_at(CARRY - 10, make_pair(suite, mode=mode, esn=True, replay_window=64))
    packets = [inner(pair, 60 + number) for number in range(20)]
    sealed = [pair.seal(packet) for packet in packets]
    assert [bytes(one[24:28]).hex() for one in sealed[8:11]] == ["fffffffe", "ffffffff", "00000000"]
    order = list(range(20))
    random.Random(1).shuffle(order)

    for index in order:
        assert pair.open(sealed[index]) == packets[index]
    for index in order:
        assert reason_of(pair.open(sealed[index])) == "replayed"
    assert pair.b.sad[SPI_B].inbound.window.top == CARRY + 9


@pytest.mark.parametrize("size", WINDOWS)
def test_c86_the_window_reaches_back_over_the_carry_as_far_as_it_is_wide(size: int) -> None:
    pair = starting_at(CARRY - size, make_pair(esn=True, replay_window=size))
    sealed = [pair.seal(datagram()) for _ in range(size + 1)]
    assert pair.open(sealed[-1]) == datagram()

    # The low half alone would name a number far ahead of the window: its check fails with that high half.
    assert reason_of(pair.open(sealed[0])) == "integrity check failed"
    for packet in sealed[1:-1]:
        assert pair.open(packet) == datagram()


@pytest.mark.parametrize("suite", SUITES)
def test_c85_the_carry_does_not_follow_a_forged_packet(suite: str) -> None:
    """A low half just past the carry is believed only if the packet is authentic with the next high half."""
    pair = starting_at(CARRY - 2, make_pair(suite, esn=True))
    forged = pair.seal(datagram())
    forged[24:28] = bytes(3) + b"\x05"
    genuine = pair.seal(datagram())

    assert reason_of(pair.open(forged)) == "integrity check failed"
    assert pair.b.sad[SPI_B].inbound.window.top == CARRY - 3
    assert pair.open(genuine) == datagram()


@pytest.mark.parametrize("high", [0, 1, 2**31])
def test_c85_a_long_gap_is_bridged_up_to_a_whole_period(high: int) -> None:
    """Loss of up to 2^32 - W packets in a row leaves no doubt about the high half (RFC 4303 A2.1)."""
    pair = starting_at((high << 32) + 7, make_pair(esn=True))
    pair.a.sad[SPI_A].outbound.wrapper.seq += CARRY - 33

    assert pair.open(pair.seal(datagram())) == datagram()


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("periods", [1, RESYNC_TRIES])
def test_c85_a_receiver_that_missed_whole_periods_finds_the_high_half_again(suite: str, periods: int) -> None:
    """RFC 4303 A3: after so many failures in a row one packet is tried with larger high halves."""
    pair = starting_at(1000, make_pair(suite, esn=True))
    pair.a.sad[SPI_A].outbound.wrapper.seq += periods * CARRY + 500
    verdicts = [pair.open(pair.seal(datagram())) for _ in range(RESYNC_AFTER + 5)]

    assert {reason_of(verdict) for verdict in verdicts[: RESYNC_AFTER - 1]} == {"integrity check failed"}
    assert verdicts[RESYNC_AFTER - 1 :] == [datagram()] * 6
    assert pair.b.sad[SPI_B].inbound.window.top == pair.a.sad[SPI_A].outbound.wrapper.seq


def test_c85_what_is_further_off_stays_lost_and_the_count_starts_again() -> None:
    pair = starting_at(1000, make_pair(esn=True))
    pair.a.sad[SPI_A].outbound.wrapper.seq += (RESYNC_TRIES + 1) * CARRY
    for _ in range(3 * RESYNC_AFTER):
        assert reason_of(pair.open(pair.seal(datagram()))) == "integrity check failed"
    assert pair.b.sad[SPI_B].inbound.window.top == 999


def test_c85_a_valid_packet_ends_the_row_of_failures() -> None:
    """RFC 4303 A3.1: forged packets among good ones cost one check each."""
    pair = make_pair(esn=True)
    opener = opener_of(pair)
    for _ in range(RESYNC_AFTER):
        genuine = pair.seal(datagram())
        forged = bytearray(genuine)
        forged[-1] ^= 1
        assert reason_of(pair.open(forged)) == "integrity check failed"
        assert opener._failures == 1
        assert pair.open(genuine) == datagram()
        assert opener._failures == 0


def test_c85_without_esn_nothing_is_tried_again() -> None:
    pair = make_pair()
    opener = opener_of(pair)
    forged = pair.seal(datagram())
    forged[-1] ^= 1
    for _ in range(2 * RESYNC_AFTER):
        assert reason_of(pair.open(forged)) == "integrity check failed"
    assert opener._failures == 0


@pytest.mark.parametrize("esn", [False, True], ids=["seq", "esn"])
@pytest.mark.parametrize("suite", SUITES)
def test_c85_no_suite_uses_a_sequence_number_twice(suite: str, esn: bool) -> None:
    """RFC 4303 3.3.3: the SA sends nothing more, and says so once."""
    last = 2**64 - 1 if esn else LAST_SEQ
    pair = starting_at(last, make_pair(suite, esn=esn))
    told: list[int] = []
    pair.a.alert = told.append
    assert pair.open(pair.seal(datagram())) == datagram()

    for now in (5, 6, 7):
        assert reason_of(pair.a.outbound(datagram(), now)) == "sequence numbers exhausted"
    assert pair.a.next_event() == SequenceExhausted(SPI_A, SPI_B)
    assert pair.a.next_event() is None
    assert told == [5], "no received packet may come that would bring IKE to look"
    assert pair.a.sad[SPI_A].outbound.drops == {Reason.SEQUENCE_EXHAUSTED: 3}


@pytest.mark.parametrize("suite", ["aes128gcm16", "aes256-sha256", "aes128gcm16iiv"])
def test_c85_used_up_numbers_end_the_sa_and_the_next_packet_asks_for_another(suite: str) -> None:
    """Also where nothing comes back."""
    lab = Lab(f"{CHILD}.esp_proposals=[{suite}]").up()
    moon = lab.stack("moon").engine
    (spi,) = moon.sad
    before = len(lab.boxes["bob"].seqs)
    moon.sad[spi].outbound.wrapper.seq = LAST_SEQ - 2
    for _ in range(6):
        lab.send(ALICE, BOB)
        lab.run(NS_PER_S)
    lab.run(100 * NS_PER_MS)

    assert spi not in moon.sad
    assert len(moon.sad) == 1
    assert lab.drops("moon") == {str(Reason.SEQUENCE_EXHAUSTED): 1}
    assert len(lab.boxes["bob"].seqs) - before == 5


def starting_at(seq: int, pair: Pair) -> Pair:
    """The next packet has this number, the last one seen is that before it."""
    pair.a.sad[SPI_A].outbound.wrapper.seq = seq - 1
    pair.b.sad[SPI_B].inbound.window.accept(seq - 1)
    return pair


def opener_of(pair: Pair) -> EspOpener:
    inbound = pair.b.sad[SPI_B].inbound
    assert inbound.window.top == 0
    assert isinstance(inbound._wrapper, EspOpener)
    return inbound._wrapper


def inner(pair: Pair, size: int) -> bytearray:
    if pair.spec.mode is Mode.TUNNEL:
        return datagram(size)
    return packet_of(between((pair.spec.local[0], 1), (pair.spec.remote[0], 2), size))
