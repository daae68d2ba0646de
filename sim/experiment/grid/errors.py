"""The one error of this package; the command line prints its text."""

from __future__ import annotations


class GridError(ValueError):
    """A grid that cannot be made: says what is wrong, and what to write instead."""
