"""What a run leaves in memory: a summary, three tables, and the world itself for a closer look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sim.scenario.world import World
from sim.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sim.experiment.ladder import Ladder


_SA_COLUMNS = [
    *(
        "node",
        "connection",
        "local",
        "remote",
        "name",
        "state",
        "mode",
        "protocol",
        "encap",
        "spi_in",
        "spi_out",
    ),
    *("packets_in", "packets_out", "bytes_in", "bytes_out", "ecn_alarms", "local_ts", "remote_ts", "cpu"),
]


@dataclass(frozen=True)
class Result:
    """One finished run. The tables are made when they are first asked for.

    `flows`: a row per packet sent: flow, seq, sent_s, received_s and latency_ms (both NaN when it did not
    arrive). `events`: a row per event: at_s, at (ns), node, event, connection, child, detail, src, dst,
    size. `sas`: a row per Child SA at each end, with its connection.
    """

    summary: dict[str, Any]
    world: World

    @property
    def ok(self) -> bool:
        """Whether every check holds; a scenario without checks is content."""
        return all(check["ok"] for check in self.summary["checks"])

    @cached_property
    def flows(self) -> pd.DataFrame:
        frames = [
            _packets(flow.record.name, flow.record.sent_at, flow.record.received_at) for flow in self._flows
        ]
        return pd.concat(frames, ignore_index=True) if frames else _packets("", (), ()).iloc[:0]

    @cached_property
    def events(self) -> pd.DataFrame:
        columns = ("at_s", "at", "node", "event", "connection", "child", "detail", "src", "dst", "size")
        rows = [asdict(entry) | {"at_s": entry.at / NS_PER_S} for entry in self.world.log]
        return pd.DataFrame(rows, columns=list(columns))

    @cached_property
    def sas(self) -> pd.DataFrame:
        return pd.DataFrame(list(self._sa_rows()), columns=_SA_COLUMNS)

    def render(self) -> RenderableType:
        """The tables that `ipsec-sim run` prints."""
        from sim.experiment.render import render

        return render(self.summary, self.world)

    def ladder(self, connection: str | None = None, *, node: str | None = None) -> Ladder:
        """The IKE messages of a connection between its two ends, as text, HTML or a figure.

        `connection` may be left out when there is one alone; `node` tells which end is meant where several
        initiators have it. ValueError for what cannot be told. Real hosts' own messages are not in it.
        """
        from sim.experiment.ladder import ladder

        return ladder(self.world, connection, node)

    def _repr_html_(self) -> str:
        from sim.experiment.render import render_html

        return render_html(self.summary, self.world)

    @property
    def _flows(self) -> list[Any]:
        return list(self.world.flows.values())

    def _sa_rows(self) -> Iterator[dict[str, Any]]:
        for connection in self.summary["connections"]:
            shared = {key: connection[key] for key in ("node", "local")}
            shared["remote"] = connection["esp_remote"] or connection["remote"]
            for child in connection["children"]:
                yield {**shared, "connection": connection["name"], **child}


def _packets(name: str, sent_at: Any, received_at: Any) -> pd.DataFrame:
    sent, received = np.array(sent_at, np.float64), np.array(received_at, np.float64)
    received[received < 0] = np.nan
    return pd.DataFrame(
        {
            "flow": pd.Series([name] * len(sent), dtype="str"),
            "seq": np.arange(len(sent)),
            "sent_s": sent / NS_PER_S,
            "received_s": received / NS_PER_S,
            "latency_ms": (received - sent) / NS_PER_MS,
        }
    )
