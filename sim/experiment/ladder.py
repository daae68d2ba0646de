"""The IKE messages of one connection as a ladder between its two ends, in the notation of RFC 7296 1.2.

The initiator is on the left. Every IKE SA of the connection is in the same ladder, rekeyed ones and further
attempts as well. A message is followed by its packet, so what is said of its end is what happened to it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sim.scenario.world import World
from sim.tunnels.trace import Passage
from sim.units import NS_PER_S
from sim.wire.address import format_address, format_sock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 100
"""The width of the text."""
_TIME = 13
_MIDDLE = COLUMNS - 2 * _TIME - 4
_INDENT = "   "
_LOST_AT = 0.6
"""Where the arrow of a lost message ends, as a share of the way."""


@dataclass(frozen=True)
class Ladder:
    """What `left` and `right` sent each other for a connection, in the order of sending."""

    connection: str
    left: str
    right: str
    passages: tuple[Passage, ...]

    def __str__(self) -> str:
        lines = [f"IKE messages of {self.connection}, {self.left} to {self.right}"]
        if len(self._numbers) > 1:
            lines += [f"IKE SA {number}: SPIi {spi.hex()}" for spi, number in self._numbers.items()]
        gap = _MIDDLE + 2 - len(self.left) - len(self.right)
        lines.append(f"{'':{_TIME}} {self.left}{'':{max(gap, 1)}}{self.right}")
        for passage in self.passages:
            lines += self._rung(passage)
        if not self.passages:
            lines.append(f"{'':{_TIME}} no IKE message was sent")
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        from sim.experiment.ladder_html import ladder_html

        return ladder_html(self)

    def figure(self, ax: Axes | None = None) -> Figure:
        """The same as a matplotlib figure, or drawn into `ax`; the first 40 messages."""
        from sim.experiment.message_plot import draw_ladder

        return draw_ladder(self, ax)

    plot = figure

    def title(self, passage: Passage) -> str:
        """What a message is: exchange, ID, whether it is a repetition, and of which IKE SA of several."""
        kind = "response" if passage.response else "request"
        again = f", retransmission {passage.retransmission}" if passage.retransmission else ""
        which = f", IKE SA {self._numbers[passage.spi_i]}" if len(self._numbers) > 1 else ""
        return f"{passage.exchange} {kind} {passage.message_id}{again}{which}"

    def outward(self, passage: Passage) -> bool:
        """Whether it goes from left to right."""
        return passage.node == self.left

    def times(self, passage: Passage) -> tuple[str, str]:
        """When it left and arrived, the left side's first; "" for never."""
        sent, received = seconds(passage.at), seconds(passage.received_at)
        return (sent, received) if self.outward(passage) else (received, sent)

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        """The IKE SAs by their SPIi, counted by their first message."""
        spis = dict.fromkeys(passage.spi_i for passage in self.passages)
        return {spi: number for number, spi in enumerate(spis, 1)}

    def _rung(self, passage: Passage) -> list[str]:
        before, after = self.times(passage)
        lines = [f"{before:>{_TIME}} |{self._arrow(passage)}| {after}"]
        width = _MIDDLE - len(_INDENT)
        for text in (passage.payloads, facts(passage), *remarks(passage)):
            wrapped = textwrap.wrap(text, width, break_on_hyphens=False)
            lines += [f"{'':{_TIME}} |{_INDENT}{line:<{width}}|" for line in wrapped]
        return lines

    def _arrow(self, passage: Passage) -> str:
        title = self.title(passage)
        arrived = passage.received_at >= 0
        reach = _MIDDLE if arrived else max(int(_MIDDLE * _LOST_AT), len(title) + 6)
        end = (">" if self.outward(passage) else "<") if arrived else ("x" if passage.lost else "?")
        if self.outward(passage):
            return f"{f'-- {title} ':-<{reach - 1}}{end}".ljust(_MIDDLE)
        return f"{end}{f' {title} --':->{reach - 1}}".rjust(_MIDDLE)


def seconds(at: int) -> str:
    return "" if at < 0 else f"{at / NS_PER_S:.6f} s"


