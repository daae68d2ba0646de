"""What ICMP says about path MTUs, whatever it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sim.wire import icmp, udp
from sim.wire.address import pack_address
from sim.wire.icmp import IcmpError, IcmpMessage
from sim.wire.pmtu import MAX_PATHS, NO_LIMIT, PathMtus, PmtuRules, too_big

A4, B4, ROUTER4 = (pack_address(text) for text in ("192.0.2.1", "198.51.100.1", "203.0.113.1"))
A6, B6, ROUTER6 = (pack_address(text) for text in ("2001:db8::1", "2001:db8:1::1", "2001:db8:2::1"))
OCTETS = st.binary(max_size=200)


def message(mtu: int, size: int = 1400, version: int = 4, kind: IcmpError = IcmpError.TOO_BIG) -> IcmpMessage:
    src, dst, router = (A4, B4, ROUTER4) if version == 4 else (A6, B6, ROUTER6)
    quoted = udp.build((src, 1), (dst, 2), bytes(size - (28 if version == 4 else 48)), df=True)
    error = icmp.error(quoted, router, kind, mtu)
    assert error is not None
    return icmp.parse(error, 20 if version == 4 else 40)


def told(report: IcmpMessage) -> int | None:
    found = too_big(report)
    return None if found is None else found.mtu


def test_a_report_tells_the_mtu_and_the_packet_in_both_versions() -> None:
    for version, src in ((4, A4), (6, A6)):
        found = too_big(message(1300, version=version))
        assert found is not None
        assert (found.mtu, found.quoted.src, found.quoted.total_length) == (1300, src, 1400)


def test_other_errors_are_no_reports() -> None:
    for kind in (IcmpError.HOST_UNREACHABLE, IcmpError.TTL_EXCEEDED, IcmpError.PORT_UNREACHABLE):
        assert told(message(1300, kind=kind)) is None
        assert told(message(1300, version=6, kind=kind)) is None


def test_a_packet_that_would_have_fitted_and_an_mtu_that_no_link_has_are_no_reports() -> None:
    assert [told(message(mtu)) for mtu in (1399, 1400, 1401, 68, 67)] == [1399, None, None, 68, None]
    assert [told(message(mtu, version=6)) for mtu in (1280, 1279, 1400)] == [1280, None, None]


def test_without_an_mtu_it_is_the_next_lower_plateau() -> None:
    """RFC 1191 7.1, table 7-1."""
    sizes = {1500: 1492, 1492: 1006, 1400: 1006, 9000: 8166, 600: 508, 70: 68}
    assert {size: told(message(0, size)) for size in sizes} == sizes
    assert told(message(0, 1400, version=6)) is None


@given(
    st.sampled_from([4, 6]),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(min_size=4, max_size=4),
    OCTETS,
)
def test_any_message_is_taken(version: int, kind: int, code: int, rest: bytes, body: bytes) -> None:
    too_big(IcmpMessage(version, kind, code, 0, rest, body))
    too_big(IcmpMessage(version, 3 if version == 4 else 2, 4, 0, rest, body))


def test_the_smallest_is_that_of_all_paths_and_rises_when_its_path_is_forgotten() -> None:
    mtus: PathMtus[str] = PathMtus(PmtuRules())
    assert mtus.smallest == NO_LIMIT
    assert mtus.learn("a", 1400, 4, 0)
    assert mtus.learn("b", 1300, 4, 5)
    mtus.inherit("a", "c")
    mtus.forget("b")
    assert (mtus.smallest, mtus.of("a"), mtus.of("b"), mtus.of("c")) == (1400, 1400, NO_LIMIT, 1400)


def test_a_report_that_says_the_same_again_makes_it_last_longer() -> None:
    mtus: PathMtus[str] = PathMtus(PmtuRules(aging_ns=100))
    assert mtus.learn("a", 1400, 4, 0)
    assert not mtus.learn("a", 1400, 4, 50)
    assert mtus.expire(100) == []
    assert mtus.next_timer() == 150
    assert mtus.expire(150) == ["a"]
    assert mtus.next_timer() is None


def test_the_number_of_paths_is_bounded() -> None:
    mtus: PathMtus[int] = PathMtus(PmtuRules())
    for path in range(MAX_PATHS + 10):
        mtus.learn(path, 1400, 4, path)
    assert len(mtus) == MAX_PATHS
    assert (mtus.of(9), mtus.of(10)) == (NO_LIMIT, 1400)
