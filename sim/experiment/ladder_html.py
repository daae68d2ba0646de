"""A message ladder as HTML for notebooks: one table, no script, no style sheet, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from sim.experiment.ladder import facts, remarks

if TYPE_CHECKING:
    from sim.experiment.ladder import Ladder
    from sim.tunnels.trace import Passage

_TABLE = "border-collapse: collapse; font-family: sans-serif; font-size: 90%"
_TIME = "border: none; padding: 2px 8px; white-space: nowrap; vertical-align: top; text-align: {side}"
_MIDDLE = "border: none; border-left: 2px solid #333; border-right: 2px solid #333; padding: 2px 12px"
_MIDDLE_TEXT = f"{_MIDDLE}; text-align: {{side}}; max-width: 48em"
_FAINT, _LOST = "#666", "#b2182b"


def ladder_html(ladder: Ladder) -> str:
    return "".join(_parts(ladder))


def _parts(ladder: Ladder) -> Iterator[str]:
    yield f'<table style="{_TABLE}"><caption>IKE messages of {escape(ladder.connection)}</caption>'
    heads = f"<b>{escape(ladder.left)}</b>", f"<b>{escape(ladder.right)}</b>"
    yield _row(heads[0], _MIDDLE, "", heads[1])
    for passage in ladder.passages:
        side = "left" if ladder.outward(passage) else "right"
        before, after = ladder.times(passage)
        yield _row(before, _MIDDLE_TEXT.format(side=side), _message(ladder, passage), after)
    yield "</table>"


def _row(before: str, style: str, middle: str, after: str) -> str:
    left, right = (_TIME.format(side=side) for side in ("right", "left"))
    return (
        f'<tr><td style="{left}">{before}</td><td style="{style}">{middle}</td>'
        f'<td style="{right}">{after}</td></tr>'
    )


def _message(ladder: Ladder, passage: Passage) -> str:
    title = f"<b>{escape(ladder.title(passage))}</b>"
    sign = _sign(ladder, passage)
    lines = [f"{title} {sign}" if ladder.outward(passage) else f"{sign} {title}", escape(passage.payloads)]
    lines.append(f'<span style="color: {_FAINT}">{escape(facts(passage))}</span>')
    lines += [f'<span style="color: {_LOST}">{escape(text)}</span>' for text in remarks(passage)]
    return "<br>".join(line for line in lines if line)


def _sign(ladder: Ladder, passage: Passage) -> str:
    if passage.received_at >= 0:
        return "&rarr;" if ladder.outward(passage) else "&larr;"
    return f'<span style="color: {_LOST}">&times;</span>' if passage.lost else "&hellip;"
