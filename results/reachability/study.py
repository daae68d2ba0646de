"""Makes the table and figure beside this file: whether an idle tunnel can be reached from outside."""

from pathlib import Path

import sim
from sim.experiment.studies import reachability

HERE = Path(__file__).parent
TOPOLOGY = HERE.parents[1] / "topologies" / "nat" / "idle-tunnel.yaml"


def main() -> None:
    table = reachability.study(TOPOLOGY)
    found = sim.interval(table, "reached", by=["nat", "idle_s", "loss", "keepalive_s"])
    found.to_csv(HERE / "reachability.csv", index=False, float_format="%.3f")
    reachability.figure(table).savefig(HERE / "reachability.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":  # the processes of a sweep import this file
    main()
