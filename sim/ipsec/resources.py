"""Several SAs for the same traffic, one for each resource of the host that sends (RFC 9611).

The policy leads to the SA that all resources may use. A flow belongs to a resource by a hash; if that has an
SA, its packets take it, else the common one, and the first of them asks for one. Packets arrive on any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.ipsec.events import Event, ResourceWanted
from sim.ipsec.spec import ChildSpec
from sim.ipsec.traffic import Traffic
from sim.wire.resource import ALL, cpu_of, scattered_port

if TYPE_CHECKING:
    from sim.ipsec.sad import Pair

_Group = tuple[object, ...]


class Resources:
    """Of one node: the pairs that are bound to a CPU, the one to send on last, and what was asked for."""

    def __init__(self, report: Callable[[Event], None], alert: Callable[[int], None]) -> None:
        """`alert` is called with the time when something is asked for."""
        self._report = report
        self._alert = alert
        self._bound: dict[_Group, dict[int, list[Pair]]] = {}
        self._asked: dict[tuple[int, int], _Group] = {}

    def add(self, pair: Pair, *, waits: bool = False) -> None:
        """A pair for one CPU: the newest is sent on, but one that `waits` only when it is the last."""
        same = self._bound.setdefault(_group(pair), {}).setdefault(_cpu(pair), [])
        same.insert(0 if waits else len(same), pair)

    def prefer(self, pair: Pair) -> None:
        """Send on this one from now on, if it is still there."""
        if self.discard(pair):
            self.add(pair)

    def discard(self, pair: Pair) -> bool:
        """Send nothing more on a pair; whether it was there. Its CPU may ask for another one."""
        group, cpu = _group(pair), _cpu(pair)
        same = self._bound.get(group, {}).get(cpu, [])
        if pair not in same:
            return False
        same.remove(pair)
        for key in [key for key, asker in self._asked.items() if key[1] == cpu and asker == group]:
            del self._asked[key]
        return True

    def serving(self, common: Pair, traffic: Traffic) -> Pair:
        """The pair for a flow that the policy leads to `common`."""
        found = self._bound.get(_group(common), {}).get(self._cpu_for(common, traffic), ())
        near = [pair for pair in found if pair.outbound.spec.remote == common.outbound.spec.remote]
        return near[-1] if near else common

    def want(self, common: Pair, traffic: Traffic, now: int) -> None:
        """Ask for an SA of a flow's own CPU, once."""
        cpu = self._cpu_for(common, traffic)
        key = common.inbound.spi, cpu
        if key not in self._asked:
            self._asked[key] = _group(common)
            self._report(ResourceWanted(*key))
            self._alert(now)

    def forget(self, common: Pair) -> None:
        """The common pair is gone: whoever follows it may ask again."""
        for key in [key for key in self._asked if key[0] == common.inbound.spi]:
            del self._asked[key]

    @staticmethod
    def _cpu_for(common: Pair, traffic: Traffic) -> int:
        share = common.outbound.spec.share
        assert share is not None  # by the caller
        src, dst, protocol, src_port, dst_port = traffic
        return cpu_of(src + dst + f"{protocol} {src_port} {dst_port}".encode(), share.cpus)


def source_port(spec: ChildSpec) -> int:
    """Which port ESP in UDP leaves from: that of the IKE SA, or one for this SA alone."""
    share = spec.share
    scattered = share is not None and share.scatter and share.is_bound
    return scattered_port(spec.spi_out) if scattered else spec.local[1]


def _group(pair: Pair) -> _Group:
    spec = pair.outbound.spec
    return spec.connection, spec.child, spec.local_ts, spec.remote_ts


def _cpu(pair: Pair) -> int:
    share = pair.outbound.spec.share
    return ALL if share is None else share.cpu
