"""The comparisons of RFC 9347 Appendix C, from packets that an engine really sealed (figures 12 to 18).

The tables are as printed. What is odd in them is named where it matters:

* Figure 13 counts for ESP with padding the padding alone where one packet suffices, but everything where an
  inner packet must be fragmented.
* In figures 15 and 16, six cells of Ethernet and of plain ESP (518, 1442 and 8942) are 18 octets larger than
  the columns' own sums, which figure 17 follows.
* The column of plain ESP adds 36 octets to Ethernet's 38, where C.1 says that a tunnel adds 54.
* Figure 18 measures ESP with padding by its payload, but IP-TFS by the whole outer packet.
* Two cells of figure 16 are cut off, not rounded: 117K and 137K.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest

from tests.ipsec.iptfs.tunnel import Tunnel, drain
from tests.ipsec.pair import datagram, make_pair, packet_of

MTUS = (576, 1500, 9000)
SIZES = (40, 128, 256, 518, 576, 1442, 1500, 8942, 9000)
ETHERNET = 14 + 4 + 20
"""Header, CRC, and preamble, start and gap (C.3.1)."""
LEAST_FRAME = 46
PLAIN_ESP = 36
"""As printed: C.1 makes it 54."""
LINE_RATE = 10**10

OVERHEAD_PERCENT = ("11.20", "4.02", "0.65")  # figure 12, whatever the inner size
OVERHEAD_OCTETS = {  # figure 13: ESP with padding, IP-TFS
    40: (482, 1406, 8906, "4.5", "1.6", "0.3"),
    128: (394, 1318, 8818, "14.3", "5.1", "0.8"),
    256: (266, 1190, 8690, "28.7", "10.3", "1.7"),
    518: (4, 928, 8428, "58.0", "20.8", "3.4"),
    576: (576, 870, 8370, "64.5", "23.2", "3.7"),
    1442: (286, 4, 7504, "161.5", "58.0", "9.4"),
    1500: (228, 1500, 7446, "168.0", "60.3", "9.7"),
    8942: (1426, 1558, 4, "1001.2", "359.7", "58.0"),
    9000: (1368, 1500, 9000, "1007.7", "362.0", "58.4"),
}
PADDED_PERCENT = {  # figure 14
    40: ("1205.0", "3515.0", "22265.0"),
    128: ("307.8", "1029.7", "6889.1"),
    256: ("103.9", "464.8", "3394.5"),
    518: ("0.8", "179.2", "1627.0"),
    576: ("100.0", "151.0", "1453.1"),
    1442: ("19.8", "0.3", "520.4"),
    1500: ("15.2", "100.0", "496.4"),
    8942: ("15.9", "17.4", "0.0"),
    9000: ("15.2", "16.7", "100.0"),
}
FRAMES = {  # figure 15: ESP with padding, IP-TFS, Ethernet, ESP
    40: (614, 1538, 9038, 47, 42, 40, 84, 114),
    128: (614, 1538, 9038, 151, 136, 129, 166, 202),
    256: (614, 1538, 9038, 303, 273, 258, 294, 330),
    518: (614, 1538, 9038, 614, 552, 523, 574, 610),
    576: (1228, 1538, 9038, 682, 614, 582, 614, 650),
    1442: (1842, 1538, 9038, 1709, 1538, 1457, 1498, 1534),
    1500: (1842, 3076, 9038, 1777, 1599, 1516, 1538, 1574),
    8942: (11052, 10766, 9038, 10599, 9537, 9038, 8998, 9034),
    9000: (11052, 10766, 18076, 10667, 9599, 9096, 9038, 9074),
}
MISPRINTED = (518, 1442, 8942)
PACKETS = {  # figure 16
    40: "2.0M 0.8M 0.1M 26.4M 29.3M 30.9M 14.9M 11.0M",
    128: "2.0M 0.8M 0.1M 8.2M 9.2M 9.7M 7.5M 6.2M",
    256: "2.0M 0.8M 0.1M 4.1M 4.6M 4.8M 4.3M 3.8M",
    518: "2.0M 0.8M 0.1M 2.0M 2.3M 2.4M 2.2M 2.1M",
    576: "1.0M 0.8M 0.1M 1.8M 2.0M 2.1M 2.0M 1.9M",
    1442: "678K 812K 138K 731K 812K 857K 844K 824K",
    1500: "678K 406K 138K 703K 781K 824K 812K 794K",
    8942: "113K 116K 138K 117K 131K 138K 139K 138K",
    9000: "113K 116K 69K 117K 130K 137K 138K 137K",
}
BANDWIDTH = {  # figure 17
    40: "6.51 2.60 0.44 84.36 93.76 98.94 47.62 35.09",
    128: "20.85 8.32 1.42 84.36 93.76 98.94 77.11 63.37",
    256: "41.69 16.64 2.83 84.36 93.76 98.94 87.07 77.58",
    518: "84.36 33.68 5.73 84.36 93.76 98.94 93.17 87.50",
    576: "46.91 37.45 6.37 84.36 93.76 98.94 93.81 88.62",
    1442: "78.28 93.76 15.95 84.36 93.76 98.94 97.43 95.12",
    1500: "81.43 48.76 16.60 84.36 93.76 98.94 97.53 95.30",
    8942: "80.91 83.06 98.94 84.36 93.76 98.94 99.58 99.18",
    9000: "81.43 83.60 49.79 84.36 93.76 98.94 99.58 99.18",
}
LATENCY = {  # figure 18, us: ESP with padding at 1500 and 9000, IP-TFS at 1500 and 9000
    40: ("1.12", "7.12", "1.17", "7.17"),
    128: ("1.05", "7.05", "1.10", "7.10"),
    256: ("0.95", "6.95", "1.00", "7.00"),
    518: ("0.74", "6.74", "0.79", "6.79"),
}


class Encoded:
    """Sizes read off encoded packets: outer ones of every MTU, and how much of inner ones each carries."""

    def __init__(self) -> None:
        self.room: dict[int, int] = {}
        for mtu in MTUS:
            tunnel = Tunnel("aes256gcm16", packet_size=mtu, l3_fixed_rate=10**9)
            tunnel.a.path_mtu = lambda _sa: 9000
            for _ in range(40):
                tunnel.send(datagram(1500))
            departures = drain(tunnel.a, tunnel, until=5 * tunnel.sender.interval)
            assert {len(departure.outer) for departure in departures} == {mtu}
            carried = 40 * 1500 - tunnel.sender.waiting
            self.room[mtu] = carried // len(departures)
            assert carried == len(departures) * self.room[mtu], "each has as many octets of inner packets"
        self.esp_room = {mtu: make_pair("aes256gcm16").a.max_inner(mtu, 0xA0000001) for mtu in MTUS}
        pair = make_pair("aes256gcm16")
        for mtu, room in self.esp_room.items():
            assert len(packet_of(pair.a.outbound(datagram(room), 0))) == mtu


@pytest.fixture(scope="module")
def encoded() -> Encoded:
    return Encoded()


def test_the_headers_are_those_of_c_1(encoded: Encoded) -> None:
    """54 octets of IP and ESP, 58 with AGGFRAG's four; the closed formula beside what was encoded."""
    esp = 20 + 8 + 2 + 8 + 16
    assert {mtu: mtu - esp for mtu in MTUS} == encoded.esp_room
    assert {mtu: mtu - esp - 4 for mtu in MTUS} == encoded.room


