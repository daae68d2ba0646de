"""`ipsec-sim grid`: what every pair of NATs does to a tunnel, and why."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sim.cli import app
from sim.experiment.grid.cell import KINDS, Cell, Outcome, Pace
from sim.experiment.grid.command import Request, show
from sim.experiment.grid.errors import GridError
from sim.experiment.grid.study import grid, one_cell
from sim.experiment.grid.text import code
from sim.net.nat import NAT_PRESETS
from sim.scenario.errors import ScenarioError

RUNNER = CliRunner()
BLOCKED = "near box: NAT drops what uses port 500"


def test_no_preset_is_left_out() -> None:
    assert set(KINDS) == {"none", *NAT_PRESETS}


def test_without_a_nat_esp_is_plain() -> None:
    result = one_cell("none", "none")
    assert (result.up, result.how, result.colour) == (True, "plain", "green")
    assert result.setup_ms == 80.0, "two round trips of 40 ms"
    assert result.rebind.outcome is result.reboot.outcome is Outcome.NOTHING


@pytest.mark.parametrize("preset", [kind for kind in NAT_PRESETS if kind != "hotel"])
def test_a_silent_mapping_is_gone_without_keepalives_and_stays_with_them(preset: str) -> None:
    """No preset keeps a silent mapping for 10 minutes; all keep it for the 20 s between keepalives."""
    assert one_cell(preset, "none", keepalive=True).idle.outcome is Outcome.SURVIVED
    lost = one_cell(preset, "none", keepalive=False).idle
    assert lost.outcome is Outcome.LOST
    assert "until the inside speaks again" in lost.reason


def test_a_short_silence_is_no_matter() -> None:
    timeout_s = NAT_PRESETS["home"].udp_timeout // 10**9
    for silence, outcome in ((timeout_s - 1, Outcome.SURVIVED), (timeout_s + 1, Outcome.LOST)):
        assert one_cell("home", "none", keepalive=False, silence_s=silence).idle.outcome is outcome


def test_one_cell_can_be_tried_faster_and_with_changed_boxes() -> None:
    """Another time-out, other ports, and everything sooner: what the comparison with real boxes needs."""
    quick = Pace(keepalive=1, liveness=2, speak=1, event=2, end=7)
    for timeout, outcome in (("2 s", Outcome.LOST), ("4 s", Outcome.SURVIVED)):
        changes = {"near": {"udp_timeout": timeout, "port_assignment": "random"}}
        result = one_cell("home", "none", keepalive=False, silence_s=3, pace=quick, changes=changes)
        assert result.idle.outcome is outcome
        assert "[4500]" not in result.seen.partition(" - ")[2]
        assert result.reboot.outcome is Outcome.SURVIVED


def test_a_cell_names_a_change_that_fits_no_box() -> None:
    with pytest.raises(GridError, match="no box 'far' to change here: near is home, far is none"):
        one_cell("home", "none", changes={"far": {"udp_timeout": "2 s"}})
    with pytest.raises(ScenarioError, match="udp_time"):
        one_cell("home", "none", changes={"near": {"udp_time": "2 s"}})
    with pytest.raises(GridError, match="silence"):
        one_cell("home", "none", silence_s=0)


def test_a_blocked_port_keeps_the_tunnel_down_and_is_named() -> None:
    result = one_cell("hotel", "none")
    assert (result.up, result.colour, result.reason) == (
        False,
        "red",
        "near box: NAT drops what uses port 500",
    )


def test_a_responder_behind_a_nat_does_not_follow_without_mobike() -> None:
    """RFC 7296 2.23: a host behind a NAT should not; with MOBIKE the initiator says where it is."""
    with_it, without = (one_cell("symmetric", "home", mobike=on).rebind for on in (True, False))
    assert with_it.outcome is Outcome.SURVIVED
    assert with_it.outage_s > 0
    assert without.outage_s > with_it.outage_s or without.outcome is Outcome.LOST


def test_a_tunnel_that_is_lost_says_what_began_it_and_where_packets_end() -> None:
    """Without MOBIKE a responder behind a NAT goes on sending to the ports of before (RFC 7296 2.23)."""
    lost = one_cell("symmetric", "home", keepalive=False, mobike=False).rebind
    assert lost.outcome is Outcome.LOST
    assert "gives every mapping another external port; near drops: no mapping" in lost.reason


def test_a_grid_without_a_loss_asks_no_why_not() -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(grid(["none"], keepalive=(True,), mobike=(True,), silence_s=5, jobs=1).render())
    assert "Why not" not in console.export_text()


def test_all_cells_are_the_same_as_each_alone() -> None:
    found = grid(["none", "home"], keepalive=(True,), mobike=(False,), silence_s=30, jobs=2)
    assert [result.cell for result in found.cells] == [
        Cell(near, far, True, False) for near in ("none", "home") for far in ("none", "home")
    ]
    for result in found.cells:
        near, far = result.cell.near, result.cell.far
        assert result == one_cell(near, far, keepalive=True, mobike=False, silence_s=30)
    assert len(found.frame) == 4
    assert found.cell("home", "none", mobike=False).how == "UDP"
    with pytest.raises(KeyError, match="no cell home against cgn"):
        found.cell("home", "cgn")


def test_the_page_and_the_table_show_every_cell() -> None:
    found = grid(["home", "hotel"], keepalive=(True,), mobike=(True,), silence_s=30, jobs=1)
    page = found.html()
    assert page.count("<td class='green'>") + page.count("<td class='yellow'>") == 1
    assert page.count("<td class='red'>") == 3
    assert "NAT drops what uses port 500" in page
    assert [code(result) for result in found.cells] == ["Uirb", "-   ", "-   ", "-   "]


def test_a_cell_writes_its_captures(tmp_path: Path) -> None:
    arguments = [
        "grid",
        "--cell",
        "home",
        "none",
        "--silence",
        "30 s",
        "--out",
        str(tmp_path / "cell"),
        "--json",
    ]
    answer = RUNNER.invoke(app, [*arguments, "--out", str(tmp_path / "cell")])
    assert answer.exit_code == 0, answer.output
    row = json.loads(answer.stdout)
    assert (row["near"], row["far"], row["up"], row["idle"]) == ("home", "none", True, "survived")
    for trial in ("idle", "rebind", "reboot"):
        assert (tmp_path / "cell" / trial / "capture.pcapng").stat().st_size > 1000


def test_the_command_prints_json_and_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "grid.html"
    arguments = [
        "grid",
        "none",
        "--silence",
        "30 s",
        "--html",
        str(page),
        "--json",
        "--mobike",
        "on",
        "--jobs",
        "1",
    ]
    answer = RUNNER.invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert [cell["keepalive"] for cell in told["cells"]] == [True, False]
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    page = tmp_path / "file" / "grid.html"
    request = Request(["none"], "on", "on", "5 s", None, None, page, 1, 1)
    with pytest.raises(OSError, match=r"Not a directory|File exists") as told:
        show(request, as_json=True, progress=lambda *_: pytest.fail("it ran"))
    assert told.value.filename == str(page)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hom"], "'hom' is no NAT preset: did you mean home?"),
        (["--keepalive", "maybe"], "--keepalive maybe: write on, off or both"),
        (["--silence", "10"], "10"),
        (["--silence", "10 ms"], "whole seconds"),
        (["--out", "x"], "name it with --cell A B"),
        (["home", "--cell", "home", "cgn"], "leave the others out"),
        (["--cell", "home", "cgn", "--html", "x"], "leave out --cell"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], said: str) -> None:
    answer = RUNNER.invoke(app, ["grid", *arguments])
    assert answer.exit_code == 2
    assert said in answer.output
    assert "Traceback" not in answer.output


def test_the_readme_shows_what_the_command_prints() -> None:
    readme = Path("README.md").read_text()
    _, _, rest = readme.partition("$ .venv/bin/ipsec-sim grid none home symmetric --keepalive off\n")
    shown = rest.partition("```")[0]
    answer = RUNNER.invoke(app, ["grid", "none", "home", "symmetric", "--keepalive", "off", "--jobs", "1"])
    printed = [line.rstrip() for line in answer.stdout.splitlines()]
    assert shown.splitlines() == printed[: len(shown.splitlines())]
