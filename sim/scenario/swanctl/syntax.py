"""The sections of a configuration file, each setting with the line that it stands on: strongswan.conf(5).

A section that is there twice is one; a setting that is there twice has its last value. `Tree.section` sees a
section as strongSwan does: with everything that it inherits by reference, its own settings first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sim.scenario.errors import ScenarioError
from sim.scenario.swanctl.files import included, read_text
from sim.scenario.swanctl.tokens import Kind, Place, Token, tokens

MAX_DEPTH = 50
MAX_FILES = 1000
MAX_SECTIONS = 20_000
"""Looked at while following the references of one section; no real file comes near."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of a key; None when it was cleared, so that its default applies and nothing is inherited."""

    value: str | None
    at: Place


@dataclass(slots=True, eq=False)
class Section:
    """A section as written. `references` are absolute names, with the place of their first mention."""

    name: str
    at: Place
    settings: dict[str, Setting] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)
    references: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """A section with what it inherits: values (cleared ones left out) and the names of its sections."""

    path: tuple[str, ...]
    at: Place
    settings: dict[str, Setting]
    sections: tuple[str, ...]

    @property
    def key(self) -> str:
        return ".".join(self.path)


class Tree:
    """All sections of a configuration."""

    def __init__(self, root: Section) -> None:
        self.root = root
        self._left = MAX_SECTIONS

    def section(self, *path: str) -> View | None:
        """The section of that name, or None; ScenarioError when its references go round in a circle."""
        found: list[Section] = []
        self._left = MAX_SECTIONS
        self._find(self.root, path, True, found, 0)
        if not found:
            return None
        settings: dict[str, Setting] = {}
        for section in found:
            for key, setting in section.settings.items():
                settings.setdefault(key, setting)
        names = dict.fromkeys(name for section in found for name in section.sections)
        known = {key: setting for key, setting in settings.items() if setting.value is not None}
        return View(path, found[0].at, known, tuple(names))

    def references(self) -> Iterator[tuple[Section, str, Place]]:
        """Every reference: the section that has it, the name, and where."""
        waiting = [self.root]
        while waiting:
            section = waiting.pop()
            waiting += section.sections.values()
            for name, at in section.references.items():
                yield section, name, at

    def _find(
        self, section: Section, path: tuple[str, ...], follow: bool, out: list[Section], depth: int
    ) -> None:
        """Add what `path` means below `section`; with `follow` also below the sections that it refers to."""
        self._count(section, depth)
        found = section.sections.get(path[0]) if path else section
        if found is not None and len(path) > 1:
            self._find(found, path[1:], True, out, depth + 1)
        elif found is not None and found not in out:
            out.append(found)
            for name in found.references:
                self._find(self.root, tuple(name.split(".")), True, out, depth + 1)
        if follow and found is not section:
            for name in section.references:
                base: list[Section] = []
                self._find(self.root, tuple(name.split(".")), True, base, depth + 1)
                for other in base:
                    self._find(other, path, False, out, depth + 1)

    def _count(self, section: Section, depth: int) -> None:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            text = "the references from here go round in a circle, or are far too many"
            raise ScenarioError([section.at.problem(section.name, text)])


def parse(path: Path) -> Tree:
    """The tree of a file and of everything that it includes. ScenarioError says where it cannot be read."""
    return Tree(_Reader(path).read())


@dataclass(frozen=True, slots=True)
class _Open:
    """A file that is being read, or waits for its turn; `chain` is it and those that it is included by."""

    path: Path
    chain: frozenset[Path]
    tokens: Iterator[Token]


class _Reader:
    """Included files continue the stream of tokens where they are included."""

    def __init__(self, path: Path) -> None:
        self._open: list[_Open] = []
        self._files = 0
        self._root = Section("", Place(str(path), 1))
        self._inside = [self._root]
        self._enter(path, None)

    def read(self) -> Section:
        while (token := self._next()).kind is not Kind.END:
            if token.kind is Kind.CLOSE:
                self._close(token)
            elif token.kind is Kind.NAME:
                self._statement(token)
            else:
                raise _error(token, f"{token.kind.value} needs a name before it")
        if len(self._inside) > 1:
            section = self._inside[-1]
            raise ScenarioError(
                [section.at.problem("", f"the section `{section.name}` is not closed: `}}` is missing")]
            )
        return self._root

    def _statement(self, name: Token) -> None:
        assert name.text is not None
        token = self._next()
        if token.kind is Kind.VALUE:
            self._inside[-1].settings[name.text] = Setting(token.text, name.at)
            return
        section = Section(name.text, name.at)
        if token.kind is Kind.REFERENCES:
            section.references = dict.fromkeys((token.text or "").split(","), token.at)
            token = self._next()
        if token.kind is not Kind.OPEN:
            # The name is not repeated: it may be the rest of a secret that slipped out of its value.
            raise _error(name, f"after this name comes {token.kind.value}: write `= value` or `{{`")
        self._enter_section(section)

    def _enter_section(self, section: Section) -> None:
        parent = self._inside[-1]
        known = parent.sections.setdefault(section.name, section)
        for name, at in section.references.items():
            known.references.setdefault(name, at)
        self._inside.append(known)
        if len(self._inside) > MAX_DEPTH:
            raise ScenarioError([section.at.problem("", f"more than {MAX_DEPTH} sections inside each other")])

    def _close(self, token: Token) -> None:
        if len(self._inside) == 1:
            raise _error(token, "`}` closes nothing")
        self._inside.pop()

    def _next(self) -> Token:
        while True:
            token = next(self._open[-1].tokens)
            if token.kind is Kind.INCLUDE:
                self._include(token)
            elif token.kind is Kind.END and len(self._open) > 1:
                self._open.pop()
            else:
                return token

    def _include(self, token: Token) -> None:
        including = self._open[-1]
        for path in reversed(included(token.text or "", including.path, token.at)):
            self._enter(path, token.at, including.chain)

    def _enter(self, path: Path, origin: Place | None, chain: frozenset[Path] = frozenset()) -> None:
        at = origin or Place(str(path), 1)
        real = path.resolve()
        if real in chain:
            raise ScenarioError([at.problem("", f"{path} includes itself")])
        self._files += 1
        if self._files > MAX_FILES:
            raise ScenarioError([at.problem("", f"more than {MAX_FILES} files are included")])
        self._open.append(_Open(path, chain | {real}, tokens(read_text(path, origin), str(path))))


def _error(token: Token, text: str) -> ScenarioError:
    return ScenarioError([token.at.problem("", text)])
