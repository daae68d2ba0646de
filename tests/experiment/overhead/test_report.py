"""`ipsec-sim overhead` and `sim.overhead`: tables, JSON, CSV and figures."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.container import BarContainer
from typer.testing import CliRunner

import sim
from sim.cli import app

SIZES = "40..1500"
README = (Path(__file__).parents[3] / "README.md").read_text()
README_RUNS = [
    (command, printed.splitlines())
    for command, printed in re.findall(r"```\n\$ .venv/bin/ipsec-sim overhead (.*)\n((?:.*\n)*?)```", README)
]


def test_the_card_shows_each_added_field_with_its_section() -> None:
    said = shown("aes128gcm16", "--natt")
    assert "1400 bytes: 1464 on the wire, 64 added (4.57 %)" in said
    for words in ("20 IP", "8 UDP RFC 3948 2.1", "SPI 0xc0000002 RFC 4303 2.1", "16 ICV", "2 padding 1 to 2"):
        assert words in said
    assert (
        "Not on the wire: salt, 4 octets of the nonce that come from the keying material (RFC 4106 4)."
        in said
    )
    assert "largest inner packet has 1438 bytes, TCP MSS 1398 for IPv4 and 1378 for IPv6" in said
    assert "none at 1394, 1398, 1402, 1406 bytes; one byte more makes the packet 4 bytes longer" in said
    assert "At 1 Gbit/s: 85,383 packets/s, 956.3 Mbit/s" in said


def test_a_formula_is_labelled_as_one() -> None:
    assert "by its formula: the protocol itself is not simulated" in shown("--protocol", "wireguard")
    assert "WireGuard *" in shown("--compare")
    assert "*" not in shown("aes128gcm16", "--compare")


def test_a_packet_that_does_not_fit_tells_its_pieces() -> None:
    assert "each is cut into 2, 1576 bytes" in shown("--size", "1500")
    assert "no UDP over IPv4 packet fits in one piece" in shown("--size", "1500", "--mtu", "70")


def test_several_sizes_are_a_table_and_many_a_summary() -> None:
    assert "56 (87.5 %)" in shown("aes128gcm16", "--sizes", "64,1400")
    many = shown("aes128gcm16", "aes256-sha256", "--sizes", SIZES)
    assert "54 to 57" in many
    assert "62 to 77" in many
    assert "46 + 16n" in many


def test_json_has_limits_sizes_jumps_and_the_map() -> None:
    found: dict[str, Any] = json.loads(output("aes256-sha256", "--json", "--mtu", "1400"))
    (variant,) = found["variants"]
    assert (found["mtu"], found["rate_bps"], variant["origin"]) == (1400, 10**9, "encoded")
    assert (variant["largest"], variant["mss_v4"], variant["mss_v6"]) == (1326, 1286, 1266)
    assert sum(piece["octets"] for piece in variant["map"]) == variant["sizes"][0]["wire"] == 1468
    many = json.loads(output("aes256-sha256", "--json", "--sizes", "40..100"))["variants"][0]
    assert many["jumps"] == [46, 62, 78, 94]
    assert len(many["sizes"]) == 61
    assert "map" not in many


def test_csv_and_data_frame_say_the_same() -> None:
    rows = list(csv.DictReader(io.StringIO(output("aes128gcm16", "--csv", "--sizes", SIZES))))
    table, _ = sim.overhead("aes128gcm16", sizes=SIZES)
    assert [int(row["wire"]) for row in rows] == table.wire.tolist()
    assert list(rows[0]) == list(table.columns)
    assert table.loc[table.jump, "size"].tolist() == list(range(42, 1501, 4))


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("sizes", [("--size", "1400"), ("--sizes", "40..200")], ids=["bars", "lines"])
def test_a_figure_is_written_whole_and_the_same_each_time(
    suffix: str, sizes: tuple[str, str], tmp_path: Path
) -> None:
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for file in (first, second):
        output("aes128gcm16", "aes256-sha256", *sizes, "--plot", str(file))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_variants_that_cost_the_same_share_a_line() -> None:
    _, figure = sim.overhead(["aes128gcm16", "chacha20poly1305", "aes256-sha256"], sizes="40..200")
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["ESP tunnel aes128gcm16 = ESP tunnel chacha20poly1305", "ESP tunnel aes256-sha256"]


def test_a_figure_that_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    """Not by that of the file beside it, of which nobody knows."""
    file = tmp_path / "missing" / "figure.png"
    result = CliRunner().invoke(app, ["overhead", "--plot", str(file)])
    assert result.exit_code == 2
    assert f"{file}: No such file or directory" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("ip", [4, 6])
def test_the_whole_legend_is_in_the_figure(ip: int) -> None:
    """Many variants that cost the same have one long label."""
    _, figure = sim.overhead(compare=True, sizes="100..1500:200", ip=ip)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    inside = legend.get_window_extent()
    assert inside.x0 >= 0
    assert inside.x1 <= figure.bbox.x1
    assert inside.y1 < min(ax.get_window_extent().y0 for ax in figure.axes)
    assert min(ax.get_window_extent().height for ax in figure.axes) > figure.dpi, "an inch at least"


def test_the_bars_add_up_to_what_is_added() -> None:
    table, figure = sim.overhead(compare=True)
    widths = [0.0] * len(table)
    for container in figure.axes[0].containers:
        assert isinstance(container, BarContainer)
        for row, bar in enumerate(container.patches):
            widths[row] += bar.get_width()
    assert widths == table.added.tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["aes128gmc16"], "did you mean aes128gcm16"),
        (["--protocol", "ah", "--natt"], "AH cannot pass a NAT"),
        (["--plot", "figure.gif"], ".png, .svg, .pdf"),
        (["--json", "--csv"], "--json or --csv"),
        (["--plot", "/nowhere/figure.png"], "No such file"),
    ],
)
def test_bad_arguments_end_with_status_2_and_a_remedy(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["overhead", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("command", "printed"), README_RUNS, ids=[command for command, _ in README_RUNS])
def test_the_readme_shows_what_is_printed(command: str, printed: list[str]) -> None:
    """Line by line; what it leaves out is marked by three dots."""
    said = iter([line.rstrip() for line in output(*command.split()).splitlines()])
    for line in printed:
        assert line == "..." or line in said, line


def test_tables_load_neither_pandas_nor_matplotlib() -> None:
    """What makes the command quick is what it does not load."""
    program = (
        "import sys\nfrom sim.cli import main\nsys.argv = ['ipsec-sim', 'overhead', '--csv']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    table, _, loaded = said.rpartition("LOADED")
    assert "ESP tunnel aes128gcm16" in table
    assert not {"pandas", "matplotlib", "numpy"} & set(loaded.split())


def output(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["overhead", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def shown(*arguments: str) -> str:
    """What is printed, in one line with single blanks."""
    return " ".join(output(*arguments).split())
