"""A study as rows, CSV, JSON and DataFrames."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from sim.experiment.overhead.study import Cell, Column, Limits, Study
from sim.experiment.overhead.variant import Variant

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | bool | None
Row = dict[str, Value]
_DIGITS = 3


def rows(study: Study) -> Iterator[Row]:
    """A row for each variant and size; what the path and the link say is repeated in each."""
    for column in study.columns:
        limits = column.limits()
        for size in study.sizes:
            yield {
                **_variant(column.variant),
                "inner": study.inner.kind.value,
                "ip": study.inner.version,
                **_cell(column, size),
                **_limits(limits),
            }


def to_csv(study: Study) -> str:
    """The rows with a header line."""
    out = io.StringIO()
    table = list(rows(study))
    writer = csv.DictWriter(out, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def to_json(study: Study) -> str:
    """One object: the question, and for each variant limits, sizes and, of a single size, the byte map."""
    answer = {
        "inner": {"protocol": study.inner.kind.value, "ip": study.inner.version},
        "mtu": study.terms.mtu,
        "rate_bps": study.terms.rate_bps,
        "framing": study.terms.framing,
        "variants": [_column(study, column) for column in study.columns],
    }
    return json.dumps(answer)


def to_frame(study: Study) -> pd.DataFrame:
    """The rows as a DataFrame; an MSS that cannot be is NA."""
    import pandas as pd

    frame = pd.DataFrame(list(rows(study)))
    for name in ("mss_v4", "mss_v6"):
        frame[name] = frame[name].astype("Int64")
    return frame


def map_frame(study: Study) -> pd.DataFrame:
    """The byte maps of the first size, variant by variant."""
    import pandas as pd

    size = study.sizes[0]
    return pd.DataFrame(
        [
            {"variant": column.variant.label, **asdict(piece)}
            for column in study.columns
            for piece in column.byte_map(size)
        ]
    )


def _column(study: Study, column: Column) -> dict[str, object]:
    first, last = min(study.sizes), max(study.sizes)
    found: dict[str, object] = {
        **_variant(column.variant),
        **_limits(column.limits()),
        "jumps": column.jumps(first, last),
        "sizes": [_cell(column, size) for size in study.sizes],
    }
    if len(study.sizes) == 1:
        found["map"] = [asdict(piece) for piece in column.byte_map(first)]
    return found


def _variant(variant: Variant) -> Row:
    return {
        "variant": variant.label,
        "protocol": variant.carrier.value,
        "suite": variant.suite.name if variant.suite else None,
        "mode": variant.mode.value if variant.mode else None,
        "natt": variant.natt,
        "ipcomp": variant.ipcomp,
        "outer": variant.outer,
        "origin": variant.origin,
    }


def _cell(column: Column, size: int) -> Row:
    cell: Cell = column.cell(size)
    return {
        "size": size,
        "wire": cell.wire,
        "added": cell.added,
        "percent": round(cell.percent, _DIGITS),
        "jump": bool(column.jumps(size, size)),
        "packets": cell.packets,
        "on_path": cell.on_path,
        "packets_per_s": round(cell.packets_per_s, _DIGITS),
        "goodput_bps": round(cell.goodput_bps, _DIGITS),
    }


def _limits(limits: Limits) -> Row:
    return {"largest": limits.largest, "mss_v4": limits.mss_v4, "mss_v6": limits.mss_v6}
