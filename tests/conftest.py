"""Hypothesis draws the same examples in every run: a failure is repeatable, and CI does not explore."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
