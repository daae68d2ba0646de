"""A tunnel is two connections, and the expanded scenario is a scenario like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.scenario.errors import ScenarioError
from sim.scenario.expand import expand
from sim.scenario.load import dump, load, load_text
from sim.scenario.schema import Connection, Scenario
from sim.wire.selector import Selector
from tests.scenario.base import TEXT, changed, line_of, problems

NET = Selector.from_prefix("10.1.0.0/16")


def _ends(scenario: Scenario) -> tuple[Connection, Connection]:
    connections = expand(scenario).connections
    return connections["alice"]["rw"], connections["moon"]["rw"]


def test_the_initiator_calls_and_the_responder_waits() -> None:
    alice, moon = _ends(load_text(TEXT))
    assert (alice.remote_addrs, moon.remote_addrs) == (("198.51.100.1",), ())
    assert (alice.children["net"].start_action, moon.children["net"].start_action) == ("start", "none")


def test_selectors_are_mirrored() -> None:
    alice, moon = _ends(load_text(TEXT))
    assert (alice.children["net"].local_ts, alice.children["net"].remote_ts) == ((), (NET,))
    assert (moon.children["net"].local_ts, moon.children["net"].remote_ts) == ((NET,), ())


def test_identities_are_mirrored() -> None:
    alice, moon = _ends(load_text(changed(("psk: secret", "psk: secret, local_id: a, remote_id: m"))))
    assert (alice.local_id, alice.remote_id, moon.local_id, moon.remote_id) == ("a", "m", "m", "a")


def test_an_end_may_believe_something_else() -> None:
    auth = "{psk: secret, local_id: a, initiator: {psk: other}, responder: {remote_id: b}}"
    alice, moon = _ends(load_text(changed(("{psk: secret}", auth))))
    assert (alice.psk, moon.psk) == (b"other", b"secret")
    assert (alice.local_id, moon.remote_id) == ("a", "b")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("proposals", "[aes256-sha256-modp2048]", ("aes256-sha256-modp2048",)),
        ("mobike", "false", False),
        ("encap", "true", True),
        ("dpd_delay", "30 s", 30_000_000_000),
        ("keep_alive", "5 s", 5_000_000_000),
        ("retransmit", "iked", "iked"),
        ("return_routability", "false", "none"),
        ("return_routability", "after", "after"),
        ("nat_traversal", "false", False),
        ("dscp", "48", 48),
    ],
)
def test_a_setting_of_a_tunnel_is_one_of_both_connections(key: str, text: str, value: object) -> None:
    default = _ends(load_text(TEXT))
    ends = _ends(load_text(TEXT, overrides=[f"tunnels.rw.{key}={text}"]))
    assert [getattr(end, key) for end in ends] == [value, value]
    assert all(getattr(end, key) != value for end in default)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("mode", "transport", "transport"),
        ("esp_proposals", "[chacha20poly1305]", ("chacha20poly1305",)),
        ("replay_window", "128", 128),
        ("copy_df", "false", False),
        ("ipcomp", "true", True),
        ("fragment", "before", "before"),
        ("icmp", "false", False),
        ("icmp_check", "true", True),
        ("mss_clamp", "1360 B", 1360),
        ("mss_clamp", "auto", -1),
        ("per_cpu_sas", "encap", "encap"),
        ("shared_nat", "track", "track"),
        ("copy_dscp", "in", "in"),
        ("copy_ecn", "false", False),
        ("dscp_map", "{46: 34}", {"46": 34}),
        ("outer_dscp", "10", 10),
        ("outer_ttl", "255", 255),
        ("flow_label", "copy", "copy"),
    ],
)
def test_a_setting_of_a_child_is_one_of_both_ends(key: str, text: str, value: object) -> None:
    mode = ["tunnels.rw.children.net.mode=transport"] if key == "shared_nat" else []
    ends = _ends(load_text(TEXT, overrides=[*mode, f"tunnels.rw.children.net.{key}={text}"]))
    assert [getattr(end.children["net"], key) for end in ends] == [value, value]
    assert all(getattr(end.children["net"], key) != value for end in _ends(load_text(TEXT)))


@pytest.mark.parametrize(("start", "action"), [("at once", "start"), ("trap", "trap"), ("none", "none")])
def test_start_is_the_start_action_of_the_initiator(start: str, action: str) -> None:
    alice, moon = _ends(load_text(TEXT, overrides={"tunnels.rw.children.net.start": start}))
    assert (alice.children["net"].start_action, moon.children["net"].start_action) == (action, "none")


def test_the_responder_is_called_where_the_packets_of_the_first_interface_arrive() -> None:
    text = changed(
        (
            "moon: {kind: gateway, interfaces: {wan",
            "moon: {kind: gateway, interfaces: {old: 10.77.0.1/24, wan",
        ),
        ("bob: {kind: host, interfaces: {", "bob: {kind: host, interfaces: {old: 10.77.0.2/24, "),
        ("links:\n", "links:\n  - {ends: [moon:old, bob:old]}\n"),
    )
    alice, _ = _ends(load_text(text))
    assert alice.remote_addrs == ("198.51.100.1",)


def test_the_address_is_of_a_family_that_the_initiator_has() -> None:
    text = changed(("wan: 198.51.100.1/24", "wan: [2001:db8::1/64, 198.51.100.1/24]"))
    assert _ends(load_text(text))[0].remote_addrs == ("198.51.100.1",)


def test_a_responder_behind_a_nat_cannot_be_called() -> None:
    text = changed(("initiator: alice", "initiator: moon"), ("responder: moon", "responder: alice"),
                   ("  - {ends: [alice:lte, core:cell], delay: 20 ms}\n", ""), (", lte: 203.0.113.77/24", ""),
                   (", cell: 203.0.113.1/24", ""), ("events:\n", ""),
                   ("  - {at: 2 s, node: alice, do: move, from: wlan, to: lte}\n", ""))  # fmt: skip
    with pytest.raises(
        ScenarioError, match=r"tunnels\.rw\.responder: no links lead there from moon"
    ) as caught:
        expand(load_text(text, "lab.yaml"))
    assert str(caught.value).startswith(f"lab.yaml:{line_of(text, 'responder:')}: ")


def test_expanding_twice_changes_nothing() -> None:
    once = expand(load_text(TEXT))
    assert not once.tunnels
    assert expand(once) is once


@pytest.mark.parametrize("path", sorted(Path("topologies").glob("**/*.yaml")), ids=lambda path: path.stem)
def test_the_expanded_file_is_the_same_scenario(path: Path) -> None:
    expanded = expand(load(path))
    again = load_text(dump(expanded), str(path))
    assert again == expanded
    assert again.hash == expanded.hash


def test_a_new_setting_stands_where_its_tunnel_stood() -> None:
    expanded = expand(load_text(TEXT, "lab.yaml"))
    line = f"lab.yaml:{line_of(TEXT, 'rw:')}"
    assert expanded.where(("connections", "alice", "rw", "remote_addrs")) == line


def test_a_connection_and_a_tunnel_cannot_share_a_name() -> None:
    text = dump(expand(load_text(TEXT))).replace("tunnels: {}\n", "")
    tunnels = TEXT[TEXT.index("tunnels:") : TEXT.index("traffic:")]
    assert any("has a connection of that name already" in line for line in problems(text + tunnels))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("connections.alice.rw.remote_addrs=[]", "there is nobody to call"),
        ("connections.alice.rw.remote_addrs=[moon]", "moon"),
        ("connections.bobby={}", "there is no node `bobby`"),
    ],
)
def test_connections_are_checked(override: str, words: str) -> None:
    (line,) = problems(dump(expand(load_text(TEXT))), override)
    assert words in line
