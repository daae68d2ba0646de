"""Makes the tables and figures beside this file: outage and loss at a handover, by mechanism."""

from pathlib import Path

import sim
from sim.experiment.studies import handover

HERE = Path(__file__).parent
TOPOLOGY = HERE.parents[1] / "topologies" / "mobike" / "handover.yaml"
RUNS = ("mechanism", "nat", "delay_ms", "loss")


def main() -> None:
    table = handover.study(TOPOLOGY, seeds=12)
    nats = handover.study(TOPOLOGY, delays_ms=[40], losses=[0.02], nats=handover.NATS, seeds=12)
    dead = handover.study(TOPOLOGY, losses=[0, 0.1], mechanisms=tuple(handover.AFTER_LIVENESS), seeds=4)
    for name, runs in (("handover", table), ("nats", nats), ("liveness", dead)):
        runs.to_csv(HERE / f"{name}.csv", index=False, float_format="%.3f")
    means = [
        sim.interval(runs, value, by=RUNS).assign(value=value)
        for runs in (table, nats[nats.nat != "home"], dead)
        for value in ("down_outage_ms", "down_lost", "up_outage_ms", "up_lost")
    ]
    handover.summary(means).to_csv(HERE / "summary.csv", index=False)
    for name, drawing in (
        ("outage", handover.figure(table)),
        ("lost", handover.figure(table, "down_lost")),
        ("nats", handover.nat_figure(nats)),
    ):
        drawing.savefig(HERE / f"{name}.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":  # the processes of a sweep import this file
    main()
