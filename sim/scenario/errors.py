"""What is wrong with a scenario, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Path = tuple[str | int, ...]
"""A place in a scenario: `("links", 0, "delay")`."""

_READABLE = 400


class Problem(NamedTuple):
    """One thing wrong: `where` is `file:line` or `--set PATH=VALUE`, `key` the dotted path of the setting."""

    where: str
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(_shortened(printable(part)) for part in self if part)


class ScenarioError(ValueError):
    """A scenario that cannot be run; `problems` has everything that was found, `str` one per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[tuple[Problem, ...]]]:
        """So that one of another process arrives whole."""
        return type(self), (self.problems,)


def printable(text: str) -> str:
    """The text with control characters escaped, which a terminal would obey; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def _shortened(text: str) -> str:
    """Without the middle of what nobody would read to its end; a line number stands at the end."""
    return text if len(text) <= _READABLE else f"{text[: _READABLE // 2]}...{text[-_READABLE // 4 :]}"


def dotted(path: Path) -> str:
    return ".".join(map(str, path))
