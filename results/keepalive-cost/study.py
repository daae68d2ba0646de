"""Makes the table and figure beside this file: what keepalives and liveness checks cost in a month."""

from pathlib import Path

from sim.experiment.studies import keepalive_cost

HERE = Path(__file__).parent
TOPOLOGY = HERE.parents[1] / "topologies" / "nat" / "idle-tunnel.yaml"


def main() -> None:
    table = keepalive_cost.study(TOPOLOGY)
    table.to_csv(HERE / "keepalive-cost.csv", index=False, float_format="%.3f")
    keepalive_cost.figure(table).savefig(HERE / "keepalive-cost.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":  # the processes of a sweep import this file
    main()
