"""Every mistake in a file is answered by its line, its key, and what to write."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.scenario.errors import ScenarioError
from sim.scenario.load import load, load_text
from sim.units import NS_PER_S
from tests.scenario.base import TEXT, changed, line_of, problems

_REPLAY = "kind: replay, file: no.pcap, from: alice, to: bob"
_MOVE = "  - {at: 2 s, node: alice, do: move"
_RULE = "{protocol: udp, port: 500, to: 1.1.1.1, to_port: 7}"
CASES = {
    "unknown key": (("delay: 2 ms", "delay: 2 ms, jiter: 5 ms"), "links.0.jiter", "did you mean `jitter`?"),
    "unknown key at the top": (("duration: 3 s", "durtion: 3 s"), "durtion", "did you mean `duration`?"),
    "unit missing": (("delay: 2 ms", "delay: 2"), "links.0.delay", "2 has no unit"),
    "unit unknown": (("10 Mbit/s", "10 Mbps"), "links.0.rate", "Mbit/s"),
    "negative size": (("size: 500 B", "size: -5 B"), "traffic.0.size", "-5 B"),
    "size below the headers": (("size: 500 B", "size: 20 B"), "traffic.0.size", "at least 28"),
    "rate of zero": (("rate: 400 kbit/s", "rate: 0 kbit/s"), "traffic.0.rate", "greater than zero"),
    "loss above one": (("delay: 2 ms", "loss: 101 %"), "links.0.loss", "at most 100 %"),
    "loss without unit": (("delay: 2 ms", "loss: 0.1"), "links.0.loss", "0.1 has no unit"),
    "one direction only": (("delay: 2 ms", "delay: {up: 2 ms}"), "links.0.delay.down", "is missing"),
    "queue without unit": (("delay: 2 ms", "queue: 100"), "links.0.queue", "100 packets"),
    "queue of nothing": (("delay: 2 ms", "queue: 0 packets"), "links.0.queue", "at least 1 packet"),
    "unknown distribution": (
        ("delay: 2 ms", "jitter: {distribution: norml, scale: 1 ms}"),
        "links.0.jitter.distribution",
        "did you mean `normal`?",
    ),
    "unknown node in a link": (("ends: [alice:wlan", "ends: [alcie:wlan"), "links.0.ends", "mean `alice`?"),
    "unknown interface": (("ends: [alice:wlan", "ends: [alice:wlam"), "links.0.ends", "mean `wlan`?"),
    "link to a node": (("alice:wlan, home", "alice, home"), "links.0.ends.0", "write node:interface"),
    "link to itself": (("moon:lan, bob:eth", "moon:lan, moon:lan"), "links.4.ends", "already"),
    "interface linked twice": (
        ("[alice:lte, core:cell]", "[alice:lte, core:home]"),
        "links.2.ends",
        "core:home is at the end of links.1 already",
    ),
    "interface not linked": (
        ("  - {ends: [moon:lan, bob:eth]}\n", ""),
        "nodes.bob.interfaces.eth",
        "no link ends at bob:eth",
    ),
    "ends in two networks": (("10.1.0.10/16", "10.9.0.10/16"), "links.4.ends", "not in one network"),
    "different prefix lengths": (("10.1.0.10/16", "10.1.0.10/24"), "links.4.ends", "not in one network"),
    "address twice": (("10.1.0.10/16", "10.1.0.1/16"), "nodes.bob.interfaces.eth", "moon:lan already"),
    "overlapping networks": (
        ("203.0.113", "198.51.100"),
        "links.3.ends",
        "198.51.100.0/24 overlaps 198.51.100.0/24 of the link alice:lte - core:cell",
    ),
    "network as address": (("10.1.0.10/16", "10.1.0.0/16"), "nodes.bob.interfaces.eth", "the network"),
    "broadcast address": (("10.1.0.10/16", "10.1.255.255/16"), "nodes.bob.interfaces.eth", "broadcast"),
    "no prefix length": (("10.1.0.10/16", "10.1.0.10"), "nodes.bob.interfaces.eth", "prefix length"),
    "no address": (("10.1.0.10/16", "10.1.0.300/16"), "nodes.bob.interfaces.eth", "10.1.0.300"),
    "node without interfaces": (("{eth: 10.1.0.10/16}", "{}"), "nodes.bob.interfaces", "at least 1"),
    "unknown kind": (("kind: router", "kind: ruter"), "nodes.core", "did you mean `router`?"),
    "kind missing": (("kind: router, ", ""), "nodes.core", "needs to say 'kind'"),
    "unknown preset": (("kind: nat,", "kind: nat, preset: hom,"), "nodes.home.preset", "mean `home`?"),
    "NAT without outside": (("wan: 198.18", "out: 198.18"), "nodes.home", "`outside: NAME`"),
    **{
        f"NAT: {text}": (("kind: nat,", f"kind: nat, {text},"), f"nodes.home{key}", said)
        for text, key, said in (
            ("port_range: 9-5", ".port_range", "no range of ports"),
            ("port_range: 5", ".port_range", "such as 1024-65535"),
            ("block_size: 5", ".block_size", "port_assignment: block"),
            ("port_assignment: block, port_range: 5-6", ".block_size", "does not fit into 5 to 6"),
            ("preset: linux, pooling: paired", ".pooling", "choose another preset"),
            ("preset: linux, port_assignment: parity", ".port_assignment", "preserving and random"),
            ("one_to_one: {192.168.1.10: 198.18.0.9}", ".one_to_one.192.168.1.10", "no address of the out"),
            ("one_to_one: {1.1.1.1: 198.18.0.10, 1.1.1.2: 198.18.0.10}", ".one_to_one", "2 addresses"),
            ("one_to_one: {'::1': 198.18.0.10}", ".one_to_one.::1", "not an IPv4"),
            ("forward: [{protocol: esp, port: 1, to: 1.1.1.1}]", ".forward.0.protocol", "udp"),
            (f"forward: [{_RULE}, {_RULE}]", ".forward.1.port", "has a rule already"),
            (f"forward: [{_RULE}, {_RULE.replace('500', '501')}]", ".forward.1.to", "to 1.1.1.1 port 7"),
            (f"one_to_one: {{1.1.1.1: 198.18.0.10}}, forward: [{_RULE}]", ".forward", "is left for ports"),
            ("tcp_state_timeouts: {close: 1 s}", ".tcp_state_timeouts", "only the preset linux"),
            ("preset: linux, tcp_state_timeouts: {closed: 1 s}", ".tcp_state_timeouts.closed", "close"),
            ("nat64: 10.0.0.0/8", ".nat64", "not an IPv6 prefix"),
            ("nat64: 'fd00::/80'", ".nat64", "/32, /40, /48, /56, /64, /96"),
            ("nat64: '64:ff9b::/96'", ".nat64", "nothing inside has IPv6"),
            ("nat64: '64:ff9b:0:0:100::/96'", ".nat64", "must be zero"),
            ("nptv6: {10.0.0.0/8: 'fd00::/48'}", ".nptv6.10.0.0.0/8", "IPv6 prefixes alone"),
            ("nptv6: {'fd00::/48': '2001:db8::/56'}", ".nptv6.fd00::/48", "of one length"),
            ("nptv6: {'fd00::/72': '2001:db8::/72'}", ".nptv6.fd00::/72", "longer than /64"),
            ("nptv6: {'fd00::/48': 'fd00::/48'}", ".nptv6", "must not overlap"),
            ("nptv6: {'fd00::/48': 'fd01::/48'}", ".nptv6", "needs an IPv6 address"),
        )
    },
    **{
        f"firewall: {text}": (("kind: router,", f"kind: firewall, {text},"), f"nodes.core{key}", said)
        for text, key, said in (
            ("outside: wan", "", "`outside: NAME`"),
            ("outside: home, esp: drop, esp_timeout: 5 s", ".esp_timeout", "nothing to time out"),
            ("outside: home, allow: [{protocol: esp, port: 5}]", ".allow.0.port", "esp has no ports"),
            ("outside: home, esp: drop, allow: [{protocol: ah}]", ".allow.0.protocol", "neither ESP nor AH"),
        )
    },
    **{
        f"event: {text}": ((_MOVE, f"  - {{{text}}}\n{_MOVE}"), f"events.0{key}", said)
        for text, key, said in (
            ("node: home, do: rebind", "", "either `at: 5 s` or `when:"),
            ("at: 1 s, after: 1 s, node: home, do: rebind", "", "`after` is the time after `when`"),
            ("at: 1 s, times: 2, node: home, do: rebind", "", "`times` needs `every` or `when`"),
            ("when: {connection: rx, is: closed}, node: home, do: rebind", ".when.connection", "known: rw"),
            ("when: {connection: rw, is: up}, node: home, do: rebind", ".when.is", "not one of established"),
            ("at: 1 s, node: alice, do: move, from: wlan, to: lte, gap: 1 s, overlap: 1 s", "", "exclude"),
            ("at: 1 s, node: bob, do: flap, interface: ett, gap: 1 s", ".interface", "mean `eth`?"),
            ("at: 1 s, node: bob, do: add-address, interface: eth, address: 10.1.0.9", ".address", "prefix"),
            ("at: 1 s, node: home, do: rebind, address: '2001:db8::1/64'", "", "is IPv4"),
            ("at: 1 s, node: home, do: rebind, address: 9.9.9.9/24", ".address", "nobody would find it"),
            ("at: 1 s, node: home, do: rebind, address: 198.18.0.1/24", ".address", "an address of core"),
            ("at: 1 s, node: moon, do: exhaust", ".node", "only a NAT has mappings"),
            ("at: 1 s, node: home, do: retime", "", "changes nothing"),
            ("at: 1 s, node: home, do: retime, udp_stream_timeout: 1 s", ".udp_stream_timeout", "linux"),
            ("at: 1 s, node: core, do: block, rule: r, protocol: esp, port: 1", "", "have ports"),
            ("at: 1 s, node: core, do: unblock, rule: r", ".rule", "there is no rule of core"),
        )
    },
    "name with a dot": (("alice: {", "a.b: {"), "nodes.a.b", "letters, digits"),
    "mtu below IPv4's least": (("delay: 2 ms", "mtu: 67 B"), "links.0.mtu", "at least 68"),
    "route over nothing": (
        ("kind: router,", "kind: router, routes: {10.0.0.0/8: moo},"),
        "nodes.core.routes.10.0.0.0/8",
        "did you mean `moon`?",
    ),
    "no network in a route": (
        ("kind: router,", "kind: router, routes: {10.0.0.1/8: moon},"),
        "nodes.core.routes.10.0.0.1/8",
        "write a network",
    ),
    "proposal": (
        ("auth: {psk: secret}", "auth: {psk: secret}\n    proposals: [aes129gcm16-x25519]"),
        "tunnels.rw.proposals.0",
        "aes129gcm16",
    ),
    "ESP proposal": (
        ("{remote_ts: [10", "{esp_proposals: [aes128], remote_ts: [10"),
        "tunnels.rw.children.net.esp_proposals.0",
        "aes128",
    ),
    "selector": (("[10.1.0.0/16]", "[10.1.0.0/16[udb/53]]"), "", "not YAML"),
    "quoted selector": (
        ("[10.1.0.0/16]", '["10.1.0.0/16[udb/53]"]'),
        "tunnels.rw.children.net.remote_ts",
        "'udb' is no protocol",
    ),
    "identity": (("psk: secret", "psk: secret, local_id: 'Q=CH'"), "tunnels.rw.auth.local_id", "Q=CH"),
    "psk missing": (("psk: secret", "local_id: me"), "tunnels.rw.auth", "psk"),
    "psk a number": (("psk: secret", "psk: 12345"), "tunnels.rw.auth.psk", "quote it"),
    "psk broken": (("psk: secret", "psk: '0xabc'"), "tunnels.rw.auth.psk", "hexadecimal after 0x"),
    "tunnel to nobody": (("responder: moon", "responder: mon"), "tunnels.rw.responder", "mean `moon`?"),
    "tunnel to itself": (("responder: moon", "responder: alice"), "tunnels.rw.responder", "itself"),
    "tunnel to a NAT": (("responder: moon", "responder: home"), "tunnels.rw.responder", "is a nat"),
    "window too small": (
        ("{remote_ts: [10", "{replay_window: 31, remote_ts: [10"),
        "tunnels.rw.children.net.replay_window",
        "at least 32",
    ),
    "outer header in transport mode": (
        ("{remote_ts: [10.1.0.0/16]", "{mode: transport, outer_ttl: 9"),
        "tunnels.rw.children.net",
        "outer_ttl is for tunnel mode",
    ),
    "shared NAT in tunnel mode": (
        ("{remote_ts: [10", "{shared_nat: refuse, remote_ts: [10"),
        "tunnels.rw.children.net",
        "shared_nat is for transport mode",
    ),
    "two ways to share": (
        ("{remote_ts: [10.1.0.0/16]", "{mode: transport, shared_nat: track, per_cpu_sas: 'yes'"),
        "tunnels.rw.children.net",
        "needs per_cpu_sas: no",
    ),
    "DSCP beyond 63": (
        ("{remote_ts: [10", "{dscp_map: {64: 1}, remote_ts: [10"),
        "tunnels.rw.children.net.dscp_map.64",
        "64 is no DSCP: write a number from 0 to 63",
    ),
    "boolean in words": (
        ("auth: {psk: secret}", "auth: {psk: secret}\n    mobike: 'yes'"),
        "tunnels.rw.mobike",
        "true or false",
    ),
    "traffic to nobody": (("to: bob", "to: bbo"), "traffic.0.to", "did you mean `bob`?"),
    "traffic to itself": (("to: bob", "to: alice"), "traffic.0.to", "comes from"),
    "traffic after the end": (("start: 500 ms", "start: 3 s"), "traffic.0.start", "nothing would be sent"),
    "traffic ends twice": (
        ("start: 500 ms", "start: 500 ms, stop: 2 s, duration: 1 s"),
        "traffic.0",
        "keep one",
    ),
    "traffic stops first": (("start: 500 ms", "start: 500 ms, stop: 400 ms"), "traffic.0", "not after"),
    "event on nobody": (("node: alice", "node: alicia"), "events.0.node", "did you mean `alice`?"),
    "event after the end": (("at: 2 s", "at: 4 s"), "events.0.at", "never happen"),
    "unknown event": (("do: move", "do: moev"), "events.0", "did you mean `move`?"),
    "move to nowhere": (("to: lte", "to: let"), "events.0.to", "did you mean `lte`?"),
    "move to the same": (("to: lte", "to: wlan"), "events.0.to", "already"),
    "rebind of a host": (("do: move, from: wlan, to: lte", "do: rebind"), "events.0.node", "only a NAT"),
    "check of nothing": (("{connection: rw,", "{connection: rww,"), "checks.0.connection", "mean `rw`?"),
    "check of no flow": (("{flow: up,", "{flow: upp,"), "checks.1.flow", "did you mean `up`?"),
    "check without limit": (("{flow: up, max_loss: 5 %}", "{flow: up}"), "checks.1", "at least one limit"),
    "check after the end": (("by: 1 s", "by: 4 s"), "checks.0.by", "after the end"),
    "reason of a success": (("by: 1 s", "reason: TIMEOUT"), "checks.0.reason", "is: failed"),
    "capture of nothing": (("events:", "capture: ['alcie:*']\nevents:"), "capture.0", "no interface matches"),
    "key twice": (("name: base", "name: base\nname: base"), "name", "the first is at lab.yaml:1"),
    "capture missing": (
        ("kind: cbr, from: alice, to: bob, size: 500 B, rate: 400 kbit/s", _REPLAY),
        "traffic.0.file",
        "no.pcap: No such file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_reported_with_its_line_and_key(name: str) -> None:
    replacement, key, words = CASES[name]
    text = changed(replacement)
    found = [line for line in problems(text) if f": {key}: " in line or not key]
    assert found, problems(text)
    assert words in found[0]
    number = int(found[0].split(":")[1])
    assert 1 <= number <= text.count("\n") + 1


def test_the_line_is_that_of_the_key() -> None:
    text = changed(("delay: 2 ms", "delay: 2 ms, jiter: 5 ms"))
    assert problems(text) == [
        f"lab.yaml:{line_of(text, 'jiter')}: links.0.jiter: unknown key; did you mean `jitter`?"
    ]


def test_a_key_on_its_own_line_is_found_there() -> None:
    text = changed(("    auth: {psk: secret}", "    auth:\n      # why\n      pks: secret"))
    assert f"lab.yaml:{line_of(text, 'pks:')}: tunnels.rw.auth.pks" in problems(text)[0]


def test_several_mistakes_are_reported_at_once() -> None:
    text = changed(("delay: 2 ms", "delay: 2, jiter: 5 ms"), ("kind: router", "kind: ruter"))
    assert len(problems(text)) == 3
    text = changed(("to: bob", "to: bbo"), ("to: lte", "to: let"), ("10.1.0.10/16", "10.1.0.1/16"))
    assert len(problems(text)) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"just words", "is not a mapping"),
        (b"- a\n- b\n", "is not a mapping"),
        (b"name:\n\tx: 1\n", "spaces, not tabs"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8"),
        (b"\x00\x01\x02", "special characters"),
        (b"name: [", "not YAML"),
        (b"name: *missing", "undefined alias"),
        (b"a: 1\n---\nb: 2\n", "single document"),
        (b"name: !!python/object:os.system x", "has no meaning here"),
        (b"[" * 5000, "too deep"),
        (b"a: &a [*a]", "too deep"),
        (b"? [1, 2]\n: x", "must be text"),
    ],
)
def test_what_is_not_a_scenario_is_said_to_be_none(text: bytes, words: str) -> None:
    assert any(words in line for line in problems(text))


def test_aliases_are_not_expanded_without_end() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    bomb = "\n".join(["a0: &a0 [x]", *levels])
    assert "values" in problems(bomb)[0]


def test_an_alias_means_what_it_stands_for() -> None:
    text = changed(("delay: 5 ms", "delay: &far 5 ms"), ("delay: 20 ms", "delay: 20 ms"))
    again = text.replace("[moon:lan, bob:eth]", "[moon:lan, bob:eth], delay: *far")
    assert load_text(again).links[4].delay.up == 5_000_000


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("links.9.delay=5 ms", "links.9.delay", "links has 5 items"),
        ("links.0.delay=5", "links.0.delay", "5 has no unit"),
        ("links.0.jiter=5 ms", "links.0.jiter", "did you mean `jitter`?"),
        ("nodes.hom.preset=cgn", "nodes.hom.preset", "nodes has no hom"),
        ("nodes.home.preset=cng", "nodes.home.preset", "did you mean `cgn`?"),
        ("tunnels.rw.auth.respondr.psk=x", "tunnels.rw.auth.respondr.psk", "tunnels.rw.auth has no respondr"),
        ("tunnels.rw.auth.responder.pks=x", "tunnels.rw.auth.responder.pks", "did you mean `psk`?"),
        ("connections.moon.c.psk=x", "connections.moon.c.children", "is missing"),
        ("capture.0=x", "capture", "must be a list"),
        ("traffic.down.rate=1 Mbit/s", "traffic.down.rate", "none is named down"),
    ],
)
def test_a_bad_override_is_cited(override: str, key: str, words: str) -> None:
    (line,) = problems(TEXT, override)
    assert line.startswith(f"--set {override}: {key}: ")
    assert words in line


@pytest.mark.parametrize("override", ["links", "=5", "", "a=[", "a=!!x y"])
def test_an_override_that_is_none_is_refused(override: str) -> None:
    assert problems(TEXT, override)[0].startswith(f"--set {override}")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(ScenarioError, match=str(path)):
            load(path)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_a_capture_that_is_no_regular_file_is_refused_with_its_line(kind: str, tmp_path: Path) -> None:
    """Nobody waits for a pipe into which nobody writes."""
    file = tmp_path / kind
    make: dict[str, Callable[[], None]] = {
        "pipe": lambda: os.mkfifo(file),
        "folder": file.mkdir,
        "device": lambda: file.symlink_to("/dev/zero"),
    }
    make[kind]()
    flow = f"traffic:\n  - {{name: web, kind: replay, from: alice, to: bob, file: {file}}}\n"
    text = changed(("traffic:\n", flow))
    (problem,) = problems(text)
    assert problem == f"lab.yaml:{line_of(text, 'kind: replay')}: traffic.0.file: {file}: not a regular file"


def test_a_capture_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = Path("topologies/captures/web-download.pcap").read_bytes()
    (tmp_path / "cut.pcap").write_bytes(whole[:-7])
    text = changed(
        ("kind: cbr", "kind: replay, file: cut.pcap"),
        ("size: 500 B, rate: 400 kbit/s, ", ""),
        ("flow: up", "flow: up.down"),
    )
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.where == f"{path}:{line_of(text, 'cut.pcap')}"
    assert problem.key == "traffic.0.file"


@given(st.binary(max_size=300))
def test_any_octets_are_a_scenario_or_an_explained_error(octets: bytes) -> None:
    with pytest.raises(ScenarioError):
        load_text(octets)


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_JUNK = st.recursive(
    _SCALARS | st.sampled_from(["5 ms", "up", "10.1.0.0/16"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_PLACES = [
    *("duration", "nodes", "nodes.home", "nodes.home.interfaces", "nodes.home.interfaces.lan"),
    *("nodes.home.routes", "links", "links.0", "links.0.ends", "links.0.delay", "links.0.jitter"),
    *("links.0.queue", "links.0.rate", "links.0.mtu", "tunnels", "tunnels.rw", "tunnels.rw.auth"),
    *("tunnels.rw.auth.psk", "tunnels.rw.proposals", "tunnels.rw.children", "connections"),
    *("tunnels.rw.children.net.remote_ts", "traffic", "traffic.0", "traffic.0.kind", "traffic.0.size"),
    *("events", "events.0", "checks", "checks.0", "checks.1", "capture"),
]


@settings(max_examples=60)
@given(st.sampled_from(_PLACES), _JUNK)
def test_any_value_anywhere_is_accepted_or_explained(path: str, value: object) -> None:
    with suppress(ScenarioError):
        load_text(TEXT, overrides={path: value})


LONG = "x" * 65_500


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tunnels.rw.auth.local_id='@#" + "ab" * 32_000 + "'", "an identity of 32000 octets: at most 4096"),
        ("tunnels.rw.auth.remote_id=" + LONG, "an identity of 65500 octets: at most 4096"),
        ("tunnels.rw.initiator=" + LONG, "is too long: at most 255 characters"),
        (f"tunnels.rw.children.{LONG}={{}}", "is too long: at most 255 characters"),
        (
            f"nodes.{LONG}={{kind: host, interfaces: {{a: 192.0.2.1/24}}}}",
            "is too long: at most 255 characters",
        ),
        (f"nodes.alice.interfaces.{LONG}=192.0.2.1/24", "is too long: at most 255 characters"),
        ("traffic.up.name=" + LONG, "is too long: at most 255 characters"),
        (
            "tunnels.rw.children.net.remote_ts=[" + "10.1.0.0/16, " * 300 + "]",
            "has 300 items: at most 253",
        ),
        (
            "tunnels.rw.proposals=[" + "aes128gcm16-prfsha256-x25519, " * 256 + "]",
            "has 256 items: at most 255",
        ),
        (
            "tunnels.rw.children.net.esp_proposals=[" + "aes128gcm16, " * 256 + "]",
            "has 256 items: at most 255",
        ),
        ("nodes.home.udp_timeout=0 s", "must be greater than 0"),
        ("tunnels.rw.dpd_delay=1 ns", "must be 0 s, which is never, or at least 1 ms"),
        ("tunnels.rw.keep_alive=999 us", "must be 0 s, which is never, or at least 1 ms"),
        ('name="\\ud800"', "half a surrogate pair"),
        ('{"\\ud800": 1}', "PATH=VALUE"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_fits_no_message_and_no_file_is_refused(setting: str, words: str) -> None:
    (problem, *_) = problems(TEXT, setting)
    assert words in problem
    assert problem.startswith("--set ")
    assert len(problem) < 1500


def test_a_rate_of_more_than_a_packet_each_nanosecond_is_refused() -> None:
    """It would stand still at one instant."""
    assert problems(TEXT, "traffic.up.rate=4000 Gbit/s", "traffic.up.stop=1 h")[0].endswith(
        "after the end of the run"
    )
    (problem,) = problems(TEXT, "traffic.up.rate=4001 Gbit/s")
    assert problem.startswith(
        f"lab.yaml:{line_of(TEXT, 'name: up')}: traffic.0: `rate` is more than a packet"
    )


def test_as_many_selectors_and_proposals_as_fit_are_carried() -> None:
    """The most that is accepted does not break the message that must hold it."""
    selectors = ", ".join(["10.1.0.0/16", *(f"10.2.{i}.0/24" for i in range(252))])
    overrides = [
        f"tunnels.rw.children.net.remote_ts=[{selectors}]",
        "tunnels.rw.children.net.start=trap",
        f"tunnels.rw.proposals=[{'aes128gcm16-prfsha256-x25519, ' * 255}]",
        f"tunnels.rw.children.net.esp_proposals=[{'aes128gcm16, ' * 255}]",
        "tunnels.rw.auth.local_id=" + "x" * 4096,
    ]
    result = sim.run(load_text(TEXT, overrides=overrides), until=NS_PER_S)
    assert result.summary["flows"][0]["received"] > 10


@pytest.mark.parametrize(
    "name", ['"a\\0b"', '"\\ud800"', LONG, '""', ".", "/dev/zero"], ids=lambda name: name[:9]
)
def test_a_capture_that_no_file_can_be_is_refused_with_its_line(name: str) -> None:
    flow = f"traffic:\n  - {{name: web, kind: replay, from: alice, to: bob, file: {name}}}\n"
    text = changed(("traffic:\n", flow))
    (problem, *_) = problems(text)
    assert problem.startswith(f"lab.yaml:{line_of(text, 'kind: replay')}: traffic.0.file: ")


@pytest.mark.parametrize("where", ["name: base", "kind: cbr", "psk: secret"])
def test_half_a_surrogate_pair_is_no_text(where: str) -> None:
    key = where.partition(":")[0]
    text = changed((where, f'{key}: "\\ud800"'))
    (problem, *_) = problems(text)
    assert problem.startswith(f"lab.yaml:{line_of(text, 'ud800')}: ")
    assert "half a surrogate pair" in problem


@pytest.mark.parametrize("anybody", ["%any", "*"])
@pytest.mark.parametrize("key", ["local_id", "remote_id", "initiator.local_id", "responder.local_id"])
def test_rfc7296_3_5_nobody_says_that_it_is_anybody(key: str, anybody: str) -> None:
    (problem,) = problems(TEXT, f"tunnels.rw.auth.{key}='{anybody}'")
    assert f"tunnels.rw.auth.{key}: nobody is called like that" in problem
    connection = "{remote_addrs: [198.51.100.1], psk: x, local_id: '%any', children: {c: {}}}"
    (problem,) = problems(TEXT, f"connections={{alice: {{c: {connection}}}}}")
    assert "connections.alice.c.local_id: nobody is called like that" in problem


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("connection: two", "no connection of alice `two`"),
        ("connection: rw, child: x", "no child of rw `x`"),
        ("connection: rw, count: 0", "count"),
        ("connection: rw, size: 1 MB", "size"),
    ],
)
def test_a_dummy_packet_needs_an_sa_and_a_size_to_hide_in(event: str, text: str) -> None:
    (problem,) = problems(TEXT, f"events=[{{at: 1 s, node: alice, do: dummy, {event}}}]")
    assert "events.0" in problem
    assert text in problem


def test_ah_has_no_dummy_packets() -> None:
    children = "tunnels.rw.children={net: {ah_proposals: [sha256], remote_ts: [10.1.0.0/16]}}"
    (problem,) = problems(TEXT, children, "events=[{at: 1 s, node: alice, do: dummy, connection: rw}]")
    assert "events.0.do: dummy packets hide among those of ESP" in problem


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("df: set", "df: set needs copy_df: false"),
        ("mode: transport, fragment: before", "fragment is for tunnel mode"),
        ("mode: transport, mss_clamp: auto", "mss_clamp is for tunnel mode"),
        ("mode: iptfs, copy_dscp: in", "copy_dscp is for tunnel mode: an outer packet of mode iptfs"),
        ("mode: iptfs, flow_label: copy", "flow_label is for tunnel mode"),
        ("mode: iptfs, fragment: before", "fragment is for tunnel mode"),
        ("mode: iptfs, shared_nat: refuse", "shared_nat is for transport mode"),
        ("icmp: false, icmp_check: true", "icmp_check needs icmp: true"),
        ("mss_clamp: 87 B", "an MSS is from 88 B to 65495 B"),
        ("mss_clamp: 1360", "1360 is no MSS"),
        ("mode: transport, tfc_padding: mtu", "tfc_padding is for tunnel mode"),
        ("ah_proposals: [sha256], tfc_padding: 100 B", "tfc_padding is of ESP"),
        ("ipcomp: true, tfc_padding: 100 B", "tfc_padding and ipcomp exclude each other"),
        ("tfc_padding: 65001 B", "padding is up to 65000 B, or mtu"),
        ("tfc_padding: 1000", "1000 is no padding"),
    ],
)
def test_a_setting_about_sizes_that_would_do_nothing_is_refused(settings: str, text: str) -> None:
    (problem,) = problems(changed(("net: {remote_ts", f"net: {{{settings}, remote_ts")))
    assert text in problem


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["iptfs={packet_size: 1400 B}"], "are for `mode: iptfs`"),
        (["mode=iptfs", "ipcomp=true"], "cannot be combined with ipcomp"),
        (["mode=iptfs", "tfc_padding=mtu"], "cannot be combined with ipcomp or tfc_padding"),
        (["mode=iptfs", "ah_proposals=[sha256]"], "needs ESP"),
        (["mode=iptfs", "iptfs={congestion_control: true}"], "needs an l3_fixed_rate"),
        (["mode=iptfs", "iptfs={l3_fixed_rate: 1 Mbit/s, init_delay: 1 ms}"], "the clock decides"),
        (["mode=iptfs", "iptfs={packet_size: 100 B}"], "from 256 B to 65535 B"),
        (["mode=iptfs", "iptfs={reorder_window: -1}"], "reorder_window"),
    ],
)
def test_settings_of_aggfrag_mode_that_do_not_fit_are_refused(overrides: list[str], words: str) -> None:
    found = problems(TEXT, *(f"tunnels.rw.children.net.{override}" for override in overrides))
    assert any(words in problem for problem in found), found


def test_the_prefix_of_a_nat64_belongs_to_nobody_inside() -> None:
    text = Path("topologies/nat/nat64.yaml").read_text()
    told = problems(text, "nodes.plat.nat64=2001:db8:1::/64")
    assert any("2001:db8:1::1/64 is of the inside" in line for line in told)
