"""The remedies that topologies name in their comments work, and what they replace shows the complaint.

# Remedy: --set 'tunnels.rw.encap=true'
#   --set 'checks=[{flow: late, max_loss: 0 %}]'
#   (why it helps)
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import sim
from sim.scenario.load import load

_MARK = "# Remedy: --set "


def remedies(path: Path) -> list[list[str]]:
    """The overrides of every remedy in a topology's comment, in the order of the file."""
    found: list[str] = []
    inside = False
    for line in path.read_text().splitlines():
        if line.startswith(_MARK):
            found.append(line.removeprefix("# Remedy: "))
            inside = True
        elif inside and line.startswith("#   --set "):
            found[-1] += " " + line.removeprefix("#   ")
        else:
            inside = False
    return [[word for word in shlex.split(text) if word != "--set"] for text in found]


ALL = [
    pytest.param(path, words, id=f"{path.stem}-{number}")
    for path in sorted(Path("topologies").glob("**/*.yaml"))
    for number, words in enumerate(remedies(path), 1)
]


@pytest.mark.parametrize(("path", "overrides"), ALL)
def test_a_remedy_named_in_a_comment_works(path: Path, overrides: list[str]) -> None:
    """It brings checks of its own, which hold with it and not without; the file's own fail with it."""
    remedy = [text for text in overrides if not text.startswith("checks=")]
    wanted = [text for text in overrides if text.startswith("checks=")]
    assert remedy
    assert wanted
    assert _failed(path, [*remedy, *wanted]) == []
    assert _failed(path, wanted), "nothing to be remedied"
    assert _failed(path, remedy), "what the file shows is still there"


def test_every_remedy_in_a_comment_is_read() -> None:
    for path in Path("topologies").glob("**/*.yaml"):
        assert path.read_text().count("# Remedy:") == len(remedies(path)), path


def _failed(path: Path, overrides: list[str]) -> list[object]:
    result = sim.run(load(path, overrides), 1)
    return [check for check in result.summary["checks"] if not check["ok"]]