def test_figure_12(encoded: Encoded) -> None:
    found = [percent(Fraction(mtu - encoded.room[mtu], encoded.room[mtu])) for mtu in MTUS]
    assert tuple(found) == OVERHEAD_PERCENT


@pytest.mark.parametrize("size", SIZES)
def test_figures_13_and_14(size: int, encoded: Encoded) -> None:
    padded = [padding(size, mtu, encoded) for mtu in MTUS]
    shared = [Fraction(size * (mtu - encoded.room[mtu]), encoded.room[mtu]) for mtu in MTUS]
    assert (*padded, *(f"{float(octets):.1f}" for octets in shared)) == OVERHEAD_OCTETS[size]
    assert tuple(percent(Fraction(octets, size), 1) for octets in padded) == PADDED_PERCENT[size]


@pytest.mark.parametrize("size", SIZES)
def test_figure_15(size: int, encoded: Encoded) -> None:
    found = [int(octets) for octets in frames(size, encoded)]
    printed = list(FRAMES[size])
    assert found[:6] == printed[:6]
    excess = [has - ours for has, ours in zip(printed[6:], found[6:], strict=True)]
    assert excess == ([18, 18] if size in MISPRINTED else [0, 0])


@pytest.mark.parametrize("size", SIZES)
def test_figure_16(size: int, encoded: Encoded) -> None:
    for octets, printed in zip(frames(size, encoded), PACKETS[size].split(), strict=True):
        assert printed in told(Fraction(LINE_RATE, 8) / octets), (size, printed)


@pytest.mark.parametrize("size", SIZES)
def test_figure_17(size: int, encoded: Encoded) -> None:
    found = " ".join(percent(Fraction(size) / octets) for octets in frames(size, encoded))
    assert found == BANDWIDTH[size]


@pytest.mark.parametrize("size", LATENCY)
def test_figure_18(size: int, encoded: Encoded) -> None:
    """The time that the other octets of an outer packet take on the line.

    Those of ESP are what its payload leaves; for IP-TFS the figure takes the whole outer packet.
    """
    rest = [encoded.esp_room[mtu] - size for mtu in (1500, 9000)] + [mtu - size for mtu in (1500, 9000)]
    assert tuple(f"{octets * 8 / LINE_RATE * 1e6:.2f}" for octets in rest) == LATENCY[size]


def padding(size: int, mtu: int, encoded: Encoded) -> int:
    """C.1.2: the padding where one packet suffices, else all that is not inner packet."""
    room = encoded.esp_room[mtu]
    if size <= room:
        return room - size
    return pieces(size, mtu, encoded) * mtu - size


def pieces(size: int, mtu: int, encoded: Encoded) -> int:
    return max(1, ceil(Fraction(size - 20, encoded.esp_room[mtu] - 20)))


def frames(size: int, encoded: Encoded) -> list[Fraction]:
    """Octets on Ethernet for one inner packet, by column of figures 15 to 17."""
    padded = [Fraction(pieces(size, mtu, encoded) * (mtu + ETHERNET)) for mtu in MTUS]
    shared = [Fraction(size * (mtu + ETHERNET), encoded.room[mtu]) for mtu in MTUS]
    plain = Fraction(max(size, LEAST_FRAME) + ETHERNET)
    return [*padded, *shared, plain, Fraction(size + PLAIN_ESP + ETHERNET)]


def percent(ratio: Fraction, digits: int = 2) -> str:
    return f"{float(100 * ratio):.{digits}f}"


def told(rate: Fraction) -> set[str]:
    """A rate as the figure tells it, rounded or cut off."""
    mega, kilo = float(rate) / 1e6, float(rate) / 1e3
    return {f"{mega:.1f}M", f"{kilo:.0f}K", f"{int(kilo)}K"}
