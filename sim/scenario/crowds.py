"""Which nodes and flows of a scenario were made from one entry by `count`, and what they are called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WORD = re.compile(r"[A-Za-z0-9_-]+")


def member(name: str, number: int) -> str:
    """What the one with a number is called, from 1 on."""
    return f"{name}-{number}"


def members(name: str, count: int) -> list[str]:
    return [member(name, number) for number in range(1, count + 1)]


def called(text: str, name: str, own: str) -> str | None:
    """An identity with the name of an entry in it as that of one member; None: it does not have the name."""
    found = next((match for match in _WORD.finditer(text) if match[0] == name), None)
    return None if found is None else text[: found.start()] + own + text[found.end() :]


@dataclass(frozen=True, slots=True)
class Crowds:
    """The entry of every node and every flow that has been multiplied, by name."""

    nodes: dict[str, str] = field(default_factory=dict)
    flows: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.nodes)

    def node(self, name: str) -> str:
        """The entry that a node was made from, or the node itself."""
        return self.nodes.get(name, name)

    def flow(self, name: str) -> str:
        """The same of a flow; `NAME.up` and `NAME.down` of a replay stay apart."""
        base, dot, way = name.partition(".")
        return self.flows.get(base, base) + dot + way

    def in_words(self, text: str) -> str:
        """A text about one member as a text about all."""
        return _WORD.sub(lambda word: self.flows.get(word[0]) or self.node(word[0]), text)
