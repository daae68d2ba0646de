"""A byte map as a reference card: from the outside in, layer by layer, with a line for each added field."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.experiment.overhead.carriers import Carrier
from sim.experiment.overhead.pieces import Piece
from sim.experiment.overhead.study import Column, Study
from sim.units import format_rate

_STEPS = 2
_ADDED, _OWN = "", "dim"


def card(study: Study, column: Column, size: int) -> RenderableType:
    """Title, map, and what follows for path, padding and link."""
    return Group(_title(study, column, size), _map(column, size), *_lines(study, column, size))


def _title(study: Study, column: Column, size: int) -> Text:
    cell = column.cell(size)
    how = "\nby its formula: the protocol itself is not simulated" if column.variant.is_computed else ""
    return Text.assemble(
        (column.variant.label, "bold"),
        f"\n{study.inner.name}, {size} bytes: {cell.wire} on the wire, ",
        f"{cell.added} added ({cell.percent:.2f} %)",
        (how, "yellow"),
    )


def _map(column: Column, size: int) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="", padding=(0, 1, 0, 0))
    table.add_column("at", justify="right")
    table.add_column("bytes", justify="right")
    table.add_column("field")
    table.add_column("what it is", overflow="fold")
    table.add_column("defined in", overflow="fold")
    sent = [piece for piece in column.byte_map(size) if piece.octets]
    for layer, group in groupby(sent, lambda piece: piece.layer):
        pieces = list(group)
        table.add_row("", str(_sum(pieces)), Text(_heading(layer, pieces), "bold"), "", _common(pieces))
        for piece in _condensed(pieces):
            _add(table, piece, _common(pieces))
    return table


def _heading(layer: str, pieces: list[Piece]) -> str:
    return layer if pieces[0].added or layer.startswith("inner") else f"{layer}, its own"


def _sum(pieces: list[Piece]) -> int:
    return sum(piece.octets for piece in pieces)


def _common(pieces: list[Piece]) -> str:
    """The section that all fields of a layer share, or nothing."""
    sources = {piece.source for piece in pieces if piece.source}
    return sources.pop() if len(sources) == 1 else ""


def _add(table: Table, piece: Piece, common: str) -> None:
    style = _ADDED if piece.added else _OWN
    source = "" if piece.source == common else piece.source
    table.add_row(str(piece.offset), str(piece.octets), f" {piece.field}", piece.value, source, style=style)


def _condensed(pieces: list[Piece]) -> Iterator[Piece]:
    """What was there before is told as header and data."""
    if pieces[0].added:
        yield from pieces
        return
    header = [piece for piece in pieces if piece.field != "data"]
    if header:
        first = header[0]
        yield Piece(first.offset, _sum(header), first.layer, "header", "", first.source, False)
    yield from (piece for piece in pieces if piece.field == "data")


def _lines(study: Study, column: Column, size: int) -> Iterator[Text]:
    for piece in column.byte_map(size):
        if not piece.octets:
            yield Text(f"Not on the wire: {piece.field}, {piece.value} ({piece.source}).")
    yield Text(limits_line(study, column))
    yield Text(padding_line(study, column, size))
    yield Text(link_line(study, column, size))


def limits_line(study: Study, column: Column) -> str:
    limits = column.limits()
    if not limits.largest:
        return f"Path MTU {study.terms.mtu}: no {study.inner.name} packet fits in one piece."
    mss = [
        f"{size} for IPv{version}"
        for version, size in ((4, limits.mss_v4), (6, limits.mss_v6))
        if size is not None
    ]
    told = f", TCP MSS {' and '.join(mss)}" if mss else ""
    return f"Path MTU {study.terms.mtu}: the largest inner packet has {limits.largest} bytes{told}."


def padding_line(study: Study, column: Column, size: int) -> str:
    """Around which sizes one byte more costs a whole block."""
    if column.variant.ipcomp:
        return "With IPComp sizes depend on the content; the largest packet is of one that does not shrink."
    if column.variant.tfc:
        return "TFC padding makes shorter packets as long, as far as the path takes them."
    span = 64
    jumps = column.jumps(max(size - span, study.inner.least), min(size + span, 65_000))
    if not jumps:
        return f"Padding: none; {column.cell(size).added} bytes are added to each packet, whatever its size."
    before, after = [n for n in jumps if n < size][-_STEPS:], [n for n in jumps if n >= size][:_STEPS]
    costs = {column.wire(n + 1) - column.wire(n) for n in jumps}
    steps = " or ".join(str(cost) for cost in sorted(costs))
    return (
        f"Padding: none at {', '.join(map(str, before + after))} bytes; "
        f"one byte more makes the packet {steps} bytes longer."
    )


def link_line(study: Study, column: Column, size: int) -> str:
    cell = column.cell(size)
    cut = f" (each is cut into {cell.packets}, {cell.on_path} bytes)" if cell.packets > 1 else ""
    rate = format_rate(study.terms.rate_bps)
    framing = f" with {study.terms.framing} bytes of framing" if study.terms.framing else ""
    goodput = f"{cell.goodput_bps / 1e6:,.1f} Mbit/s of inner packets"
    if column.variant.carrier is Carrier.IPTFS:
        cut = "; full ones follow each other there, and inner packets share them"
    return f"At {rate}{framing}: {cell.packets_per_s:,.0f} packets/s, {goodput}{cut}."
