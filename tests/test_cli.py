"""The command line as a user meets it: output, exit status, and never a traceback."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers import require
from tests.scenario.base import TEXT, changed, line_of

COMMAND = [sys.executable, "-m", "sim.cli"]


def cli(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(TEXT)
    return path


def test_help_names_what_exists_and_nothing_else() -> None:
    done = cli("--help")
    assert done.returncode == 0
    listed = done.stdout[done.stdout.index("Commands:") :].splitlines()[1:]
    assert [line.split()[0] for line in listed] == [
        "run",
        "emulate",
        "validate",
        "schema",
        "export",
        "pki",
        "overhead",
        "grid",
        "sweep",
        "decode",
        "peer",
    ]


def test_a_run_whose_checks_hold_ends_with_0(lab: Path) -> None:
    done = cli("run", lab)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rw is established by 1 s" in done.stdout
    assert done.stderr == ""


def test_a_run_with_a_failed_check_ends_with_1(lab: Path) -> None:
    done = cli("run", lab, "--set", "checks.0.by=1 ms")
    assert done.returncode == 1
    assert done.stderr == ""


def test_json_is_one_object_and_nothing_else(lab: Path) -> None:
    done = cli("run", lab, "--json", "--seed", "7")
    summary = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (done.returncode, done.stderr) == (0, "")
    assert (summary["name"], summary["seed"], summary["duration_s"]) == ("base", 7, 3)
    assert all(check["ok"] for check in summary["checks"])


def test_the_same_seed_gives_the_same_capture_and_another_seed_another(lab: Path) -> None:
    def capture(seed: int, hash_seed: str) -> str:
        done = cli("run", lab, "--json", "--seed", str(seed), PYTHONHASHSEED=hash_seed)
        return str(json.loads(done.stdout)["capture_sha256"])

    assert capture(7, "1") == capture(7, "2")
    assert capture(7, "1") != capture(8, "1")


def test_the_ladder_is_printed_and_leaves_json_alone(lab: Path) -> None:
    done = cli("run", lab, "--ladder")
    assert "-- IKE_SA_INIT request 0 --" in done.stdout
    assert max(map(len, done.stdout[done.stdout.index("IKE messages") :].splitlines())) <= 100
    both = cli("run", lab, "--ladder", "--json")
    assert json.loads(both.stdout)["name"] == "base"
    assert both.stderr.startswith("IKE messages of rw, alice to moon\n")


def test_until_stops_early(lab: Path) -> None:
    done = cli("run", lab, "--json", "--until", "1500 ms")
    assert json.loads(done.stdout)["duration_s"] == 1.5


def test_set_replaces_a_value(lab: Path) -> None:
    done = cli("run", lab, "--json", "--set", "traffic.up.rate=40 kbit/s", "--set", "traffic.up.stop=1500 ms")
    (flow,) = json.loads(done.stdout)["flows"]
    assert flow["sent"] == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--until", "5"], "--until 5: "),
        (["--until", "0 s"], "longer than 0 s"),
        (["--until", "99999999999 h"], "--until 99999999999 h: too long: at most 1000000000 s"),
        (["--set", b"name=\xff"], "not UTF-8 text"),
        (["--set", b"\xff=1"], "write PATH=VALUE"),
        (
            ["--set", "tunnels.rw.auth.local_id=" + "x" * 65_500],
            "tunnels.rw.auth.local_id: an identity of 65500",
        ),
        (["--set", "links.0.delay=5"], "--set links.0.delay=5: links.0.delay: 5 has no unit"),
        (["--set", "nonsense"], "write PATH=VALUE"),
        (["--seed", "-1"], "--seed"),
        (["--sede", "1"], "--sede"),
        (["--out", ""], "out: an empty name is no folder"),
    ],
)
def test_a_bad_option_ends_with_2_and_says_why(lab: Path, arguments: list[str | bytes], words: str) -> None:
    done = cli("run", lab, *map(os.fsdecode, arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_mistake_ends_with_2_and_its_line(command: str, lab: Path) -> None:
    text = changed(("delay: 2 ms", "delay: 2 ms, jiter: 5 ms"))
    lab.write_text(text)
    done = cli(command, lab)
    number = line_of(text, "jiter")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{lab}:{number}: links.0.jiter: unknown key; did you mean `jitter`?\n"


@pytest.mark.parametrize("command", ["run", "validate"])
def test_unroutable_traffic_ends_with_2_and_its_line(command: str, lab: Path) -> None:
    text = changed(
        ("from: alice, to: bob", "from: bob, to: alice"), ("  net: {rem", "  net: {start: none, rem")
    )
    text = text.replace("remote_ts: [10.1.0.0/16]", "remote_ts: [10.1.0.77/32], local_ts: [192.168.1.99/32]")
    lab.write_text(text)
    done = cli(command, lab)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{lab}:{line_of(text, 'name: up')}: traffic.0.to: unroutable")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = cli("run", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert done.stderr == f"{tmp_path}/none.yaml: No such file or directory\n"


def test_validate_says_that_all_is_well(lab: Path) -> None:
    done = cli("validate", lab)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{lab}: no mistakes found\n", "")


def test_the_expanded_scenario_runs_to_the_same_capture(lab: Path, tmp_path: Path) -> None:
    expanded = tmp_path / "expanded.yaml"
    expanded.write_text(cli("validate", lab, "--expand").stdout)
    assert "remote_addrs" in expanded.read_text()
    captures = {json.loads(cli("run", path, "--json").stdout)["capture_sha256"] for path in (lab, expanded)}
    assert len(captures) == 1


def test_schema_is_a_json_schema() -> None:
    schema = json.loads(cli("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "jitter" in schema["$defs"]["Link"]["properties"]


def test_out_holds_what_a_run_leaves_and_decode_shows_it(lab: Path, tmp_path: Path) -> None:
    require("tshark")
    out = tmp_path / "out"
    assert cli("run", lab, "--out", out).returncode == 0
    left = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert left == {
        "manifest.json", "summary.json", "flows.parquet", "events.parquet", "capture.pcapng",
        "keys/esp_sa", "keys/ikev2_decryption_table",
    }  # fmt: skip
    done = cli("decode", out)
    assert done.returncode == 0
    assert "IKE_SA_INIT" in done.stdout
    shown = cli("decode", out, "-Y", "isakmp.exchangetype == 35", "-V")
    assert "Authentication" in shown.stdout
    assert "Encrypted" in shown.stdout
    assert cli("decode", out, "-Y", "no such filter").returncode == 2


def test_decode_ends_quietly_when_nobody_reads_on(lab: Path, tmp_path: Path) -> None:
    require("tshark")
    out = tmp_path / "out"
    assert cli("run", lab, "--out", out).returncode == 0
    with subprocess.Popen(
        [*COMMAND, "decode", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "IKE_SA_INIT" in process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0, errors
    assert not [line for line in errors.splitlines() if "root" not in line]


def test_a_control_character_in_a_file_does_not_reach_the_terminal(lab: Path) -> None:
    lab.write_text(TEXT.replace("name: base", r'name: "ba\e[31mse"', 1))
    done = cli("run", lab, "--until", "600 ms")
    assert done.stdout.startswith(r"ba\x1b[31mse, seed 1")
    lab.write_text(TEXT + r'"\e[31m": 1' + "\n")
    done = cli("run", lab)
    assert done.returncode == 2
    assert r"\x1b[31m: unknown key" in done.stderr


def test_decode_without_tshark_says_so(lab: Path, tmp_path: Path) -> None:
    assert cli("run", lab, "--until", "600 ms", "--out", tmp_path).returncode == 0
    done = cli("decode", tmp_path, PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tshark is not installed: on Debian, `apt install tshark`\n"


def test_decode_of_what_is_no_capture_says_so(tmp_path: Path) -> None:
    (tmp_path / "capture.pcapng").write_bytes(b"junk")
    done = cli("decode", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{tmp_path}/capture.pcapng: neither pcap nor pcapng: the file starts with 6a756e6b\n"
    )


@pytest.mark.parametrize("name", ["esp_sa", "ikev2_decryption_table"])
@pytest.mark.parametrize(
    "damage", [lambda row: row[:-9], lambda row: row.replace(b",", b"", 1), bytes.swapcase]
)
def test_decode_with_damaged_keys_ends_with_2_and_the_line(
    lab: Path, tmp_path: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    """tshark itself would show the packets undecrypted and be content."""
    out = tmp_path / "out"
    assert cli("run", lab, "--until", "600 ms", "--out", out).returncode == 0
    rows = (out / "keys" / name).read_bytes().splitlines(keepends=True)
    (out / "keys" / name).write_bytes(b"".join([*rows[:-1], damage(rows[-1])]))
    done = cli("decode", out, PATH="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{out}/keys/{name}:{len(rows)}: damaged: ")


def test_decode_of_no_run_says_so(tmp_path: Path) -> None:
    done = cli("decode", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{tmp_path}/capture.pcapng: not there")


def test_a_folder_that_cannot_be_made_is_named(lab: Path) -> None:
    done = cli("run", lab, "--out", lab / "inside")
    assert (done.returncode, done.stdout) == (2, "")
    assert str(lab) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing_and_ends_with_130(
    lab: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    arguments = [
        "run",
        str(lab),
        "--set",
        "duration=2 h",
        "--set",
        "traffic.up.rate=20 Mbit/s",
        "--out",
        str(out),
    ]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("capture*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "stopped\n")
    assert not out.exists()


def test_of_two_runs_into_one_folder_at_once_one_is_refused(lab: Path, tmp_path: Path) -> None:
    """The folder holds the files of the other, and no mix."""
    out = tmp_path / "out"
    seeds = (1, 2, 3)
    commands = [[*COMMAND, "run", str(lab), "--seed", str(seed), "--out", str(out)] for seed in seeds]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [run.communicate(timeout=120)[1] for run in runs]
    refusal = f"{out}: another run is writing into this folder: wait for its end, or choose another\n"
    for run, error in zip(runs, errors, strict=True):
        assert (run.returncode, error) in {(0, ""), (2, refusal)}
    assert list(out.rglob("*.part")) == []
    manifest = json.loads((out / "manifest.json").read_text())
    assert runs[seeds.index(manifest["seed"])].returncode == 0
    digest = hashlib.sha256((out / "capture.pcapng").read_bytes()).hexdigest()
    summary = json.loads((out / "summary.json").read_text())
    assert digest == manifest["capture_sha256"] == summary["capture_sha256"]


def test_a_run_is_refused_while_another_writes_there_and_not_after_ctrl_c(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    long = ["--set", "duration=2 h", "--set", "traffic.up.rate=20 Mbit/s"]
    with subprocess.Popen(
        [*COMMAND, "run", str(lab), *long, "--out", str(out)], stderr=subprocess.PIPE
    ) as first:
        deadline = time.monotonic() + 60
        while not list(out.glob("capture*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        second = cli("run", lab, "--out", out)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.startswith(f"{out}: another run is writing into this folder")
    assert cli("run", lab, "--out", out).returncode == 0
