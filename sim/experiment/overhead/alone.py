"""Carriers that put one inner packet into each of theirs."""

from __future__ import annotations


class Alone:
    """What all of them answer to a question about packets that are shared."""

    def busy(self, size: int) -> None:
        return None
