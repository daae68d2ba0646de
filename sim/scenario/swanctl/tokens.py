"""The words of strongSwan's configuration files: strongswan.conf(5), "SYNTAX".

A value ends with its line, at a comment or at a closing brace; its parts, quoted or not, are joined by one
space. Quoted text goes over several lines, and knows \\n, \\r, \\t, an escaped end of line (which vanishes)
and a backslash before anything else (which stands for that). `include` is followed by a file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from sim.scenario.errors import Problem, ScenarioError


class Kind(Enum):
    NAME = "a name"
    OPEN = "`{`"
    CLOSE = "`}`"
    REFERENCES = "`:`"
    VALUE = "`=`"
    INCLUDE = "`include`"
    END = "the end of the file"


class Place(NamedTuple):
    """Where something stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def problem(self, key: str, text: str) -> Problem:
        return Problem(str(self), key, text)


class Token(NamedTuple):
    """`text` is the name, the value (None: empty, which takes an inherited value away), or the pattern."""

    kind: Kind
    text: str | None
    at: Place


MAX_PATTERN = 4096
_SPACE = re.compile(r"(?:[\t\r \n]|#[^\n]*)*")
_NAME = re.compile(r'[^#{}:.,="\r\n\t ]+')
_REFERENCE = re.compile(r'[^#{}:.,="\r\n\t ]+(?:\.[^#{}:.,="\r\n\t ]+)*')
_INCLUDE = re.compile(r"include[\t ]+(?=[^=])")
_BARE = re.compile(r'[^#}"\r\n\t ]+')
_PATTERN = re.compile(r'[^"\\#}\r\n\t ]+')
_BLANK = re.compile(r"[\t\r ]*")
_QUOTED = re.compile(r'[^\\\r"]+')
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\n": ""}
_SINGLE = {"{": Kind.OPEN, "}": Kind.CLOSE}


def tokens(text: str, file: str) -> Iterator[Token]:
    """All tokens of one file, END last. ScenarioError tells the line on which something cannot be read."""
    return _Scanner(text, file).tokens()


class _Scanner:
    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._at = 0
        self._line = 1
        self._counted = 0

    def tokens(self) -> Iterator[Token]:
        while True:
            self._skip(_SPACE)
            place = self._place()
            if self._at >= len(self._text):
                yield Token(Kind.END, None, place)
                return
            yield self._token(self._text[self._at], place)

    def _token(self, char: str, place: Place) -> Token:
        if char in _SINGLE:
            self._at += 1
            return Token(_SINGLE[char], None, place)
        if char in "=:":
            self._at += 1
            if char == "=":
                return Token(Kind.VALUE, self._value(), place)
            return Token(Kind.REFERENCES, self._references(), place)
        if self._skip(_INCLUDE):
            return Token(Kind.INCLUDE, self._pattern(), place)
        name = self._skip(_NAME)
        if not name:
            what = "quoted text" if char == '"' else f"`{char}`"
            raise self._error(f"{what} has no place here: write `key = value` or `name {{`")
        if not name.isprintable():
            raise self._error("a name holds a control character: is this a configuration file?")
        return Token(Kind.NAME, name, place)

    def _value(self) -> str | None:
        parts = []
        while True:
            self._skip(_BLANK)
            if self._peek() == '"':
                parts.append(self._quoted())
            elif bare := self._skip(_BARE):
                parts.append(bare)
            else:
                return " ".join(parts) if parts else None

    def _references(self) -> str:
        names = []
        while True:
            self._skip(_SPACE)
            name = self._skip(_REFERENCE)
            if not name:
                raise self._error("the name of a section must follow `:` or `,`")
            names.append(name)
            self._skip(_SPACE)
            if self._peek() != ",":
                return ",".join(names)
            self._at += 1

    def _pattern(self) -> str:
        """A file name with wildcards; a backslash hides the meaning of `"`, `#`, `}` and a space."""
        pattern = ""
        while len(pattern) <= MAX_PATTERN:
            char, following = self._peek(), self._text[self._at + 1 : self._at + 2]
            if char == '"':
                return pattern + self._quoted()
            if char == "\\":
                hidden = following if following and following in '"#} ' else ""
                pattern += hidden or char
                self._at += 1 + len(hidden)
            elif char == "\r":
                self._at += 1
            elif part := self._skip(_PATTERN):
                pattern += part
            elif pattern:
                return pattern
            else:
                raise self._error("a file name must follow `include`")
        raise self._error(f"the file name is longer than {MAX_PATTERN} characters")

    def _quoted(self) -> str:
        begin = self._place()
        self._at += 1
        parts = []
        while True:
            parts.append(self._skip(_QUOTED))
            char = self._peek()
            self._at += 1
            if char == '"':
                return "".join(parts)
            if char == "\\":
                parts.append(self._escaped(begin))
            elif char != "\r":
                raise ScenarioError(
                    [begin.problem("", 'the quoted text that begins here has no closing `"`')]
                )

    def _escaped(self, begin: Place) -> str:
        if self._text.startswith("\r\n", self._at):
            self._at += 1
        char = self._peek()
        if not char:
            raise ScenarioError([begin.problem("", 'the quoted text that begins here has no closing `"`')])
        self._at += 1
        return _ESCAPES.get(char, char)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()

    def _place(self) -> Place:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return Place(self._file, self._line)

    def _error(self, text: str) -> ScenarioError:
        return ScenarioError([self._place().problem("", text)])
