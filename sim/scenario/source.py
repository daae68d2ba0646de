"""YAML text to plain values, and back from a value to the line that it stands on.

Read from ruamel.yaml's node tree, because the plain loader forgets lines, stops at the first mistake and
expands aliases without a limit. YAML 1.2, one document, core types; keys are text and unique.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from sim.scenario.errors import Path, Problem, ScenarioError, dotted

MAX_OCTETS = 4 << 20
MAX_VALUES = 200_000
MAX_BRACKETS = 100
"""Open at once; the scanner's time grows with the square of them."""
_TEXT_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"}
_OTHER_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null")}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a scenario came from: its file, the line of every path, and the digests of the files it names."""

    file: str = "scenario"
    lines: dict[Path, str] = field(default_factory=dict)
    """`file:line`, or `--set PATH=VALUE` where that replaced it."""
    digests: dict[str, str] = field(default_factory=dict)
    origins: dict[Path, Path] = field(default_factory=dict)
    """Of what rewriting has made: what stands in the file."""
    moved: dict[Path, Path] = field(default_factory=dict)
    """The same of what a `count` has made, with all that is below."""

    def where(self, path: Path) -> str:
        path = original(self.moved, path)
        for size in range(len(path), -1, -1):
            if path[:size] in self.lines:
                return self.lines[path[:size]]
        return self.file

    def beside(self, name: str) -> FilePath:
        return FilePath(self.file).parent / name

    def derive(self, aliases: dict[Path, Path]) -> Source:
        """The same file after rewriting: what is new at a key stands where its value stood."""
        lines = {new: self.where(old) for new, old in aliases.items()}
        origins = {**self.origins, **{new: self.written(old) for new, old in aliases.items()}}
        return Source(self.file, {**self.lines, **lines}, self.digests, origins, self.moved)

    def written(self, path: Path) -> Path:
        """What a setting is called in the file."""
        return original(self.moved, self.origins.get(path, path))


def original(moved: dict[Path, Path], path: Path) -> Path:
    """Where something stood before it was moved, alone or with what is around it."""
    for size in range(len(path), 0, -1) if moved else ():
        if path[:size] in moved:
            return (*moved[path[:size]], *path[size:])
    return path


class YamlReader:
    """Reads one text; `problems` collects everything that is wrong besides its syntax."""

    def __init__(self, label: str, *, lines: bool = True) -> None:
        self._label = label
        self._with_lines = lines
        self._left = MAX_VALUES
        self.lines: dict[Path, str] = {}
        self.problems: list[Problem] = []

    def read(self, octets: bytes) -> object:
        """The value; None when the text is empty. ScenarioError when it is not YAML at all."""
        try:
            node = _compose(octets)
            return None if node is None else self._value(node, (), frozenset())
        except UnicodeDecodeError as error:
            line = octets.count(b"\n", 0, error.start) + 1
            raise self._error(line, "not UTF-8 text: is this a scenario?") from None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            text = " ".join(part for part in (error.context, error.problem) if part)
            raise self._error(mark.line + 1 if mark else 1, f"not YAML: {text}{_hint(text)}") from None
        except (YAMLError, YAMLStreamError) as error:
            raise self._error(1, f"not YAML: {str(error).splitlines()[0]}") from None
        except (RecursionError, _TooMuchError):
            raise self._error(1, f"too deep, or more than {MAX_VALUES} values after its aliases") from None

    def _value(self, node: Node, path: Path, inside: frozenset[int]) -> object:
        self._left -= 1
        if self._left < 0 or id(node) in inside:
            raise _TooMuchError
        line = node.start_mark.line + 1
        self.lines.setdefault(path, self._where(line))
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        inside |= {id(node)}
        if isinstance(node, MappingNode):
            return self._mapping(node, path, inside)
        return [self._value(item, (*path, index), inside) for index, item in enumerate(node.value)]

    def _mapping(self, node: MappingNode, path: Path, inside: frozenset[int]) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._complain(line, path, "a key must be text")
                continue
            if not _is_text(key.value):
                self._complain(line, path, f"{key.value!r} is not text: half a surrogate pair")
                continue
            here = (*path, key.value)
            if key.value in values:
                first = self.lines[here]
                self._complain(line, here, f"is there twice; the first is at {first}")
                continue
            self.lines[here] = self._where(line)
            values[key.value] = self._value(item, here, inside)
        return values

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        if node.tag in _TEXT_TAGS:
            if not _is_text(node.value):
                self._complain(node.start_mark.line + 1, path, "is not text: half a surrogate pair")
                return None
            return node.value
        if node.tag not in _OTHER_TAGS:
            self._complain(
                node.start_mark.line + 1, path, f"the tag {node.tag} has no meaning here: remove it"
            )
            return None
        try:
            value: object = YAML(typ="safe", pure=True).constructor.construct_object(node)
        except ValueError:
            self._complain(node.start_mark.line + 1, path, f"{node.value[:40]!r} is not a number")
            return None
        return value

    def _where(self, line: int) -> str:
        return f"{self._label}:{line}" if self._with_lines else self._label

    def _complain(self, line: int, path: Path, text: str) -> None:
        self.problems.append(Problem(self._where(line), dotted(path), text))

    def _error(self, line: int, text: str) -> ScenarioError:
        return ScenarioError([Problem(self._where(line), "", text)])


class _TooMuchError(Exception):
    """More values than any scenario has: aliases of aliases, or an alias of what it stands in."""


def _compose(octets: bytes) -> Node | None:
    text = octets.decode("utf-8-sig")
    opened = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        opened += 1 if bracket in "[{" else -1
        if opened > MAX_BRACKETS:
            raise _TooMuchError
    node: Node | None = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    return node


def _is_text(text: str) -> bool:
    """Whether it has a form in UTF-8; an escape such as "\\ud800" has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hint(text: str) -> str:
    return ": indent with spaces, not tabs" if "'\\t'" in text else ""
