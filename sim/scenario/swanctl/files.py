"""The files of a configuration: what `include` finds (strongswan.conf(5)), and what is no text."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.swanctl.tokens import Place

MAX_OCTETS = 4 << 20
_WILD = re.compile(r"[*?\[]")


def read_text(path: Path, origin: Place | None = None) -> str:
    """The text of a regular file; ScenarioError, at `origin` if given, for anything else."""
    where = str(origin or path)
    prefix = f"{path}: " if origin else ""
    try:
        if path.exists() and not path.is_file():
            raise ScenarioError([Problem(where, "", f"{prefix}is not a regular file")])
        with path.open("rb") as stream:
            octets = stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise ScenarioError([Problem(where, "", prefix + (error.strerror or str(error)))]) from None
    if len(octets) > MAX_OCTETS:
        raise ScenarioError(
            [Problem(where, "", f"{prefix}larger than {MAX_OCTETS >> 20} MiB: is this a configuration?")]
        )
    return _decode(octets, path)


def _decode(octets: bytes, path: Path) -> str:
    zero = octets.find(0)
    if zero >= 0:
        line = octets.count(b"\n", 0, zero) + 1
        raise ScenarioError(
            [Problem(f"{path}:{line}", "", "holds a zero octet: is this a configuration file?")]
        )
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        text = "not UTF-8 text: is this a configuration file? (write a binary secret as 0x and hexadecimal)"
        raise ScenarioError([Problem(f"{path}:{line}", "", text)]) from None


def included(pattern: str, including: Path, at: Place) -> list[Path]:
    """The files that a pattern of sh(1) names, sorted; relative to the folder of the including file.

    A pattern with wildcards may match nothing; a plain name must be a file.
    """
    if not pattern:
        raise ScenarioError([at.problem("", "`include` names no file")])
    if _WILD.search(re.sub(r"\\.", "", pattern)) is None:
        return [including.parent / re.sub(r"\\(.)", r"\1", pattern)]
    found = glob.glob(_translate(pattern), root_dir=including.parent)  # noqa: PTH207 (needs root_dir)
    paths = [including.parent / name for name in sorted(found, key=os.fsencode)]
    return [path for path in paths if path.is_file()]


def _translate(pattern: str) -> str:
    """As Python's glob has it, which escapes by brackets and negates by `!` only; `**` is just `*`."""
    escaped = re.sub(r"\\(.)", lambda match: glob.escape(match[1]), pattern)
    return re.sub(r"\*\*+", "*", escaped.replace("[^", "[!"))
