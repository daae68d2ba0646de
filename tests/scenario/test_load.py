"""What a file says is what the scenario has: plain numbers, whatever the layout."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import dump, load, load_plain, load_text
from sim.scenario.schema import (
    CbrFlow,
    GatewayNode,
    Jitter,
    NatNode,
    PingFlow,
    Queue,
    ReplayFlow,
    json_schema,
    record_names,
)
from sim.scenario.schema_events import MoveEvent
from sim.units import NS_PER_S, format_duration, format_rate, format_ratio, format_size
from sim.wire.selector import Selector
from tests.scenario.base import TEXT, changed, line_of

CAPTURE = Path("topologies/captures/web-download.pcap")
TOPOLOGIES = sorted(Path("topologies").glob("**/*.yaml"))


def test_quantities_are_plain_numbers() -> None:
    scenario = load_text(TEXT)
    assert scenario.duration == 3_000_000_000
    link = scenario.links[0]
    assert link.rate is not None
    assert (link.rate.up, link.rate.down) == (10_000_000, 10_000_000)
    assert (link.delay.up, link.delay.down, link.mtu) == (2_000_000, 2_000_000, 1500)
    flow = scenario.traffic[0]
    assert isinstance(flow, CbrFlow)
    assert (flow.size, flow.rate, flow.start, flow.from_, flow.to) == (
        500,
        400_000,
        500_000_000,
        "alice",
        "bob",
    )


def test_a_direction_may_differ() -> None:
    link = load_text(
        changed(("delay: 2 ms", "delay: {up: 2 ms, down: 3 ms}, loss: {up: 1 %, down: 0 %}"))
    ).links[0]
    assert (link.delay.up, link.delay.down) == (2_000_000, 3_000_000)
    assert (link.loss.up, link.loss.down) == (0.01, 0.0)


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("1 packet", Queue(packets=1)),
        ("100 packets", Queue(packets=100)),
        ("64 KiB", Queue(octets=65536)),
        ("1500 B", Queue(octets=1500)),
    ],
)
def test_a_queue_is_limited_in_packets_or_octets(text: str, queue: Queue) -> None:
    assert load_text(TEXT, overrides={"links.0.queue": text}).links[0].queue.up == queue


@pytest.mark.parametrize("distribution", ["uniform", "normal", "exponential"])
def test_jitter_is_a_distribution(distribution: str) -> None:
    long = {"distribution": distribution, "scale": "2 ms"}
    jitter = load_text(TEXT, overrides={"links.0.jitter": long}).links[0].jitter
    assert jitter is not None
    assert jitter.up == jitter.down == Jitter.model_validate(long)
    short = load_text(TEXT, overrides={"links.0.jitter": "2 ms"})
    assert (short == load_text(TEXT, overrides={"links.0.jitter": long})) is (distribution == "uniform")


def test_links_default_to_no_limit_but_ethernet_s() -> None:
    link = load_text(TEXT).links[4]
    assert (link.rate, link.delay.up, link.jitter, link.reorder) == (None, 0, None, False)
    assert (link.loss.up, link.queue.up, link.mtu) == (0.0, Queue(packets=1000), 1500)


def test_an_interface_has_one_address_or_several() -> None:
    text = changed(("eth: 10.1.0.10/16", "eth: [10.1.0.10/16, 2001:db8::10/64]"))
    assert load_text(text).nodes["bob"].interfaces["eth"] == ("10.1.0.10/16", "2001:db8::10/64")


def test_kinds_of_nodes_traffic_and_events_have_their_own_types() -> None:
    extra = "\n".join(
        [
            "traffic:",
            "  - {name: echo, kind: ping, from: bob, to: alice}",
            f"  - {{name: web, kind: replay, file: {CAPTURE.absolute()}, client: 192.0.2.10,"
            " from: alice, to: 'bob:eth'}",
        ]
    )
    scenario = load_text(changed(("traffic:", extra)))
    echo, web, up = scenario.traffic
    assert isinstance(echo, PingFlow)
    assert (echo.interval, echo.size, echo.count) == (1_000_000_000, 84, None)
    assert isinstance(web, ReplayFlow)
    assert record_names(web) == ("web.up", "web.down")
    assert record_names(up) == ("up",)
    assert isinstance(scenario.nodes["moon"], GatewayNode)
    assert isinstance(scenario.nodes["home"], NatNode)
    assert isinstance(scenario.events[0], MoveEvent)


def test_the_same_private_network_may_lie_behind_two_nats() -> None:
    text = changed(
        ("  core:", "  away: {kind: nat, interfaces: {lan: 192.168.1.1/24, wan: 198.19.0.10/24}}\n"
         "  carol: {kind: host, interfaces: {eth: 192.168.1.10/24}}\n  core:"),
        ("{home: 198", "{away: 198.19.0.1/24, home: 198"),
        ("links:\n", "links:\n  - {ends: [carol:eth, away:lan]}\n  - {ends: [away:wan, core:away]}\n"),
    )  # fmt: skip
    assert load_text(text).nodes["carol"].interfaces["eth"] == ("192.168.1.10/24",)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("secret", b"secret"),
        ("0x00ff", b"\x00\xff"),
        ("0sAP8=", b"\x00\xff"),
        ("ünicode", "ünicode".encode()),
    ],
)
def test_a_psk_is_text_hexadecimal_or_base64(text: str, octets: bytes) -> None:
    scenario = load_text(TEXT, overrides={"tunnels.rw.auth.psk": text})
    assert scenario.tunnels["rw"].auth.psk == octets
    assert load_text(dump(scenario)) == scenario


def test_the_layout_of_a_file_does_not_matter() -> None:
    plain = YAML(typ="safe").load(TEXT)
    spread = "# a comment\n" + dump(load_text(TEXT))
    again = load_text(TEXT.replace("500 ms", "0.5 s").replace("size: 500 B, rate: 400", "rate: 400").replace(
        "400 kbit/s,", "400 kbit/s, size: 500 B,"))  # fmt: skip
    scenario = load_text(TEXT)
    assert plain["name"] == scenario.name
    assert load_text(spread) == scenario == again
    assert hash(load_text(spread)) == hash(scenario)
    assert load_text(spread).hash == scenario.hash == again.hash


def test_a_default_that_is_written_out_changes_nothing() -> None:
    assert load_text(changed(("delay: 2 ms", "delay: 2 ms, mtu: 1500 B, reorder: false"))) == load_text(TEXT)


def test_other_content_is_another_scenario() -> None:
    assert load_text(TEXT, overrides={"links.0.delay": "3 ms"}).hash != load_text(TEXT).hash


def test_the_hash_covers_the_capture_itself(tmp_path: Path) -> None:
    text = changed(("kind: cbr", "kind: replay, file: a.pcap"), ("size: 500 B, rate: 400 kbit/s, ", ""),
                   ("flow: up", "flow: up.down"))  # fmt: skip
    whole = CAPTURE.read_bytes()
    (tmp_path / "a.pcap").write_bytes(whole)
    (tmp_path / "lab.yaml").write_text(text)
    first = load(tmp_path / "lab.yaml")
    assert first.capture_file(first.traffic[0]) == tmp_path / "a.pcap"  # type: ignore[arg-type]
    (tmp_path / "a.pcap").write_bytes(whole[: 24 + 16 + int.from_bytes(whole[32:36], "little")])
    assert load(tmp_path / "lab.yaml").hash != first.hash
    assert expand(first).hash != first.hash


def test_a_scenario_does_not_change() -> None:
    scenario = load_text(TEXT)
    with pytest.raises(ValueError, match="frozen"):
        scenario.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError, match="does not change"):
        scenario.nodes["alice"] = scenario.nodes["bob"]
    with pytest.raises(TypeError, match="does not change"):
        scenario.nodes.update(scenario.nodes)


def test_where_names_the_line_of_a_setting() -> None:
    scenario = load_text(TEXT, "lab.yaml", ["links.0.delay=9 ms"])
    assert scenario.where(("tunnels", "rw", "auth")) == f"lab.yaml:{line_of(TEXT, 'auth:')}"
    assert scenario.where(("links", 0, "delay")) == "--set links.0.delay=9 ms"
    assert scenario.where(("links", 1, "delay", "up")) == f"lab.yaml:{line_of(TEXT, 'delay: 20 ms')}"
    text = str(scenario.problem(("traffic", 0, "to"), "unroutable"))
    assert text == f"lab.yaml:{line_of(TEXT, 'name: up')}: traffic.0.to: unroutable"


def test_a_scenario_can_be_made_shorter() -> None:
    scenario = load_text(TEXT, "lab.yaml")
    assert scenario.lasting(5).duration == 5
    assert scenario.lasting(5).hash != scenario.hash
    assert scenario.lasting(5).where(("links", 0)) == scenario.where(("links", 0))
    with pytest.raises(ScenarioError, match="longer than 0 s"):
        scenario.lasting(0)


def test_overrides_reach_items_by_index_and_by_name() -> None:
    texts = ["links.0.delay=7 ms", "traffic.up.rate=2 Mbit/s", "tunnels.rw.mobike=false", "checks=[]",
             "nodes.home.preset=cgn", "links.1.rate={up: 1 Mbit/s, down: 2 Mbit/s}"]  # fmt: skip
    scenario = load_text(TEXT, "lab.yaml", texts)
    flow, node, rate = scenario.traffic[0], scenario.nodes["home"], scenario.links[1].rate
    assert isinstance(flow, CbrFlow)
    assert isinstance(node, NatNode)
    assert rate is not None
    assert (scenario.links[0].delay.up, flow.rate, node.preset) == (7_000_000, 2_000_000, "cgn")
    assert (scenario.tunnels["rw"].mobike, scenario.checks, rate.down) == (False, (), 2_000_000)


def test_an_override_makes_the_tables_that_the_schema_knows() -> None:
    """Those that a file leaves out, at any depth, and whether they are empty or not there at all."""
    texts = ["links.1.queue.up=3 packets", "links.1.queue.down=4 packets", "links.1.jitter.scale=3 ms",
             "tunnels.rw.auth.responder.psk=other", "tunnels.rw.auth.responder.local_id=x@y"]  # fmt: skip
    for text in (TEXT, changed(("auth: {psk: secret}", "auth: {psk: secret, responder: }"))):
        scenario = load_text(text, "lab.yaml", texts)
        link, auth = scenario.links[1], scenario.tunnels["rw"].auth
        assert link.jitter is not None
        assert (link.queue.up.packets, link.queue.down.packets, link.jitter.up.scale) == (3, 4, 3_000_000)
        assert (auth.psk, auth.responder.psk, auth.responder.local_id) == (b"secret", b"other", "x@y")


@settings(max_examples=30)
@given(st.integers(1, 10**17))
def test_every_duration_survives_yaml(value: int) -> None:
    scenario = load_text(TEXT, overrides={"links.1.delay": format_duration(value)})
    assert load_text(dump(scenario)).links[1].delay.up == value


@settings(max_examples=30)
@given(st.integers(1, 10**13), st.integers(28, 65535), st.floats(0, 1))
def test_every_rate_size_and_ratio_survives_yaml(rate: int, size: int, ratio: float) -> None:
    rate = min(rate, size * 8 * NS_PER_S)  # one packet each nanosecond is the most there can be
    scenario = load_text(
        TEXT,
        overrides={
            "traffic.0.rate": format_rate(rate),
            "traffic.0.size": format_size(size),
            "links.0.loss": format_ratio(ratio),
        },
    )
    again = load_text(dump(scenario))
    flow = again.traffic[0]
    assert isinstance(flow, CbrFlow)
    assert (flow.rate, flow.size, again.links[0].loss.up) == (rate, size, ratio)


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=40))
def test_every_psk_survives_yaml(psk: bytes) -> None:
    scenario = load_text(TEXT, overrides={"tunnels.rw.auth.psk": "0x" + psk.hex()})
    assert load_text(dump(scenario)).tunnels["rw"].auth.psk == psk


def test_the_shipped_topologies_are_found() -> None:
    assert len(TOPOLOGIES) >= 6


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_shipped_topology_says_what_it_shows_and_what_must_hold(path: Path) -> None:
    scenario = load(path)
    assert path.read_text().startswith("# ")
    assert scenario.checks
    assert scenario.name == path.stem


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_shipped_topology_fits_the_json_schema_before_and_after_expansion(path: Path) -> None:
    jsonschema = importlib.import_module("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(YAML(typ="safe").load(path))
    validator.validate(expand(load(path)).plain())


def test_the_json_schema_refuses_an_unknown_key() -> None:
    jsonschema = importlib.import_module("jsonschema")
    plain = load_text(TEXT).plain()
    plain["links"][0]["jiter"] = "5 ms"
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(plain)


def test_selectors_are_values() -> None:
    child = load_text(TEXT).tunnels["rw"].children["net"]
    assert child.remote_ts == (Selector.from_prefix("10.1.0.0/16"),)
    assert child.local_ts == ()


def test_a_program_s_values_load_like_a_file() -> None:
    scenario = load_text(TEXT)
    assert load_plain(scenario.plain()) == scenario


def test_what_is_wrong_with_a_program_s_values_is_listed() -> None:
    plain = load_text(TEXT).plain()
    plain["links"][0]["ends"] = ["nobody:eth", "home:lan"]
    with pytest.raises(ScenarioError, match="there is no node `nobody`"):
        load_plain(plain)
    with pytest.raises(ScenarioError, match="is missing"):
        load_plain({"name": "empty"})
