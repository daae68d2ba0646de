"""The only parser and printer of quantities with units: "20 ms", "100 Mbit/s", "1400 B", "0.1 %".

Time is integer nanoseconds everywhere, a rate integer bit/s, a size integer octets and a ratio a float
from 0 to 1. A unit is never optional. Parsing is exact: what is no whole number of ns, bit/s or octets
is refused, and printing loses nothing, so that `parse_x(format_x(value)) == value`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_DURATIONS = {
    "ns": 1,
    "us": NS_PER_US,
    "µs": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_RATES = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9, "Tbit/s": 10**12}
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_RATIOS = {"%": Fraction(1, 100)}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(\D.*?)?\s*", re.ASCII | re.DOTALL)


def parse_duration(text: str) -> int:
    """ "20 ms" in ns; ValueError says what to write."""
    return _whole(text, _DURATIONS, "20 ms", "ns")


def parse_rate(text: str) -> int:
    """ "100 Mbit/s" in bit/s, at least 1; ValueError says what to write."""
    rate = _whole(text, _RATES, "100 Mbit/s", "bit/s")
    if rate == 0:
        raise ValueError(f"{text!r}: a rate must be greater than zero")
    return rate


def parse_size(text: str) -> int:
    """ "1400 B" or "64 KiB" in octets; ValueError says what to write."""
    return _whole(text, _SIZES, "1400 B", "B")


def parse_ratio(text: str) -> float:
    """ "0.1 %" as 0.001; a plain number is refused, and so is more than 100 %."""
    ratio = _parse(text, _RATIOS, "0.1 %")
    if ratio > 1:
        raise ValueError(f"{text!r}: a ratio is at most 100 %")
    return float(ratio)


def format_duration(ns: int) -> str:
    """The duration in the largest of s, ms, us and ns that makes it at least 1: "165.1 s"."""
    return _format(ns, _DURATIONS, ("s", "ms", "us", "ns"))


def format_rate(bps: int) -> str:
    return _format(bps, _RATES, ("Gbit/s", "Mbit/s", "kbit/s", "bit/s"))


def format_size(octets: int) -> str:
    """The size in the largest of GiB, MiB and KiB that divides it, or else in B."""
    for unit in ("GiB", "MiB", "KiB"):
        if octets and octets % _SIZES[unit] == 0:
            return f"{octets // _SIZES[unit]} {unit}"
    return f"{octets} B"


def format_ratio(ratio: float) -> str:
    """0.001 as "0.1 %", in the fewest digits that name this very float."""
    return f"{_decimal(Fraction(repr(ratio)) * 100)} %"


def _whole(text: str, units: Mapping[str, int], example: str, base: str) -> int:
    value = _parse(text, units, example)
    if value.denominator != 1:
        raise ValueError(f"{text!r} is no whole number of {base}")
    return value.numerator


def _parse(text: str, units: Mapping[str, int] | Mapping[str, Fraction], example: str) -> Fraction:
    found = _QUANTITY.fullmatch(text)
    known = ", ".join(units)
    if found is None and text.strip()[:1] == "-" and _QUANTITY.fullmatch(text.strip()[1:]):
        raise ValueError(f"{text!r} is negative: write a number from 0 on and a unit, such as {example!r}")
    if found is None:
        raise ValueError(f"{text!r}: write a number and a unit, such as {example!r} (units: {known})")
    number, unit = found.groups()
    if unit is None:
        raise ValueError(
            f"{text!r} has no unit: write for example {number + example[example.index(' ') :]!r}"
        )
    if unit not in units:
        raise ValueError(f"{text!r}: unknown unit {unit!r}; {_suggest(unit, units)}the units are {known}")
    return Fraction(number) * units[unit]


def _suggest(unit: str, units: Mapping[str, int] | Mapping[str, Fraction]) -> str:
    same = [name for name in units if name.casefold() == unit.casefold()]
    return f"did you mean {same[0]!r}? " if len(same) == 1 else ""


def _format(value: int, units: Mapping[str, int], order: tuple[str, ...]) -> str:
    unit = next((name for name in order if abs(value) >= units[name]), order[-1])
    return f"{_decimal(Fraction(value, units[unit]))} {unit}"


def _decimal(value: Fraction) -> str:
    """All decimal digits of a fraction whose denominator divides a power of ten."""
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = abs(int(value * 10**digits))
    sign = "-" if value < 0 else ""
    if not digits:
        return f"{sign}{whole}"
    text = str(whole).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"
