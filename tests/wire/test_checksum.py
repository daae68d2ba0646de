"""The Internet checksum, its two zeros and its incremental update (RFC 1071, RFC 1624)."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from scapy.utils import checksum as scapy_checksum

from sim.wire.checksum import internet_checksum, pseudo_header_sum, update, update_field
from tests.wire.samples import WORDS

EVEN = st.binary(min_size=2, max_size=80).filter(lambda data: len(data) % 2 == 0)


def test_checksum_of_the_example_in_rfc_1071() -> None:
    """RFC 1071 section 3 sums 00 01 f2 03 f4 f5 f6 f7 to ddf2."""
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2 ^ 0xFFFF


def test_only_octets_that_are_all_zero_have_the_checksum_ffff() -> None:
    assert internet_checksum(bytes(20)) == 0xFFFF
    assert internet_checksum(b"") == 0xFFFF
    assert internet_checksum(b"\xff\xff") == 0
    assert internet_checksum(b"\x00\x01\xff\xfe") == 0


@given(st.binary(max_size=1600))
@example(bytes(1400))
@example(b"\xff" * 1400)
@example(b"\xff" * 1401)
def test_checksum_is_that_of_scapy(data: bytes) -> None:
    assert internet_checksum(data) == scapy_checksum(data)


@given(EVEN)
def test_data_that_include_their_checksum_have_the_checksum_zero(data: bytes) -> None:
    stored = internet_checksum(data).to_bytes(2, "big")
    assert internet_checksum(data + stored) == 0


@given(EVEN, st.binary(max_size=700))
def test_words_summed_before_continue_in_initial(first: bytes, second: bytes) -> None:
    initial = sum(first[i] << 8 | first[i + 1] for i in range(0, len(first), 2))
    assert internet_checksum(second, initial) == internet_checksum(first + second)


def test_update_gives_the_results_of_the_examples_in_rfc_1624() -> None:
    """RFC 1624 section 4: equation 2 gives ffff here, which is wrong; equation 3 gives 0000."""
    assert update(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(EVEN, WORDS, st.data())
def test_update_of_a_word_equals_a_checksum_computed_anew(data: bytes, new: int, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) // 2 - 1)) * 2
    changed = data[:at] + new.to_bytes(2, "big") + data[at + 2 :]
    if not any(changed):
        return  # an update cannot know that the last octet that was not zero went away
    old = int.from_bytes(data[at : at + 2], "big")
    assert update(internet_checksum(data), old, new) == internet_checksum(changed)


@given(EVEN, EVEN, st.data())
def test_update_of_a_field_equals_a_checksum_computed_anew(
    field: bytes, around: bytes, draw: st.DataObject
) -> None:
    new = draw.draw(st.binary(min_size=len(field), max_size=len(field)))
    changed = new + around
    if not any(changed):
        return
    assert update_field(internet_checksum(field + around), field, new) == internet_checksum(changed)


@given(WORDS, EVEN)
def test_a_change_and_its_reversal_restore_any_checksum_of_data(checksum: int, field: bytes) -> None:
    """0xffff and 0 are one value in one's complement; a header never has the former."""
    new = bytes(len(field) - 1) + b"\x01"
    there = update_field(checksum, field, new)
    assert update_field(there, new, field) % 0xFFFF == checksum % 0xFFFF


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16), WORDS)
def test_pseudo_header_is_summed_as_its_octets(v4: bytes, v6: bytes, length: int) -> None:
    """RFC 768 and RFC 8200 8.1 lay it out."""
    octets = v4 + v4 + bytes([0, 17]) + length.to_bytes(2, "big")
    assert internet_checksum(b"", pseudo_header_sum(v4, v4, 17, length)) == internet_checksum(octets)
    octets = v6 + v6 + length.to_bytes(4, "big") + bytes([0, 0, 0, 58])
    assert internet_checksum(b"", pseudo_header_sum(v6, v6, 58, length)) == internet_checksum(octets)
