"""An accepted key has an effect: another value gives another run (users of other simulators ask for no less).

Each case changes one key of a scenario in which it matters, and compares the summaries and captures of two
runs. A key of the schema that has no case fails a test.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

import sim
from sim.scenario.errors import ScenarioError
from sim.scenario.load import dump, load_text
from sim.scenario.schema_types import Model
from sim.units import NS_PER_MS
from sim.wire import ip, udp
from sim.wire.address import pack_address
from sim.wire.pcapng import PcapngWriter
from tests.net.segments import ACK, SYN, tcp_segment
from tests.scenario.effects import CASES, WIDE


@pytest.mark.parametrize("key", CASES)
def test_another_value_is_another_run(key: str, captures: dict[str, Path]) -> None:
    case = CASES[key]
    *both, change = [_filled(text, captures) for text in (*case.both, case.change)]
    before = _outcome(case.expanded, *both)
    assert before.startswith("{"), before
    assert _outcome(case.expanded, *both, change) != before


def test_every_key_has_a_case() -> None:
    keys = {
        f"{model.__name__}.{field.alias or name}"
        for model in _models(Model)
        if model.__module__.startswith("sim.scenario.schema")  # not those of other files, if they are loaded
        for name, field in model.model_fields.items()
    }
    assert keys == set(CASES)


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By the names that cases use: a stray datagram, and the two sides of a connection through a NAT."""
    folder = tmp_path_factory.mktemp("captures")
    client, server = (pack_address("192.0.2.1"), 5000), (pack_address("192.0.2.2"), 80)
    opening = [(0, tcp_segment(client, server, SYN)), (200, tcp_segment(client, server, ACK))]
    answers = [(100, tcp_segment(server, client, SYN | ACK)), (1400, tcp_segment(server, client, ACK))]
    stray = [(0, bytes(udp.build(client, (server[0], 4500), b"\0\0\0\0stray")))]
    esp, answer = ([(0, _esp(*ends))] for ends in ((client[0], server[0]), (server[0], client[0])))
    discard = [(0, bytes(udp.build((server[0], 9), (client[0], 10_000), b"back")))]
    files = {"discard": discard, "file": stray, "tcp": opening, "back": answers, "esp": esp, "answer": answer}
    return {name: _record(folder / f"{name}.pcapng", packets) for name, packets in files.items()}


def _esp(src: bytes, dst: bytes) -> bytes:
    return bytes(ip.build(src, dst, ip.Protocol.ESP, bytes((0, 0, 1, 0)) + bytes(40)))


def _record(path: Path, packets: list[tuple[int, bytes]]) -> Path:
    """Packets and when they were sent, in ms."""
    with path.open("wb") as stream:
        writer = PcapngWriter(stream, ["eth"], application="test")
        for at, packet in packets:
            writer.write(at * NS_PER_MS, 0, packet, outbound=True)
    return path


def _filled(text: str, captures: dict[str, Path]) -> str:
    for name, path in captures.items():
        text = text.replace(f"{{{name}}}", str(path))
    return text


@cache
def _outcome(expanded: bool, *overrides: str) -> str:
    """What a run reports; that it cannot be run, when routes are missing, is a report as well."""
    text = dump(sim.expand(load_text(WIDE))) if expanded else WIDE
    scenario = load_text(text, overrides=overrides)
    try:
        result = sim.run(scenario, capture=True)
    except ScenarioError as error:
        return str(error)
    told = {key: value for key, value in result.summary.items() if key not in ("build_s", "wall_s")}
    verbs = {event.do for event in scenario.events}
    happened = [(entry.at, entry.detail) for entry in result.world.log if entry.event in verbs]
    return json.dumps({**told, "happened": happened})


def _models(model: type[Model]) -> set[type[Model]]:
    """Those that a file is made of; generic and shared ones are parts of others, a queue is text."""
    below = {leaf for child in model.__subclasses__() for leaf in _models(child)}
    if below or model.__name__.startswith(("_", "Directed[")) or model.__name__ == "Queue":
        return below
    return {model}
