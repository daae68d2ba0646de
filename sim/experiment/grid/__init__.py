"""Every NAT in front of the initiator against every NAT in front of the responder: `ipsec-sim grid`."""

from sim.experiment.grid.cell import Cell, CellResult, Outcome
from sim.experiment.grid.study import Grid, grid, one_cell

__all__ = ["Cell", "CellResult", "Grid", "Outcome", "grid", "one_cell"]
