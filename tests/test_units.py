"""Quantities with units: exact, and with errors that say what to write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.units import (
    NS_PER_MS,
    NS_PER_S,
    NS_PER_US,
    format_duration,
    format_rate,
    format_ratio,
    format_size,
    parse_duration,
    parse_rate,
    parse_ratio,
    parse_size,
)

PARSERS: list[Callable[[str], float]] = [parse_duration, parse_rate, parse_size, parse_ratio]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("20 ms", 20 * NS_PER_MS),
        ("20ms", 20 * NS_PER_MS),
        ("  0.1 us ", 100),
        ("3 µs", 3 * NS_PER_US),
        ("165.1 s", 165_100_000_000),
        ("2 min", 120 * NS_PER_S),
        ("1.5 h", 5400 * NS_PER_S),
        ("7 ns", 7),
        ("0 s", 0),
        ("0.000000001 s", 1),
    ],
)
def test_durations_are_whole_nanoseconds(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_rate, "100 Mbit/s", 100_000_000),
        (parse_rate, "0.5 kbit/s", 500),
        (parse_rate, "10 Gbit/s", 10_000_000_000),
        (parse_rate, "1 bit/s", 1),
        (parse_size, "1400 B", 1400),
        (parse_size, "64 KiB", 65536),
        (parse_size, "1.5 kB", 1500),
        (parse_size, "2 GiB", 2 << 30),
        (parse_ratio, "0.1 %", 0.001),
        (parse_ratio, "100 %", 1.0),
        (parse_ratio, "0%", 0.0),
    ],
)
def test_other_quantities(parse: Callable[[str], float], text: str, value: float) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "problem"),
    [
        (parse_duration, "20", "'20' has no unit: write for example '20 ms'"),
        (parse_rate, "5.5", "'5.5' has no unit: write for example '5.5 Mbit/s'"),
        (parse_size, "1400", "'1400' has no unit: write for example '1400 B'"),
        (parse_ratio, "0.001", "'0.001' has no unit: write for example '0.001 %'"),
        (parse_duration, "20 mss", "unknown unit 'mss'; the units are ns, us, µs, ms, s, min, h"),
        (parse_duration, "20 MS", "did you mean 'ms'?"),
        (parse_rate, "5 mbit/s", "did you mean 'Mbit/s'?"),
        (parse_rate, "5 Mbps", "unknown unit 'Mbps'"),
        (parse_size, "5 kb", "did you mean 'kB'?"),
        (parse_duration, "at once", "write a number and a unit, such as '20 ms'"),
        (parse_duration, "", "write a number and a unit"),
        (parse_duration, "-1 s", "'-1 s' is negative: write a number from 0 on and a unit"),
        (parse_ratio, " -0.5 %", "is negative: write a number from 0 on and a unit, such as '0.1 %'"),
        (parse_rate, "-x", "write a number and a unit"),
        (parse_duration, "1e3 s", "unknown unit 'e3 s'"),
        (parse_duration, "1,5 s", "unknown unit ',5 s'"),
        (parse_duration, "0.1 ns", "no whole number of ns"),
        (parse_size, "0.3 B", "no whole number of B"),
        (parse_rate, "0 Mbit/s", "greater than zero"),
        (parse_ratio, "100.1 %", "at most 100 %"),
        (parse_duration, "٣ s", "write a number and a unit"),
    ],
)
def test_an_error_says_what_to_write(parse: Callable[[str], float], text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_duration(0), "0 ns"),
        (format_duration(165_100_000_000), "165.1 s"),
        (format_duration(1_234), "1.234 us"),
        (format_duration(999_999_999), "999.999999 ms"),
        (format_duration(-1_500_000), "-1.5 ms"),
        (format_rate(1_000_000_000), "1 Gbit/s"),
        (format_rate(1_536_000), "1.536 Mbit/s"),
        (format_rate(64), "64 bit/s"),
        (format_size(1400), "1400 B"),
        (format_size(1 << 20), "1 MiB"),
        (format_size(0), "0 B"),
        (format_ratio(0.001), "0.1 %"),
        (format_ratio(1 / 3), "33.33333333333333 %"),
    ],
)
def test_values_print_in_their_natural_unit(text: str, expected: str) -> None:
    assert text == expected


@given(st.integers(0, 10**21))
def test_printing_loses_nothing(value: int) -> None:
    assert parse_duration(format_duration(value)) == value
    assert parse_size(format_size(value)) == value
    if value:
        assert parse_rate(format_rate(value)) == value


@given(st.floats(0, 1))
def test_printing_a_ratio_loses_nothing(ratio: float) -> None:
    assert parse_ratio(format_ratio(ratio)) == ratio


@given(st.text(max_size=12) | st.from_regex(r"[0-9.]{1,6} ?[a-zA-Z/%]{0,6}", fullmatch=True))
def test_any_text_gives_a_value_or_an_error_that_quotes_it(text: str) -> None:
    for parse in PARSERS:
        value, problem = _tried(parse, text)
        assert value >= 0
        assert problem is None or repr(text) in problem


def _tried(parse: Callable[[str], float], text: str) -> tuple[float, str | None]:
    try:
        return parse(text), None
    except ValueError as error:
        return 0, str(error)
