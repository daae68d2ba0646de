"""Draws figure.png beside this file: the road warrior's network, and its latency over the move."""

from pathlib import Path

from matplotlib.figure import Figure

import sim

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

result = sim.run(ROOT / "topologies" / "road-warrior-mobike.yaml", seed=7)
figure = Figure(figsize=(10, 7.4), dpi=100, layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[4.2, 3.2])
sim.plots.topology(result.world.scenario, ax=above.subplots())
whole, move = below.subplots(1, 2, sharey=True)
for ax in (whole, move):
    sim.plots.latency(result, "up", ax=ax)
whole.get_legend().remove()
whole.set_title("latency of the flow up", fontsize=10, pad=20)
move.set_title("the move, closer", fontsize=10, pad=20)
move.set(xlim=(14.85, 15.6), ylabel="")
figure.savefig(HERE / "figure.png", metadata={"Software": None})
