"""What must hold once the network is calm: the same SAs at both ends, packets pass, nothing is left over."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from sim.ike.events import ChildSaUp
from sim.ike.exchanges import State
from sim.ipsec.engine import Engine
from sim.ipsec.iptfs.items import Queued
from sim.tunnels.driver import child_spec
from sim.wire import udp
from tests.ike.pair import End, Pair

if TYPE_CHECKING:
    from sim.ike.child import ChildSa
    from sim.ike.sa import IkeSa


def check_agreement(pair: Pair) -> None:
    """Both ends hold the same IKE SAs and Child SAs, and each Child SA carries packets both ways."""
    assert _ike_sas(pair.a) == _ike_sas(pair.b)
    assert _children(pair.a, own_first=True) == _children(pair.b, own_first=False)
    for end in (pair.a, pair.b):
        held = {child.spi_in for sa in end.endpoint._ctx.sas.values() for child in sa.children.values()}
        assert held == set(end.children), "the events say something else than the endpoint"
    twins = {up.spi_in: up for up in pair.b.children.values()}
    for up in pair.a.children.values():
        _check_traffic(up, twins[up.spi_out])


def check_nothing_left(end: End) -> None:
    """No index, SPI, timer or request belongs to an SA that is gone, and no exchange is unfinished."""
    ctx = end.endpoint._ctx
    sas = list(ctx.sas.values())
    assert {sa.state for sa in sas} <= {State.ESTABLISHED}
    assert ctx.by_spi == {sa.own_spi: sa for sa in sas}
    assert set(ctx.by_init.values()) <= set(sas)
    for index in (ctx.by_connection, ctx.by_peer):
        assert {sa.ike_id for group in index.values() for sa in group.values()} == set(ctx.sas)
    children = {spi: child for sa in sas for spi, child in sa.children.items()}
    assert ctx.children == children
    assert ctx._spis == set(children)
    assert set(ctx.cpis._by_spi) <= set(children)
    assert ctx.cpis._taken == set(ctx.cpis._by_spi.values())
    assert all(children.get(child.spi_in) is child for child in ctx.inner_hosts.values())
    assert (ctx.half_open, ctx.half_open_from, ctx.waiting, ctx.outbox) == (0, {}, {}, [])
    assert len(ctx.timers) == 0
    for sa in sas:
        _check_idle(sa)
    for child in children.values():
        _check_settled(child)


def check_calm(pair: Pair) -> None:
    """All of it."""
    for end in (pair.a, pair.b):
        check_nothing_left(end)
    check_agreement(pair)


def _check_idle(sa: IkeSa) -> None:
    assert not sa.requests.busy
    assert not sa.requests.outstanding
    assert not sa.conversation._serving
    assert len(sa.conversation._answered) <= sa.window
    assert sa.rekeying_ike is None
    assert not any((sa.standby, sa.wanted, sa.retired, sa._afterwards, sa.breaks))


def _check_settled(child: ChildSa) -> None:
    assert child.ike.children[child.spi_in] is child
    assert child.rekeying is None
    assert not any((child.deleting, child.replaced, child.silent))


def _ike_sas(end: End) -> Counter[tuple[bytes, bytes, bytes]]:
    return Counter((sa.spi_i, sa.spi_r, sa.keys.sk_d) for sa in end.endpoint._ctx.sas.values())


def _children(end: End, *, own_first: bool) -> Counter[tuple[object, ...]]:
    """SPIs, keys, suite, selectors and IKE SA of each Child SA, `a`'s first."""
    sas = end.endpoint._ctx.sas
    found: list[tuple[object, ...]] = []
    for sa in sas.values():
        for spi in sa.children:
            up = end.children[spi]
            sides = [(up.spi_in, up.keys_in, up.local_ts), (up.spi_out, up.keys_out, up.remote_ts)]
            found.append((*sides[:: 1 if own_first else -1], up.child, up.mode, str(up.suite), sa.spi_i))
    return Counter(found)


def _check_traffic(a: ChildSaUp, b: ChildSaUp) -> None:
    """A packet of either side comes out at the other as it went in; one for a resource is tried alone."""
    for sender, receiver in ((a, b), (b, a)):
        out, into = _engine(sender), _engine(receiver)
        packet = udp.build((sender.local_ts[0].start, 1000), (sender.remote_ts[0].start, 2000), b"probe")
        sealed = out.outbound(packet[:], 0)
        if isinstance(sealed, Queued):
            assert _aggregated(out, into) == [packet]
            continue
        assert isinstance(sealed, bytearray), sealed
        assert into.inbound(sealed, 0) == packet


def _aggregated(out: Engine, into: Engine) -> list[bytearray]:
    """What comes out of the next outer packet of an AGGFRAG SA, which leaves by its clock."""
    at = out.aggfrag.next_timer
    assert at is not None
    out.aggfrag.handle_timer(at)
    into.inbound(out.aggfrag.departures[0].outer, at)
    assert {delivery.reason for delivery in into.aggfrag.deliveries} == {None}
    return [delivery.inner for delivery in into.aggfrag.deliveries]


def _engine(up: ChildSaUp) -> Engine:
    engine = Engine(rand=random.Random(up.spi_in).randbytes)
    engine.local_addresses = (up.local[0],)
    engine.install(replace(child_spec(up), share=None), 0)
    return engine
