"""`results/overhead`: every command of its README still makes the file that stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sim.cli import app

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "results" / "overhead"
README = (FOLDER / "README.md").read_text()
COMMANDS = re.findall(r"^\.venv/bin/ipsec-sim (overhead .*)$", README, re.MULTILINE)
TABLES = {command: target for command in COMMANDS for target in re.findall(r" > (\S+)$", command)}
FIGURES = {command: target for command in COMMANDS for target in re.findall(r"--plot (\S+)$", command)}


@pytest.mark.parametrize("command", TABLES, ids=TABLES.values())
def test_each_table_is_what_its_command_makes_today(command: str) -> None:
    said = ask(command.partition(" > ")[0])
    assert said == (ROOT / TABLES[command]).read_text()


@pytest.mark.parametrize("command", FIGURES, ids=FIGURES.values())
def test_each_figure_is_made_by_its_command(command: str, tmp_path: Path) -> None:
    """Not compared: fonts and their outlines differ from one matplotlib to the next."""
    made = tmp_path / Path(FIGURES[command]).name
    ask(command.replace(FIGURES[command], str(made)))
    assert made.stat().st_size > 10_000


def test_every_file_has_its_command_and_is_shown() -> None:
    made = {Path(target).name for target in [*TABLES.values(), *FIGURES.values()]}
    assert made == {file.name for file in FOLDER.iterdir()} - {"README.md"}
    assert all(f"({name})" in README for name in made)


def ask(command: str) -> str:
    result = CliRunner().invoke(app, shlex.split(command))
    assert result.exit_code == 0, result.output
    return result.stdout