def facts(passage: Passage) -> str:
    """Size and addresses, and those that it arrived with if a NAT has changed them."""
    src, dst = passage.src, passage.dst
    text = f"{passage.size} octets, {format_sock(src)} > {format_sock(dst)}"
    for word, before, after in zip(("from", "at"), (src, dst), passage.arrived or (src, dst), strict=True):
        if before != after:
            text += f", arrives {word} {format_sock(after)}"
    return text


def remarks(passage: Passage) -> list[str]:
    """What went wrong with a message, and what a fault did to it."""
    found = []
    if passage.lost:
        found.append(f"lost at {passage.end}: {passage.lost}")
    elif passage.ended_at < 0:
        found.append("on its way when the run ended")
    elif passage.rejected:
        found.append(f"no effect at {passage.end}: {passage.rejected}")
    if passage.fault and passage.fault not in passage.lost:
        found.append(f"fault: {passage.fault}")
    return found


def ladder(world: World, connection: str | None = None, node: str | None = None) -> Ladder:
    """The ladder of a connection, of the only one when `connection` is None, at `node` when several have it.

    ValueError when there is no such connection, or when it has more than two ends.
    """
    name = _known(world, connection)
    all_of_it = _found(world, name, callers=True) or _found(world, name, callers=False)
    found = [ladder for ladder in all_of_it if node in (None, ladder.left, ladder.right)]
    if len(found) > 1:
        pairs = ", ".join(f"{one.left} to {one.right}" for one in found)
        raise ValueError(f"several nodes use {name}: {pairs}; name one of them as `node`")
    return found[0] if found else Ladder(name, *_ends(world, name, node), ())


def ladders(world: World) -> list[Ladder]:
    """All ladders of a run by the names that the initiators use; those without a message are left out."""
    return _found(world, None, callers=True)


def _found(world: World, connection: str | None, *, callers: bool) -> list[Ladder]:
    """Those of a connection as the initiators of its IKE SAs name it, or else as any end does."""
    found: dict[tuple[str, frozenset[str]], list[list[Passage]]] = {}
    for group in world.trace.by_spi().values():
        ends = frozenset((group[0].node, other_end(world, group)))
        for name in _names(world, group)[: 1 if callers else None]:
            if connection in (None, name):
                found.setdefault((name, ends), []).append(group)
    return [_joined(name, ends, own) for (name, ends), own in found.items()]


def _joined(name: str, ends: frozenset[str], groups: list[list[Passage]]) -> Ladder:
    left = groups[0][0].node
    (right,) = ends - {left} or {left}
    passages = sorted((one for group in groups for one in group), key=lambda one: one.at)
    return Ladder(name, left, right, tuple(passages))


def _names(world: World, group: Iterable[Passage]) -> list[str]:
    """What the ends call the connection of an IKE SA, the initiator first: as it was in the end, or began."""
    names = []
    for passage in group:
        stack = world.stacks[passage.node]
        record = stack.ledger.records.get(passage.ike_id)
        names.append(record.connection if record is not None and record.connection else passage.connection)
    return [name for name in dict.fromkeys(names) if name]


def other_end(world: World, group: list[Passage]) -> str:
    """Who is not the initiator of an IKE SA: who took part, or else whoever has the address."""
    first = group[0]
    for passage in group:
        for name in (passage.node, passage.end if passage.received_at >= 0 else first.node):
            if name != first.node:
                return name
    owners = (name for name, node in world.nodes.items() if node.is_local(first.dst[0]))
    return next(owners, format_address(first.dst[0]))


def _known(world: World, connection: str | None) -> str:
    held = world.scenario.connections
    known = list(dict.fromkeys(name for own in held.values() for name in own))
    if connection is None and len(known) == 1:
        return known[0]
    if connection is None or connection not in known:
        raise ValueError(f"name one of the connections: {', '.join(known) or 'there is none'}")
    return connection


def _ends(world: World, connection: str, node: str | None) -> tuple[str, str]:
    """The nodes of a connection that sent nothing, whoever would call first."""
    held = world.scenario.connections
    nodes = [name for name in held if connection in held[name]]
    nodes.sort(key=lambda name: (name != node, not held[name][connection].remote_addrs))
    return nodes[0], nodes[1] if len(nodes) > 1 else "?"
