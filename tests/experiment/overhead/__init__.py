"""Tests of `sim.experiment.overhead`."""
