"""The folder of a run: whole files or none, and an older run intact until the new one is complete."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import sim
from sim.experiment.output import OutputFolder
from sim.scenario.load import load_text
from tests.scenario.base import TEXT

FILES = {
    *("manifest.json", "summary.json", "flows.parquet", "events.parquet", "capture.pcapng"),
    *("keys/esp_sa", "keys/ikev2_decryption_table"),
}


@pytest.fixture
def sigterm_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_run_leaves_the_files_that_are_promised_and_no_other(tmp_path: Path) -> None:
    sim.run(load_text(TEXT), out=tmp_path / "new" / "run")
    assert files(tmp_path / "new" / "run") == FILES


def test_the_files_hold_what_the_result_holds(tmp_path: Path) -> None:
    result = sim.run(load_text(TEXT), seed=5, out=tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == result.summary
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "flows.parquet"), result.flows, check_dtype=False
    )
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "events.parquet"), result.events, check_dtype=False
    )
    assert (tmp_path / "keys" / "esp_sa").read_text() == result.world.keys.esp_sa()
    table = result.world.keys.ikev2_decryption_table()
    assert (tmp_path / "keys" / "ikev2_decryption_table").read_text() == table


def test_the_manifest_says_how_to_get_the_run_again(tmp_path: Path) -> None:
    scenario = load_text(TEXT)
    result = sim.run(scenario, seed=5, out=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert set(manifest) == {"scenario", "scenario_sha256", "seed", "version", "capture_sha256", "wall_s"}
    assert (manifest["scenario"], manifest["seed"]) == ("base", 5)
    assert len(manifest["scenario_sha256"]) == 64
    assert (
        manifest["capture_sha256"] == sha256(tmp_path / "capture.pcapng") == result.summary["capture_sha256"]
    )
    other = sim.run(load_text(TEXT, overrides=["links.4.delay=1 ms"]), seed=5, out=tmp_path)
    again = json.loads((tmp_path / "manifest.json").read_text())
    assert again["scenario_sha256"] != manifest["scenario_sha256"]
    assert again["wall_s"] == other.summary["wall_s"] > 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("moment", [0.1, 1.0])
def test_a_run_that_is_stopped_leaves_no_file(
    tmp_path: Path, error: type[BaseException], moment: float
) -> None:
    with pytest.raises(error):
        stopped(tmp_path, error, moment)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("moment", [0.1, 1.0])
def test_a_run_that_is_stopped_leaves_no_folder_that_it_made(tmp_path: Path, moment: float) -> None:
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "new" / "run", KeyboardInterrupt, moment)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_stopped_leaves_the_folders_that_were_there(tmp_path: Path) -> None:
    (tmp_path / "run" / "keys").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "run", KeyboardInterrupt, 1.0)
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run" / "keys"]


def test_a_run_that_cannot_begin_leaves_no_folder_and_no_lock(tmp_path: Path) -> None:
    (tmp_path / "run" / "capture.pcapng.part").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        sim.run(load_text(TEXT), out=tmp_path / "run")
    (tmp_path / "run" / "capture.pcapng.part").rmdir()
    sim.run(load_text(TEXT), out=tmp_path / "run")
    with pytest.raises(NotADirectoryError):
        sim.run(load_text(TEXT), out=tmp_path / "run" / "manifest.json" / "inside")


@pytest.mark.parametrize("capture", [None, False])
def test_what_a_killed_run_has_left_is_replaced(tmp_path: Path, capture: bool | None) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.part").write_text("half")
    sim.run(load_text(TEXT), out=tmp_path, capture=capture)
    assert files(tmp_path) == (FILES if capture is None else FILES - {"capture.pcapng"})


def test_an_empty_name_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Least of all the current one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="an empty name is no folder"):
        sim.run(load_text(TEXT), out="")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_stopped_leaves_an_older_run_as_it_was(tmp_path: Path) -> None:
    sim.run(load_text(TEXT), out=tmp_path)
    before = {name: sha256(tmp_path / name) for name in FILES}
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path, KeyboardInterrupt, 0.5)
    assert {name: sha256(tmp_path / name) for name in files(tmp_path)} == before


def test_nothing_appears_under_its_name_before_the_end(tmp_path: Path) -> None:
    seen: list[set[str]] = []
    sim.run(load_text(TEXT), out=tmp_path, progress=lambda now, end: seen.append(files(tmp_path)))
    assert seen[-1] == {"capture.pcapng.part"}
    assert not any(name in FILES for names in seen for name in names)


def test_an_error_while_the_tables_are_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        sim.run(load_text(TEXT), out=tmp_path)
    assert files(tmp_path) == set()


def test_an_error_while_files_are_closed_leaves_nothing(tmp_path: Path) -> None:
    """Buffered octets meet a full disk only when the file is closed."""
    folder = OutputFolder(tmp_path).__enter__()
    folder.write("summary.json", "{}")
    folder._streams.callback(full_disk)
    with pytest.raises(OSError, match="No space left"):
        folder.__exit__(None, None, None)
    assert files(tmp_path) == set()


def test_a_run_without_a_capture_does_not_keep_an_older_one(tmp_path: Path) -> None:
    """Its packets are not those of the new tables."""
    sim.run(load_text(TEXT), out=tmp_path)
    sim.run(load_text(TEXT), out=tmp_path, capture=False)
    assert files(tmp_path) == FILES - {"capture.pcapng"}


def test_what_else_lies_in_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    sim.run(load_text(TEXT), out=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_second_run_into_the_folder_of_a_run_is_refused(tmp_path: Path) -> None:
    """Both would write the same files; the first goes on undisturbed."""

    def second(now: int, end: int) -> None:
        if now == end:
            with pytest.raises(BlockingIOError, match="another run is writing into this folder"):
                sim.run(load_text(TEXT), seed=2, out=tmp_path)

    result = sim.run(load_text(TEXT), seed=1, out=tmp_path, progress=second)
    assert files(tmp_path) == FILES
    assert sha256(tmp_path / "capture.pcapng") == result.summary["capture_sha256"]
    assert json.loads((tmp_path / "manifest.json").read_text())["seed"] == 1
    sim.run(load_text(TEXT), seed=3, out=tmp_path)  # and afterwards the folder is free


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_is_stopped_leaves_no_lock(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        stopped(tmp_path, error, 0.5)
    sim.run(load_text(TEXT), out=tmp_path)
    assert files(tmp_path) == FILES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_among_the_renames_waits_for_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, sigterm_interrupts: None
) -> None:
    """Half of them would be a mix of two runs."""
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        os.kill(os.getpid(), number)
        return replace(path, target)

    sim.run(load_text(TEXT), seed=1, out=tmp_path)
    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sim.run(load_text(TEXT), seed=2, out=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (files(tmp_path), manifest["seed"]) == (FILES, 2)
    assert sha256(tmp_path / "capture.pcapng") == manifest["capture_sha256"]


def test_the_manifest_is_not_there_while_files_of_two_runs_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a machine that stops among the renames leaves no folder that looks whole."""
    replace, seen = Path.replace, list[bool]()

    def watched(path: Path, target: Path) -> Path:
        seen.append((tmp_path / "manifest.json").exists())
        return replace(path, target)

    sim.run(load_text(TEXT), seed=1, out=tmp_path)
    monkeypatch.setattr(Path, "replace", watched)
    sim.run(load_text(TEXT), seed=2, out=tmp_path)
    assert seen == [False] * len(FILES)


def test_without_out_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sim.run(load_text(TEXT), capture=True)
    assert files(tmp_path) == set()


def full_disk() -> None:
    raise OSError(28, "No space left on device")


def stopped(folder: Path, error: type[BaseException], moment: float) -> None:
    def stop(now: int, end: int) -> None:
        if now >= moment * end:
            raise error

    sim.run(load_text(TEXT), out=folder, progress=stop)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
