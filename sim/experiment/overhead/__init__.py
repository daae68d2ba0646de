"""The study of overhead: what a tunnel adds to a packet, octet by octet, and what is left of path and link.

The numbers are those of packets that the engine has sealed with a real SA, read back with its keys; WireGuard
and a VPN over TLS are formulas, and say so. The closed formula of RFC 4303 for the rest stands in the tests
alone, as a second opinion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sim.experiment.overhead.errors import OverheadError
from sim.experiment.overhead.inner import Inner, Kind
from sim.experiment.overhead.payloads import PAYLOADS, Payload, counting
from sim.experiment.overhead.sizes import sizes_of
from sim.experiment.overhead.study import Study, Terms, study
from sim.experiment.overhead.variant import Question, choice, usual, variants
from sim.units import parse_rate
from sim.wire.handling import TO_MTU
from sim.wire.ip import MAX_PACKET_BYTES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Item = TypeVar("Item", str, int)

__all__ = ["Overhead", "OverheadError", "byte_map", "overhead", "study_of"]


class Overhead(NamedTuple):
    """What `overhead` returns: `table, figure = sim.overhead(...)`."""

    table: pd.DataFrame
    figure: Figure


def overhead(
    suites: str | Sequence[str] = (),
    *,
    sizes: int | str | Iterable[int] = 1400,
    inner: str = "udp",
    ip: int = 4,
    protocols: str | Sequence[str] = (),
    modes: str | Sequence[str] = (),
    natt: bool | Sequence[bool] = False,
    outer: int | Sequence[int] = (),
    esn: bool = False,
    implicit_iv: bool = False,
    ipcomp: bool = False,
    payload: str | None = None,
    tfc: int | str = 0,
    compare: bool = False,
    mtu: int = 1500,
    rate: str | int = "1 Gbit/s",
    framing: int = 0,
) -> Overhead:
    """What each way to carry inner packets adds, as a DataFrame and a matplotlib figure.

    `suites` are strongSwan's proposal strings. `sizes` are octets of whole inner packets: 1400, [64, 1400] or
    "40..1500:20". `inner` is udp, tcp, icmp or raw over IP version `ip`. `protocols` are esp, ah, gre, l2tp
    (over ESP), iptfs, plain, wireguard, tls; `modes` tunnel and transport; several of a kind are combined
    with each other. `outer` is the IP version around, that of the inner packet if left out. With `ipcomp` the
    `payload` matters: text (English words), random or zeros. `tfc` is the size that inner packets are
    padded to, or "mtu". Without suites and
    protocols `compare` takes the usual ones. `mtu` is the path's, `rate` the link's (text, or bit/s),
    `framing` the octets that the link adds to each packet.

    A row is one variant and size: size, wire, added (octets), percent (of size), jump (whether padding jumps
    after this size), packets and on_path (how many packets and octets a path of this MTU sees),
    packets_per_s, goodput_bps (whole inner packets), largest (inner packet in one piece), mss_v4, mss_v6,
    origin ("encoded" or "formula"). The figure has lines over several sizes, and bars for one.
    OverheadError, a ValueError, says what cannot be, and what to ask instead.
    """
    from sim.experiment.overhead.plot import figure
    from sim.experiment.overhead.tables import to_frame

    found = study_of(
        suites, sizes=sizes, inner=inner, ip=ip, protocols=protocols, modes=modes, natt=natt, outer=outer,
        esn=esn, implicit_iv=implicit_iv, ipcomp=ipcomp, payload=payload, tfc=tfc, compare=compare, mtu=mtu,
        rate=rate, framing=framing,
    )  # fmt: skip
    return Overhead(to_frame(found), figure(found))


def byte_map(
    suites: str | Sequence[str] = (),
    size: int = 1400,
    *,
    inner: str = "udp",
    ip: int = 4,
    protocols: str | Sequence[str] = (),
    modes: str | Sequence[str] = (),
    natt: bool | Sequence[bool] = False,
    outer: int | Sequence[int] = (),
    esn: bool = False,
    implicit_iv: bool = False,
    ipcomp: bool = False,
    payload: str | None = None,
    tfc: int | str = 0,
) -> pd.DataFrame:
    """Every octet of one carried packet, from the outside in; arguments as for `overhead`.

    Columns: variant, offset, octets, layer, field, value, source (RFC and section), added (not a part of the
    inner packet). Rows of 0 octets are what belongs to the packet and is not sent: the salt of a nonce, the
    high half of an extended sequence number, an implicit IV.
    """
    from sim.experiment.overhead.tables import map_frame

    found = study_of(
        suites, sizes=size, inner=inner, ip=ip, protocols=protocols, modes=modes, natt=natt, outer=outer,
        esn=esn, implicit_iv=implicit_iv, ipcomp=ipcomp, payload=payload, tfc=tfc,
    )  # fmt: skip
    return map_frame(found)


def study_of(
    suites: str | Sequence[str] = (),
    *,
    sizes: int | str | Iterable[int] = 1400,
    inner: str = "udp",
    ip: int = 4,
    protocols: str | Sequence[str] = (),
    modes: str | Sequence[str] = (),
    natt: bool | Sequence[bool] = False,
    outer: int | Sequence[int] = (),
    esn: bool = False,
    implicit_iv: bool = False,
    ipcomp: bool = False,
    payload: str | None = None,
    tfc: int | str = 0,
    compare: bool = False,
    mtu: int = 1500,
    rate: str | int = "1 Gbit/s",
    framing: int = 0,
) -> Study:
    """The study behind `overhead`, which loads neither pandas nor matplotlib."""
    kind = Kind(choice(inner, [kind.value for kind in Kind], "inner packet"))
    packets = Inner(kind, ip, _payload(payload, ipcomp))
    question = Question(
        _several(suites), _several(protocols), _several(modes), [bool(one) for one in _several(natt)],
        _several(outer), esn, implicit_iv, ipcomp, _tfc(tfc),
    )  # fmt: skip
    asked = usual(question, ip) if compare and not question.names_something else variants(question, ip)
    return study(asked, packets, sizes_of(sizes), Terms(mtu, _rate(rate), framing))


def _several(value: Item | Sequence[Item]) -> tuple[Item, ...]:
    return (value,) if isinstance(value, str | int) else tuple(value)


def _payload(word: str | None, ipcomp: bool) -> Callable[[int], bytes]:
    if not ipcomp:
        if word is not None:
            raise OverheadError(
                f"a payload of {word} changes nothing without IPComp; add that, or leave this"
            )
        return counting
    return PAYLOADS[Payload(choice(word or Payload.TEXT, [kind.value for kind in Payload], "payload"))]


def _tfc(size: int | str) -> int:
    if size == "mtu":
        return TO_MTU
    if not str(size).isdecimal() or int(size) > MAX_PACKET_BYTES:
        raise OverheadError(f"TFC padding to {size!r}: give a size in octets, or mtu for what the path takes")
    return int(size)


def _rate(rate: str | int) -> int:
    if isinstance(rate, int):
        if rate < 1:
            raise OverheadError(f"a rate of {rate} bit/s: it is at least 1")
        return rate
    try:
        return parse_rate(rate)
    except ValueError as error:
        raise OverheadError(f"rate {error}") from None
