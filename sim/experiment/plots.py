"""Pictures of scenarios and of runs, for notebooks and papers; each function returns a matplotlib figure.

    sim.plots.topology(scenario)
    sim.plots.latency(result, "up").savefig("latency.png")

Nothing here touches pyplot: no global state, no window, no figure that must be closed.
"""

from __future__ import annotations

from sim.experiment.flow_plots import latency, loss
from sim.experiment.message_plot import messages
from sim.experiment.topology_plot import topology

__all__ = ["latency", "loss", "messages", "topology"]
