"""The one error of this package; the command line prints its text."""

from __future__ import annotations


class OverheadError(ValueError):
    """A question that has no answer: says what is wrong, and what to ask instead."""
