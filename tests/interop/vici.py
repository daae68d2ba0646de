"""Reads what `swanctl --raw` prints of strongSwan's vici messages: sections, lists and values.

Keys start with a small letter, which tells them from the parts of a distinguished name.

list-sa event {home {version=2 state=ESTABLISHED tasks-active=[DPD] child-sas {net-1 {name=net}}}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

Value: TypeAlias = "str | list[str] | Section"
Section: TypeAlias = dict[str, Value]

_TOKEN = re.compile(
    r"\s*(?:(?P<list>[\w.-]+)=\[(?P<items>(?:[^\[\]]|\[[^\]]*\])*)\]"
    r"|(?P<key>[\w.-]+)=(?P<value>.*?)(?=\s[a-z][\w.-]*=|\s[^\s={}]+ \{|\})"
    r"|(?P<section>[^\s={}]+) \{|(?P<end>\}))",
    re.DOTALL,
)


def messages(text: str) -> Iterator[tuple[str, Section]]:
    """Each line's message: the word that names it ("list-sa") and its content."""
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        brace = rest.find("{")
        if brace >= 0:
            yield name, _section(rest, brace + 1)[0]


def _section(text: str, at: int) -> tuple[Section, int]:
    found: Section = {}
    while (token := _TOKEN.match(text, at)) is not None:
        at = token.end()
        if token["end"]:
            return found, at
        if token["section"]:
            found[token["section"]], at = _section(text, at)
        elif token["list"]:
            found[token["list"]] = token["items"].split()
        else:
            found[token["key"]] = token["value"]
    raise ValueError(f"no vici message at {at}: {text[at : at + 60]!r}")
