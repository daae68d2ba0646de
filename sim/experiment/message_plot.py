"""The IKE messages of one connection as a ladder between its two ends, in the notation of RFC 7296 1.2."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.experiment.drawing import FAINT, INK, LOST, TUNNEL, axes_for
from sim.experiment.result import Result
from sim.tunnels.narrate import LogEntry

WIDTH = 8.0
LINE = 0.17
"""The height of a line of text in inches."""
WRAP = 96
MOST = 40
"""More messages than this make no picture; the first ones are shown."""
_AGAIN = " (again)"


@dataclass(slots=True)
class Message:
    """One datagram; `received` is None when it got lost, or had no effect at the peer."""

    sent: LogEntry
    received: LogEntry | None = None

    @property
    def title(self) -> str:
        head = self.sent.detail.split(" {", 1)[0]
        again = ", sent again" if self.sent.detail.endswith(_AGAIN) else ""
        return f"{head}{again}: {self.sent.size} octets"

    @property
    def payloads(self) -> list[str]:
        inside = self.sent.detail.removesuffix(_AGAIN).split("{ ", 1)[1].removesuffix(" }")
        return textwrap.wrap(inside, WRAP, break_long_words=False)


def messages(result: Result, connection: str | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw the messages of a connection, of the only one when `connection` is None; time runs downwards.

    Each arrow has the message's exchange, its size from the IKE header on, its payloads, and the times
    of sending and of arrival; the distance between arrows means nothing. A message that never arrived ends
    half way. ValueError when there is no such connection.
    """
    a, b = _ends(result, connection)
    shown = list(conversation(result, a, b))
    rest = len(shown) - MOST
    shown = shown[:MOST]
    heights = [(len(message.payloads) + 2.8) * LINE for message in shown]
    total = sum(heights) + 0.75
    figure, ax = axes_for(ax, WIDTH, total)
    ax.set(xlim=(-1.25, WIDTH - 1.25), ylim=(-total + 0.45, 0.3))
    ax.axis("off")
    _draw_lines(ax, (a, b), -total + 0.55)
    y = -0.15
    for message, height in zip(shown, heights, strict=True):
        _draw(ax, message, a, y, height)
        y -= height
    if rest > 0:
        ax.text(RIGHT / 2, y, f"... and {rest} more", ha="center", fontsize=8, color=FAINT)
    return figure


def conversation(result: Result, a: str, b: str) -> Iterator[Message]:
    """What two nodes sent each other, each message with its arrival.

    An arrival belongs to the last message before it with the same content. At a node with several
    connections, one that never arrived counts when others to the same address did.
    """
    log = [entry for entry in result.world.log if entry.event in ("ike sent", "ike received")]
    found = {node: [Message(entry) for entry in log if _is(entry, node, "ike sent")] for node in (a, b)}
    for node, peer in ((a, b), (b, a)):
        for arrival in (entry for entry in log if _is(entry, node, "ike received")):
            origins = [message for message in found[peer] if _fits(message, arrival)]
            if origins:
                origins[-1].received = arrival
    for node, sent in found.items():
        if len(result.world.scenario.connections[node]) > 1:
            peers = {message.sent.dst for message in sent if message.received}
            found[node] = [message for message in sent if message.sent.dst in peers]
    yield from sorted([*found[a], *found[b]], key=lambda message: message.sent.at)


def _is(entry: LogEntry, node: str, event: str) -> bool:
    return entry.node == node and entry.event == event


def _fits(message: Message, arrival: LogEntry) -> bool:
    sent = message.sent
    same = sent.size == arrival.size and sent.detail.removesuffix(_AGAIN) == arrival.detail
    return same and sent.at <= arrival.at and message.received is None


def _ends(result: Result, connection: str | None) -> tuple[str, str]:
    """The nodes that hold the connection, its initiator on the left."""
    known = {name: None for held in result.world.scenario.connections.values() for name in held}
    if connection is None and len(known) == 1:
        connection = next(iter(known))
    if connection not in known:
        raise ValueError(f"name one of the connections: {', '.join(known) or 'there is none'}")
    held = result.world.scenario.connections
    nodes = [node for node in held if connection in held[node]]
    nodes.sort(key=lambda node: not held[node][connection].remote_addrs)
    if len(nodes) != 2:
        raise ValueError(f"{connection} has {len(nodes)} ends: {', '.join(nodes)}")
    return nodes[0], nodes[1]


RIGHT = WIDTH - 2.5
"""Where the responder's line is; the initiator's is at 0."""


def _draw_lines(ax: Axes, names: tuple[str, str], bottom: float) -> None:
    for x, name in zip((0.0, RIGHT), names, strict=True):
        ax.plot([x, x], [0.0, bottom], color=INK, linewidth=1.2)
        ax.text(x, 0.08, name, ha="center", va="bottom", fontsize=10, fontweight="bold", color=INK)


def _draw(ax: Axes, message: Message, left: str, y: float, height: float) -> None:
    """One arrow of the ladder: title above it, payloads below it, times at its ends."""
    outward = message.sent.node == left
    start, end = (0.0, RIGHT) if outward else (RIGHT, 0.0)
    title, base = y - 0.5 * LINE, y - 1.25 * LINE
    slope = 0.35 * LINE
    colour = TUNNEL if message.received else LOST
    stop = end if message.received else (start + end) / 2
    ax.annotate(
        "", (stop, base - slope), (start, base),
        arrowprops={"arrowstyle": "-|>" if message.received else "-", "color": colour, "shrinkA": 0,
                    "shrinkB": 0, "linewidth": 1.4},
    )  # fmt: skip
    if message.received is None:
        ax.plot(stop, base - slope, "x", color=LOST, markersize=8, markeredgewidth=2)
    ax.text(RIGHT / 2, title, message.title, ha="center", va="center", fontsize=8.5, color=INK)
    text = "\n".join(message.payloads)
    ax.text(RIGHT / 2, base - 0.8 * LINE, text, ha="center", va="top", fontsize=7.5, color=FAINT)
    _time(ax, message.sent, start, base)
    if message.received is not None:
        _time(ax, message.received, end, base - slope)


def _time(ax: Axes, entry: LogEntry, x: float, y: float) -> None:
    ha, gap = ("right", -0.1) if x == 0 else ("left", 0.1)
    ax.text(x + gap, y, f"{entry.at / 1e9:.6f} s", ha=ha, va="center", fontsize=7.5, color=INK)
