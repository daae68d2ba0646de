"""For every key of the schema: a scenario in which it matters, and another value of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sim.scenario.issue import Issued, crl, pem_crl
from tests.crypto.authority import ALWAYS, make_leaf, make_root
from tests.scenario.base import changed

CAPTURE = Path("topologies/captures/web-download.pcap").absolute()

WIDE = changed(
    ("lte: 203.0.113.77/24}", "lte: 203.0.113.77/24, eth: 10.9.0.2/24}"),
    ("wan: 198.18.0.10/24}", "wan: 198.18.0.10/24, dsl: 198.19.0.10/24}"),
    ("{home: 198", "{dsl: 198.19.0.1/24, eth: 10.9.0.1/24, carol: 10.30.0.1/24, home: 198"),
    ("lan: 10.1.0.1/16}", "lan: 10.1.0.1/16, a: 10.7.0.1/24, b: 10.8.0.1/24}"),
    ("eth: 10.1.0.10/16}", "eth: 10.1.0.10/16, wlan: 10.7.0.2/24, lte: 10.8.0.2/24}"),
    (
        "links:\n",
        """\
  carol: {kind: host, interfaces: {eth: 10.30.0.2/24, x: 10.40.0.2/24, y: 10.41.0.2/24}}
  off: {kind: nat, interfaces: {lan: 10.40.0.1/24, wan: 10.41.0.1/24}}
links:
""",
    ),
    (
        "tunnels:\n",
        """\
  - {ends: [home:dsl, core:dsl]}
  - {ends: [alice:eth, core:eth]}
  - {ends: [carol:eth, core:carol]}
  - {ends: [carol:x, off:lan]}
  - {ends: [carol:y, off:wan]}
  - {ends: [moon:a, bob:wlan]}
  - {ends: [moon:b, bob:lte]}
tunnels:
  two: {initiator: alice, responder: carol, auth: {psk: x}, children: {c: {mode: transport, start: none}}}
""",
    ),
    (
        "events:\n",
        """\
  - {name: late, kind: cbr, from: bob, to: alice, size: 200 B, rate: 8 kbit/s, start: 2500 ms}
events:
""",
    ),
)  # fmt: skip
"""The base scenario with a spare of everything; numbers of old links and flows stay."""


class Case(NamedTuple):
    """Overrides for both runs, and the one that only the second has; `{file}` is a capture of the test's."""

    both: tuple[str, ...]
    change: str
    expanded: bool = False


def _case(*overrides: str) -> Case:
    return Case(overrides[:-1], overrides[-1])


UNCHECKED = "checks=[]"


def _timing(kind: str, event: str, before: str = "") -> dict[str, Case]:
    """The keys that say when an event happens."""
    once, again = f"{{at: 1 s, {event}}}", f"{{at: 1 s, every: 600 ms, {event}}}"
    told = f"{{when: {{connection: rw, is: established}}, {event}}}"
    both = [UNCHECKED, "traffic=[]"]

    def case(first: str, second: str) -> Case:
        texts = [f"events=[{before}{each}]" for each in (first, second)]
        return Case((*both, texts[0]), texts[1])

    return {
        f"{kind}.at": case(once, once.replace("1 s", "2 s")),
        f"{kind}.every": case(once, again),
        f"{kind}.times": case(again, again.replace("{", "{times: 2, ", 1)),
        f"{kind}.when": case(once, told),
        f"{kind}.after": case(told, told.replace("{", "{after: 200 ms, ", 1)),
        f"{kind}.spread": _spread(both, before + once),
    }


def _spread(both: list[str], events: str) -> Case:
    """Two of the event's node, and when it happens to the second."""
    node = "home" if "node: home" in events else "alice"
    here = events.replace("node: core", f"node: {node}")
    first = here.rindex("{at: ")
    later = f"{here[:first]}{{spread: 400 ms, {here[first + 1 :]}"
    return Case((*both, f"nodes.{node}.count=2", f"events=[{here}]"), f"events=[{later}]")


STILL = "events=[]"
ELSE = (
    "connections={moon: {else: {remote_addrs: [198.51.100.254], psk: x,"
    " children: {c: {remote_ts: [10.99.0.0/16]}}}}}"
)
KEPT = (UNCHECKED, STILL, "traffic=[]", "duration=20 s", "tunnels.rw.keep_alive=1 s")
FOLLOWING = "tunnels.rw.follow_redirects=true"
REDIRECT = (
    UNCHECKED,
    FOLLOWING,
    "events=[{at: 1 s, node: moon, do: redirect, connection: rw, to: 198.51.100.2}]",
)
_FLOWS = (f"{{name: f{n}, kind: cbr, from: alice, to: bob, size: 500 B, rate: 40 kbit/s}}" for n in range(8))
MANY = f"traffic=[{', '.join(_FLOWS)}]"
CHILDREN = "checks=[{child: net, connection: rw, sas: 1}]"
QUIET = (UNCHECKED, STILL, "traffic=[]")
LEFT_BEHIND = (
    UNCHECKED,
    "traffic=[]",
    "duration=40 s",
    "tunnels.rw.mobike=false",
    "tunnels.rw.dpd_delay=500 ms",
    "tunnels.rw.retransmit=libreswan",
)
"""The SA stays behind when its host moves; a liveness check finds out."""
NO_NAT = (
    "nodes.home={kind: router, interfaces: {lan: 192.168.1.1/24, wan: 198.18.0.10/24, dsl: 198.19.0.10/24}}"
)
CHILD = "tunnels.rw.children.net"
UNEVEN = "links.4.delay={up: 1 ms, down: 3 ms}"
NINE = "links.0.queue={up: 9 packets, down: 9 packets}"
SLOW = "links.0.rate=100 kbit/s"
RANDOM = "links.4.jitter={distribution: normal, scale: 3 ms}"
AGGREGATED = (UNCHECKED, STILL, f"{CHILD}.mode=iptfs")
COMMAND = "events=[{at: 1 s, node: alice, do: rekey, connection: rw}]"
DUMMY = "events=[{at: 1 s, node: alice, do: dummy, connection: rw}]"
PING = "traffic=[{name: p, kind: ping, from: alice, to: bob, start: 500 ms}]"
CUT = (
    UNCHECKED,
    STILL,
    f"{CHILD}.copy_df=false",
    "traffic=[{name: p, kind: ping, from: alice, to: bob, size: 1480 B, start: 500 ms}]",
)
"""The answers, which may be fragmented, do not fit into the tunnel."""
NARROW_LAN = (UNCHECKED, STILL, "links.4.mtu=400 B")
"""moon tells alice so, in the tunnel."""
NARROW = (UNCHECKED, STILL, "links.3.mtu=520 B")
"""core tells alice, and the least MTU that she believes in is more."""
BACK = (
    "traffic.up={name: up, kind: cbr, from: bob, to: alice, size: 1000 B, rate: 80 kbit/s, start: 1 s,"
    " pmtud: probe}"
)
NARROW_BACK = (UNCHECKED, STILL, "links.2.mtu=520 B", BACK)
"""The same with moon."""
CLEAR_PING = (UNCHECKED, STILL, "traffic=[{name: p, kind: ping, from: alice, to: 'core:home'}]")
MOON_PING = (UNCHECKED, STILL, "traffic=[{name: p, kind: ping, from: moon, to: 'core:home'}]")
TWO = "tunnels.rw.children={net: {remote_ts: '10.1.0.0/16[icmp]'}, udp: {remote_ts: '10.1.0.0/16[udp]'}}"
WEB = f"traffic=[{{name: p, kind: replay, file: {CAPTURE}, from: alice, to: bob}}]"
STRAY = "traffic.late={name: p, kind: replay, file: {file}, from: carol, to: 'home:wan', start: 1 s}"
STRAY_IN = (
    "traffic=[{name: p, kind: cbr, from: carol, to: 'home:wan', size: 99 B, rate: 80 kbit/s, start: 1 s}]"
)
CLEAR_TWO = "tunnels.two.children.c.local_ts=[192.168.1.99]"
"""So that what carol sends to alice is for no tunnel."""
FORWARD = "nodes.home.forward=[{protocol: udp, port: 9, to: 192.168.1.10}]"
TCP = (
    "nodes.home.filtering=endpoint-independent",
    "traffic=[{name: out, kind: replay, file: {tcp}, from: alice, to: 'core:home', start: 1 s},"
    " {name: in, kind: replay, file: {back}, from: core, to: 'home:wan', start: 1100 ms}]",
)
"""A connection between alice and core through home: opened, and a last segment from core after a second."""
PLAIN_ESP = (
    *QUIET[:2],
    "traffic=[{name: out, kind: replay, file: {esp}, from: alice, to: 'core:home', start: 1 s},"
    " {name: in, kind: replay, file: {answer}, from: core, to: 'home:wan', start: 2 s}]",
)
"""A packet of ESP from alice to core through home, and one back a second later."""
LED_IN = (CLEAR_TWO, UNCHECKED, STILL, FORWARD, STRAY_IN)
REBIND = "events=[{at: 1 s, node: home, do: rebind}]"
DOWN = "events=[{at: 1 s, node: alice, do: down, interface: lte}]"
PPKS = tuple(
    f"connections.{node}.rw.{each}" for node in ("alice", "moon") for each in ("ppk=x", "ppk_id=one")
)
PPK = ("tunnels.rw.ppk=secret", "tunnels.rw.ppk_id=one")
FLAP = "events=[{at: 1 s, node: alice, do: flap, interface: wlan, gap: 100 ms}]"
ADD = "events=[{at: 1 s, node: alice, do: add-address, interface: eth, address: 10.9.0.9/24}]"
REBOOT = "events=[{at: 1 s, node: home, do: reboot}]"
RETIME = "events=[{at: 1 s, node: home, do: retime, udp_timeout: 20 ms}]"
SILENT = (
    UNCHECKED,
    "tunnels.rw.keep_alive=0 s",
    "traffic=[{name: p, kind: ping, from: bob, to: alice, interval: 400 ms}]",
)
EXHAUST = "events=[{at: 0 s, node: home, do: exhaust}]"
BLOCK = "events=[{at: 1 s, node: core, do: block, rule: r}]"
LIFTED = "events=[{at: 1 s, node: core, do: block, rule: r}, {at: 1500 ms, node: core, do: unblock, rule: r}]"
TWO_RULES = (
    "events=[{at: 1 s, node: core, do: block, rule: r},"
    " {at: 1 s, node: moon, do: block, rule: s, protocol: ah},"
    " {at: 1500 ms, node: core, do: unblock, rule: r}, {at: 500 ms, node: core, do: block, rule: s, port: 7,"
    " protocol: udp}, {at: 500 ms, node: moon, do: block, rule: r, port: 7, protocol: udp},"
    " {at: 500 ms, node: core, do: block, rule: r, port: 8, protocol: udp}]"
)
LATE_BLOCK = "{at: 600 ms, node: core, do: block, rule: r}, "
WHEN = "events=[{when: {connection: rw, is: established}, node: home, do: rebind}]"
UP = "events=[{at: 1 s, node: alice, do: up, interface: lte}]"
REFUSED = "tunnels.rw.auth.responder={psk: other}"
REASON = "checks=[{connection: rw, is: failed, by: 3 s, reason: AUTHENTICATION_FAILED}]"

EAP = (
    "pki=auto",
    "tunnels.rw.auth={method: pubkey, eap_id: carol, password: right, initiator: {method: eap-mschapv2},"
    " responder: {}}",
)
SECOND = "tunnels.rw.auth={psk: x, second: {method: eap-mschapv2, id: carol, password: right}}"
POOL = "pools={moon: {p: {addrs: 10.77.0.0/24}}}"
LEASED = ("tunnels.rw.vips=[0.0.0.0]", "tunnels.rw.pools=[p]")
PKI = ("pki=auto", "tunnels.rw.auth.method=pubkey")

OVER_IPV6 = (
    UNCHECKED, STILL, "nodes.bob.interfaces.eth=2001:db8:1::10/64",
    "nodes.moon.interfaces.lan=2001:db8:1::1/64",
    "tunnels={rw: {initiator: bob, responder: moon, auth: {psk: x}, children: {net: "
    "{local_ts: [10.8.0.2/32], remote_ts: [10.8.0.1/32]}}}}",
    "traffic=[{name: up, kind: ping, from: bob, to: 'moon:b', start: 1 s}]",
)  # fmt: skip
"""bob and moon protect their IPv4 by a tunnel over IPv6."""

SHARED_NAT = (
    *QUIET[:2],
    "nodes={alice: {kind: host, interfaces: {eth: 192.168.1.10/24}},"
    " carol: {kind: host, interfaces: {eth: 192.168.2.10/24}}, home: {kind: nat, interfaces:"
    " {one: 192.168.1.1/24, two: 192.168.2.1/24, wan: 198.51.100.10/24}},"
    " moon: {kind: host, interfaces: {wan: 198.51.100.1/24}}}",
    "links=[{ends: [alice:eth, home:one]}, {ends: [carol:eth, home:two]}, {ends: [home:wan, moon:wan]}]",
    "traffic=[{name: up, kind: ping, from: alice, to: moon, start: 1 s}]",
)
"""alice and carol behind one NAT."""
_WALL = "{kind: firewall, interfaces: {lan: 192.0.2.1/24, wan: 203.0.113.2/24}}"
WALL = (
    *QUIET[:2],
    "tunnels={}",
    "nodes={alice: {kind: host, interfaces: {eth: 192.0.2.10/24}}, wall: " + _WALL + ","
    " core: {kind: router, interfaces: {wall: 203.0.113.1/24, bob: 198.51.100.254/24,"
    " eve: 198.51.101.254/24}}, bob: {kind: host, interfaces: {eth: 198.51.100.1/24}},"
    " eve: {kind: host, interfaces: {eth: 198.51.101.1/24}}}",
    "links=[{ends: [alice:eth, wall:lan], delay: 2 ms}, {ends: [wall:wan, core:wall], delay: 2 ms},"
    " {ends: [core:bob, bob:eth]}, {ends: [core:eve, eve:eth]}]",
)
"""alice behind a firewall; bob and eve beyond it."""
WALL_PING = (*WALL, "traffic=[{name: p, kind: ping, from: alice, to: bob, size: 2000 B, count: 3}]")
WALL_IN = (*WALL, "traffic=[{name: p, kind: ping, from: bob, to: alice}]")
_CBR = "kind: cbr, size: 99 B, rate: 8 kbit/s"
WALL_BACK = (
    *WALL,
    f"traffic=[{{name: out, {_CBR}, from: alice, to: bob, stop: 600 ms}},"
    " {name: in, kind: replay, file: {discard}, from: bob, to: alice, start: 1100 ms}]",
)
"""alice sends to bob, and later a datagram comes back."""
WALL_TCP = (
    *WALL,
    "traffic=[{name: out, kind: replay, file: {tcp}, from: alice, to: bob, start: 1 s},"
    " {name: in, kind: replay, file: {back}, from: bob, to: alice, start: 1100 ms}]",
)
WALL_ESP = (
    *WALL,
    "traffic=[{name: out, kind: replay, file: {esp}, from: alice, to: bob, start: 1 s},"
    " {name: in, kind: replay, file: {answer}, from: bob, to: alice, start: 2 s}]",
)
SIX = (
    UNCHECKED,
    STILL,
    "nodes={alice: {kind: host, interfaces: {eth: 'fd00:1:0:1::10/64'}}, box: {kind: nat, interfaces:"
    " {lan: 'fd00:1:0:1::1/64', wan: [203.0.113.10/24, '2001:db8:f::10/64']}, nat64: '64:ff9b::/96'},"
    " moon: {kind: host, interfaces: {wan: [203.0.113.1/24, '2001:db8:f::1/64'], lan: 10.9.9.1/24}},"
    " bob: {kind: host, interfaces: {eth: 10.9.9.9/24}}}",
    "links=[{ends: [alice:eth, box:lan]}, {ends: [box:wan, moon:wan]}, {ends: [moon:lan, bob:eth]}]",
)
"""alice, who has IPv6 alone, and moon on both sides of a box that translates it."""
SIX_CALLS = (
    *SIX,
    "connections={alice: {rw: {remote_addrs: ['64:ff9b::203.0.113.1'], local_id: a, psk: x, children:"
    " {c: {mode: transport, start_action: start}}}}, moon: {rw: {psk: x, children: {c: {mode: transport}}}}}",
    "tunnels={}",
    "traffic=[]",
)
SIX_PING = (
    *SIX,
    "tunnels={}",
    "nodes.box.nptv6={'fd00:1::/48': '2001:db8:100::/48'}",
    "nodes.moon.routes={'2001:db8:100::/40': wan}",
    "traffic=[{name: p, kind: ping, from: alice, to: 'moon:wan'}]",
)

_PEERS = {"alice": "first", "carol": "second"}

ROOT, STRANGER = make_root(), make_root("CN=stranger")
ALICE, MOON = make_leaf(ROOT, "CN=alice", names=["a.example"]), make_leaf(ROOT, names=["m.example"])


def _eap(*overrides: str) -> Case:
    """EAP of a side with passwords of two users, besides a shared secret."""
    users = "{carol: right, dave: right}"
    method = "auth: eap-mschapv2"
    both = [
        f"connections.alice.rw.eap_secrets={users}",
        f"connections.moon.rw.eap_secrets={users}",
        f"connections.alice.rw.local={{{method}, eap_id: carol}}",
        f"connections.moon.rw.remote={{{method}, eap_id: '%any'}}",
    ]
    return Case((*both, *overrides[:-1]), overrides[-1], expanded=True)


def _second(*overrides: str) -> Case:
    """A shared secret first, then a password; two users have one."""
    method = "auth: eap-mschapv2"
    both = [
        "connections.alice.rw.eap_secrets={carol: right, dave: right}",
        "connections.moon.rw.eap_secrets={carol: right, dave: right}",
        f"connections.alice.rw.local.second={{{method}, id: carol}}",
        f"connections.moon.rw.remote.second={{{method}}}",
    ]
    return Case((*both, *overrides[:-1]), overrides[-1], expanded=True)


def _certs(*overrides: str) -> Case:
    """Both ends authenticate by certificates; file names give way to PEM text in the same way."""

    def side(node: str, issued: Issued) -> list[str]:
        local = {"auth": "pubkey", "certs": [issued.chain_pem], "key": issued.key_pem}
        remote = {"auth": "pubkey", "cacerts": [ROOT.cert_pem]}
        path = f"connections.{node}.rw"
        return [f"{path}.local={json.dumps(local)}", f"{path}.remote={json.dumps(remote)}"]

    return Case((*side("alice", ALICE), *side("moon", MOON), *overrides[:-1]), overrides[-1], expanded=True)


def _public(issued: Issued) -> str:
    key = issued.key.public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


REVOKED = pem_crl(crl(ROOT, [ALICE.cert], ALWAYS))

CASES: dict[str, Case] = {
    "Scenario.name": _case("name=other"),
    "Scenario.duration": _case("duration=2600 ms"),
    "Scenario.nodes": _case("nodes.bob.interfaces.eth=10.1.0.11/16"),
    "Scenario.links": _case("links.4.delay=1 ms"),
    "Scenario.tunnels": _case(*QUIET, "tunnels={}"),
    "Scenario.traffic": _case(UNCHECKED, "traffic=[]"),
    "Scenario.events": _case(STILL),
    "Scenario.checks": _case(UNCHECKED),
    "Scenario.capture": _case("capture=['moon:*']"),
    "HostNode.drop_icmp": _case(*NARROW, "nodes.alice.drop_icmp=[errors]"),
    "RouterNode.drop_icmp": _case(*MOON_PING, "nodes.core.drop_icmp=[echo]"),
    "GatewayNode.drop_icmp": _case(*MOON_PING, "nodes.moon.drop_icmp=[echo]"),
    "NatNode.drop_icmp": _case(*CLEAR_PING, "nodes.home.drop_icmp=[echo]"),
    "HostNode.min_pmtu": _case(*NARROW, "nodes.alice.min_pmtu=68 B"),
    "GatewayNode.min_pmtu": _case(*NARROW_BACK, "nodes.moon.min_pmtu=68 B"),
    "HostNode.pmtu_aging": _case(
        UNCHECKED, STILL, "links.3.mtu=600 B", "traffic.up.size=700 B", "nodes.alice.pmtu_aging=100 ms"
    ),
    "GatewayNode.pmtu_aging": _case(
        UNCHECKED, STILL, "links.2.mtu=600 B", BACK, "nodes.moon.pmtu_aging=100 ms"
    ),
    "HostNode.count": _case(UNCHECKED, STILL, "nodes.alice.count=2"),
    "RouterNode.count": _case(*QUIET, NO_NAT, "nodes.home.count=2"),
    "GatewayNode.count": _case(UNCHECKED, STILL, "nodes.alice.kind=gateway", "nodes.alice.count=2"),
    "NatNode.count": _case(*QUIET, "nodes.home.count=2"),
    "FirewallNode.count": _case(*WALL_PING, "nodes.wall.count=2"),
    "HostNode.kind": _case("nodes.alice.kind=gateway"),
    "RouterNode.kind": _case("nodes.core.kind=host"),
    "GatewayNode.kind": _case("nodes.moon.kind=host"),
    "NatNode.kind": _case(NO_NAT),
    "HostNode.interfaces": _case("nodes.bob.interfaces.eth=10.1.0.11/16"),
    "RouterNode.interfaces": _case(
        *QUIET[:2], "traffic=[{name: p, kind: ping, from: alice, to: 'core:home'}]",
        "nodes.core.interfaces.home=198.18.0.2/24",
    ),
    "GatewayNode.interfaces": _case("nodes.moon.interfaces.wan=198.51.100.2/24"),
    "NatNode.interfaces": _case("nodes.home.interfaces.wan=198.18.0.11/24"),
    "HostNode.default_policy": _case(STILL, "nodes.bob.default_policy=discard"),
    "GatewayNode.default_policy": _case(
        *QUIET, "traffic=[{name: p, kind: ping, from: moon, to: carol}]", "nodes.moon.default_policy=discard"
    ),
    "HostNode.routes": _case(STILL, "nodes.alice.routes={198.51.100.0/24: lte}"),
    "RouterNode.routes": _case("nodes.core.routes={198.51.100.1/32: cell}"),
    "GatewayNode.routes": _case("nodes.moon.routes={10.1.0.10/32: a}"),
    "NatNode.routes": _case("nodes.home.routes={198.51.100.0/24: dsl}"),
    "NatNode.preset": _case("nodes.home.preset=cgn"),
    "NatNode.outside": _case("nodes.home.outside=dsl"),
    "NatNode.mapping": _case(
        "tunnels.two.children.c.start=at once", "nodes.home.mapping=address-and-port-dependent"
    ),
    "NatNode.filtering": _case(STRAY, "nodes.home.filtering=endpoint-independent"),
    "NatNode.udp_timeout": _case(
        "tunnels.rw.keep_alive=0 s", STILL, "traffic.up.stop=600 ms", "nodes.home.udp_timeout=1 s"
    ),
    "NatNode.udp_stream_timeout": _case(
        UNCHECKED, STILL, "nodes.home.preset=linux", "tunnels.rw.keep_alive=0 s", "duration=8 s",
        "traffic=[{name: p, kind: ping, from: alice, to: bob, start: 500 ms, interval: 3 s, count: 2},"
        " {name: q, kind: ping, from: bob, to: alice, start: 7 s}]",
        "nodes.home.udp_stream_timeout=1 s",
    ),
    "NatNode.icmp_timeout": _case(
        UNCHECKED, STILL, "traffic=[{name: p, kind: ping, from: alice, to: 'core:home'}]",
        "nodes.home.icmp_timeout=1 ms",
    ),
    "NatNode.port_assignment": _case("nodes.home.port_assignment=random"),
    "NatNode.tcp_timeout": _case(*QUIET[:2], *TCP, "nodes.home.tcp_timeout=500 ms"),
    "NatNode.tcp_transitory_timeout": _case(*QUIET[:2], *TCP, "nodes.home.tcp_transitory_timeout=50 ms"),
    "NatNode.tcp_state_timeouts": _case(
        *QUIET[:2], TCP[1], "nodes.home.preset=linux", "nodes.home.tcp_state_timeouts={syn_sent: 50 ms}"
    ),
    "NatNode.refresh": _case(
        UNCHECKED, STILL, "nodes.home.udp_timeout=1 s", "tunnels.rw.keep_alive=0 s",
        "traffic=[{name: p, kind: cbr, from: bob, to: alice, size: 99 B, rate: 8 kbit/s, start: 500 ms}]",
        "nodes.home.refresh=outbound",
    ),
    "NatNode.port_range": _case("nodes.home.port_assignment=random", "nodes.home.port_range=2000-2009"),
    "NatNode.block_size": _case(
        "nodes.home.port_assignment=block", "nodes.home.port_range=2000-2099", "nodes.home.block_size=50",
        "nodes.home.block_size=1",
    ),
    "NatNode.blocks_per_subscriber": _case(
        "nodes.home.port_assignment=block", "nodes.home.block_size=1", "nodes.home.blocks_per_subscriber=2",
    ),
    "NatNode.pooling": _case(
        "nodes.home.interfaces.wan=[198.18.0.10/24, 198.18.0.11/24, 198.18.0.12/24, 198.18.0.13/24]",
        "nodes.home.mapping=address-and-port-dependent", "tunnels.two.children.c.start=at once",
        "nodes.home.pooling=arbitrary",
    ),
    "NatNode.hairpinning": _case(
        *QUIET[:2], FORWARD,
        "traffic=[{name: h, kind: cbr, from: alice, to: 'home:wan', size: 99 B, rate: 8 kbit/s, start: 1 s}]",
        "nodes.home.hairpinning=none",
    ),
    "NatNode.fragments": _case(
        UNCHECKED, STILL, "tunnels.rw.children.net.copy_df=false",
        "traffic=[{name: p, kind: cbr, from: alice, to: bob, size: 1480 B, rate: 80 kbit/s, start: 1 s}]",
        "nodes.home.fragments=drop",
    ),
    "NatNode.esp": _case(*PLAIN_ESP, "nodes.home.esp=one-client"),
    "NatNode.esp_timeout": _case(*PLAIN_ESP, "nodes.home.esp=one-client", "nodes.home.esp_timeout=500 ms"),
    "NatNode.ike_gateway": _case("nodes.home.port_assignment=random", "nodes.home.ike_gateway=spi"),
    "NatNode.port_500": _case(UNCHECKED, STILL, "nodes.home.port_500=drop"),
    "NatNode.port_4500": _case("nodes.home.port_assignment=random", "nodes.home.port_4500=keep"),
    "NatNode.nat64": _case(*SIX_CALLS, "nodes.box.nat64='2001:db8:64::/96'"),
    "NatNode.nptv6": _case(*SIX_PING, "nodes.box.nptv6={'fd00:1::/48': '2001:db8:101::/48'}"),
    "FirewallNode.kind": _case(
        *WALL_IN, "nodes.wall={kind: router, interfaces: {lan: 192.0.2.1/24, wan: 203.0.113.2/24}}"
    ),
    "FirewallNode.interfaces": _case(
        *WALL, "traffic=[{name: p, kind: ping, from: alice, to: 'wall:lan'}]",
        "nodes.wall.interfaces.lan=192.0.2.2/24",
    ),
    "FirewallNode.routes": _case(*WALL_PING, "nodes.wall.routes={198.51.100.1/32: lan}"),
    "FirewallNode.drop_icmp": _case(*WALL_PING, "traffic.p.size=84 B", "nodes.wall.drop_icmp=[echo]"),
    "FirewallNode.outside": _case(*WALL_IN, "nodes.wall.outside=lan"),
    "FirewallNode.filtering": _case(
        *WALL_BACK, "traffic.in.from=eve", "nodes.wall.filtering=endpoint-independent"
    ),
    "FirewallNode.udp_timeout": _case(*WALL_BACK, "nodes.wall.udp_timeout=300 ms"),
    "FirewallNode.icmp_timeout": _case(*WALL_PING, "nodes.wall.icmp_timeout=1 ms"),
    "FirewallNode.tcp_timeout": _case(*WALL_TCP, "nodes.wall.tcp_timeout=500 ms"),
    "FirewallNode.tcp_transitory_timeout": _case(*WALL_TCP, "nodes.wall.tcp_transitory_timeout=50 ms"),
    "FirewallNode.refresh": _case(
        *WALL,
        f"traffic=[{{name: out, {_CBR}, from: alice, to: bob, stop: 600 ms}},"
        " {name: in, kind: replay, file: {discard}, from: bob, to: alice, start: 1100 ms},"
        " {name: again, kind: replay, file: {discard}, from: bob, to: alice, start: 1700 ms}]",
        "nodes.wall.udp_timeout=800 ms",
        "nodes.wall.refresh=outbound",
    ),
    "FirewallNode.fragments": _case(*WALL_PING, "nodes.wall.fragments=drop"),
    "FirewallNode.esp": _case(*WALL_ESP, "nodes.wall.esp=drop"),
    "FirewallNode.esp_timeout": _case(*WALL_ESP, "nodes.wall.esp_timeout=500 ms"),
    "FirewallNode.allow": _case(*WALL_IN, "nodes.wall.allow=[{protocol: icmp}]"),
    "AllowRule.protocol": _case(
        *WALL_IN, "nodes.wall.allow=[{protocol: icmp}]", "nodes.wall.allow.0.protocol=esp"
    ),
    "AllowRule.port": _case(
        *WALL, f"traffic=[{{name: in, {_CBR}, from: bob, to: alice}}]",
        "nodes.wall.allow=[{protocol: udp, port: 9}]", "nodes.wall.allow.0.port=10",
    ),
    "AllowRule.to": _case(
        *WALL_IN, "nodes.wall.allow=[{protocol: icmp}]", "nodes.wall.allow.0.to=192.0.2.11"
    ),
    "NatNode.esp_in_udp_apart": _case("nodes.home.esp_in_udp_apart=true"),
    "NatNode.udp_checksum": _case("nodes.home.udp_checksum=zero"),
    "NatNode.forward": _case(
        CLEAR_TWO, UNCHECKED, STILL, STRAY_IN, FORWARD
    ),
    "NatNode.one_to_one": _case(
        "nodes.home.interfaces.wan=[198.18.0.10/24, 198.18.0.11/24, 198.18.0.12/24]",
        "nodes.home.one_to_one={192.168.1.10: 198.18.0.12}",
    ),
    "ForwardRule.protocol": _case(*LED_IN, "nodes.home.forward.0.protocol=tcp"),
    "ForwardRule.port": _case(*LED_IN, "nodes.home.forward.0.port=10"),
    "ForwardRule.to": _case(*LED_IN, "nodes.home.forward.0.to=192.168.1.11"),
    "ForwardRule.to_port": _case(*LED_IN, "nodes.home.forward.0.to_port=10"),
    "Link.ends": _case(UNEVEN, "links.4.ends=[bob:eth, moon:lan]"),
    "Link.rate": _case("links.4.rate=1 Mbit/s"),
    "Link.delay": _case("links.4.delay=3 ms"),
    "Link.jitter": _case("links.4.jitter=3 ms"),
    "Link.reorder": _case("links.4.jitter=50 ms", "links.4.delay=50 ms", "links.4.reorder=true"),
    "Link.loss": _case("links.4.loss=10 %"),
    "Link.queue": _case(SLOW, "links.0.queue=3 packets"),
    "Link.mtu": _case("links.0.mtu=500 B"),
    "DirectedRate.up": _case("links.4.rate={up: 1 Mbit/s, down: 1 Mbit/s}", "links.4.rate.up=2 Mbit/s"),
    "DirectedRate.down": _case("links.4.rate={up: 1 Mbit/s, down: 1 Mbit/s}", "links.4.rate.down=2 Mbit/s"),
    "DirectedDelay.up": _case(UNEVEN, "links.4.delay.up=2 ms"),
    "DirectedDelay.down": _case(UNEVEN, "links.4.delay.down=2 ms"),
    "DirectedJitter.up": _case("links.4.jitter={up: 1 us, down: 1 us}", "links.4.jitter.up=2 us"),
    "DirectedJitter.down": _case("links.4.jitter={up: 1 us, down: 1 us}", "links.4.jitter.down=2 us"),
    "DirectedLoss.up": _case("links.4.loss={up: 0 %, down: 0 %}", "links.4.loss.up=50 %"),
    "DirectedLoss.down": _case("links.4.loss={up: 0 %, down: 0 %}", "links.4.loss.down=50 %"),
    "DirectedQueue.up": _case(SLOW, NINE, "links.0.queue.up=1 packet"),
    "DirectedQueue.down": _case(
        SLOW, NINE, STILL, "traffic.late.rate=1 Mbit/s", "links.0.queue.down=1 packet"
    ),
    "Jitter.distribution": _case(RANDOM, "links.4.jitter.distribution=exponential"),
    "Jitter.scale": _case(RANDOM, "links.4.jitter.scale=2 ms"),
    "Tunnel.initiator": _case(*QUIET, "tunnels.rw.initiator=carol"),
    "Tunnel.responder": _case(*QUIET, "tunnels.rw.responder=carol"),
    "Tunnel.auth": _case("tunnels.rw.auth={psk: other}"),
    "Tunnel.proposals": _case("tunnels.rw.proposals=[aes256-sha256-ecp256]"),
    "Tunnel.mobike": _case("tunnels.rw.mobike=false"),
    "Tunnel.encap": _case(NO_NAT, "tunnels.rw.encap=true"),
    "Tunnel.dpd_delay": _case(*QUIET, "tunnels.rw.dpd_delay=500 ms"),
    "Tunnel.unique": _case(
        *QUIET, "tunnels.rw.reauth_time=1 s", "tunnels.rw.make_before_break=true",
        "tunnels.rw.unique=replace",
    ),
    "Tunnel.childless": _case(*QUIET, "tunnels.rw.childless=prefer"),
    "Tunnel.keyingtries": _case(
        *QUIET, "duration=40 s", "links.3.loss=100 %", "tunnels.rw.retransmit=libreswan",
        "tunnels.rw.keyingtries=2",
    ),
    "Tunnel.window": _case(*QUIET, "tunnels.rw.window=3"),
    "Tunnel.reauth_time": _case(*QUIET, "tunnels.rw.reauth_time=1 s"),
    "Tunnel.make_before_break": _case(
        *QUIET, "tunnels.rw.reauth_time=1 s", "tunnels.rw.make_before_break=true",
    ),
    "Tunnel.rekey_time": _case(*QUIET, "tunnels.rw.rekey_time=500 ms"),
    "Tunnel.over_time": _case(
        *QUIET, "links.3.loss=0 %", "tunnels.rw.rekey_time=500 ms", "tunnels.rw.rand_time=0 s",
        "tunnels.rw.over_time=1 ms",
    ),
    "Tunnel.rand_time": _case(*QUIET, "tunnels.rw.rekey_time=500 ms", "tunnels.rw.rand_time=400 ms"),
    "Tunnel.keep_alive": _case(*QUIET, "tunnels.rw.keep_alive=500 ms"),
    "Tunnel.retransmit": _case("links.3.loss=100 %", "tunnels.rw.retransmit=libreswan"),
    "Tunnel.fragmentation": _case("tunnels.rw.fragmentation=no"),
    "Tunnel.fragment_size": _case("tunnels.rw.fragment_size=200 B"),
    "Tunnel.ppk": _case(*PPK, "tunnels.rw.ppk=other"),
    "Tunnel.ppk_id": _case(*PPK, "tunnels.rw.ppk_id=another"),
    "Tunnel.ppk_required": _case(*PPK, "tunnels.rw.ppk_required=true"),
    "Tunnel.dscp": _case("tunnels.rw.dscp=48"),
    "Tunnel.return_routability": _case("tunnels.rw.return_routability=false"),
    "Tunnel.follow_redirects": _case(*QUIET, "tunnels.rw.follow_redirects=true"),
    "Tunnel.redirect_to": _case(
        *QUIET, "tunnels.rw.follow_redirects=true", "tunnels.rw.redirect_to=198.51.100.2"
    ),
    "Tunnel.redirect_when": _case(
        *QUIET, "tunnels.rw.follow_redirects=true", "tunnels.rw.redirect_to=198.51.100.2",
        "tunnels.rw.redirect_when=init",
    ),
    "Tunnel.keepalive_policy": _case(*KEPT, "tunnels.rw.keepalive_policy=adaptive"),
    "Tunnel.keepalive_max": _case(
        *KEPT, "tunnels.rw.keepalive_policy=adaptive", "tunnels.rw.keepalive_max=1500 ms"
    ),
    "Tunnel.radio_tail": _case(*KEPT, "tunnels.rw.radio_tail=100 ms"),
    "Tunnel.resumption": _case(*QUIET, "tunnels.rw.resumption=true"),
    "Tunnel.qcd": _case("tunnels.rw.qcd=true"),
    "Tunnel.nat_traversal": _case("tunnels.rw.nat_traversal=false"),
    "Tunnel.children": _case("tunnels.rw.children={other: {remote_ts: [10.1.0.0/16]}}"),
    "Tunnel.vips": _case(*QUIET, "tunnels.rw.vips=[0.0.0.0]"),
    "Tunnel.pools": _case(*QUIET, POOL, "tunnels.rw.vips=[0.0.0.0]", "tunnels.rw.pools=[p]"),
    "Scenario.pools": _case(*QUIET, POOL, *LEASED, "pools.moon.p={addrs: 10.88.0.0/24}"),
    "Pool.addrs": _case(*QUIET, POOL, *LEASED, "pools.moon.p.addrs=10.88.0.1-10.88.0.2"),
    "Pool.dns": _case(*QUIET, POOL, *LEASED, "pools.moon.p.dns=[10.1.0.20]"),
    "Pool.nbns": _case(*QUIET, POOL, *LEASED, "pools.moon.p.nbns=[10.1.0.20]"),
    "Pool.dhcp": _case(*QUIET, POOL, *LEASED, "pools.moon.p.dhcp=[10.1.0.20]"),
    "Pool.netmask": _case(*QUIET, POOL, *LEASED, "pools.moon.p.netmask=255.255.0.0"),
    "Pool.subnet": _case(*QUIET, POOL, *LEASED, "pools.moon.p.subnet=[10.1.0.0/16]"),
    "TunnelAuth.psk": _case("tunnels.rw.auth={psk: a, responder: {psk: b}}", "tunnels.rw.auth.psk=b"),
    "TunnelAuth.local_id": _case("tunnels.rw.auth.local_id=me"),
    "TunnelAuth.remote_id": _case("tunnels.rw.auth.remote_id=you"),
    "TunnelAuth.initiator": _case("tunnels.rw.auth.initiator={psk: other}"),
    "TunnelAuth.responder": _case(REFUSED),
    "TunnelAuth.method": _case("pki=auto", "tunnels.rw.auth.method=pubkey"),
    "TunnelSide.method": _case(*PKI, "tunnels.rw.auth.initiator={method: psk}"),
    "Scenario.pki": _case(*PKI, "pki={key: ed25519}"),
    "Scenario.date": _case(*PKI, "date=2026-01-02"),
    "Pki.key": _case(*PKI, "pki={}", "pki.key=ecdsa-p384"),
    "Pki.intermediate": _case(*PKI, "pki={}", "pki.intermediate=true"),
    "Pki.nodes": _case(*PKI, "pki={}", "pki.nodes={moon: {fault: untrusted}}"),
    "PkiNode.key": _case(*PKI, "pki={nodes: {moon: {}}}", "pki.nodes.moon.key=ed448"),
    "PkiNode.lifetime": _case(*PKI, "pki={nodes: {moon: {}}}", "pki.nodes.moon.lifetime=1 s"),
    "PkiNode.fault": _case(*PKI, "pki={nodes: {moon: {}}}", "pki.nodes.moon.fault=expired"),
    "TunnelAuth.eap_id": _case(*EAP, "tunnels.rw.auth.eap_id=dave"),
    "TunnelAuth.password": _case(
        *EAP, "tunnels.rw.auth.responder.password=right", "tunnels.rw.auth.password=wrong"
    ),
    "TunnelAuth.second": _case("tunnels.rw.auth={psk: x}", SECOND),
    "TunnelSecond.method": _case(SECOND, "tunnels.rw.auth.second.method=eap-md5"),
    "TunnelSecond.id": _case(SECOND, "tunnels.rw.auth.second.id=dave"),
    "TunnelSecond.password": _case(SECOND, "tunnels.rw.auth.second.password=wrong"),
    "TunnelSide.eap_id": _case(*EAP, "tunnels.rw.auth.responder.eap_id='%any'"),
    "TunnelSide.password": _case(*EAP, "tunnels.rw.auth.initiator.password=wrong"),
    "TunnelSide.psk": _case(REFUSED, "tunnels.rw.auth.responder.psk=secret"),
    "TunnelSide.local_id": _case("tunnels.rw.auth.responder={local_id: a}"),
    "TunnelSide.remote_id": _case("tunnels.rw.auth.local_id=a", "tunnels.rw.auth.responder={remote_id: b}"),
    "TunnelChild.mode": _case(*QUIET, NO_NAT, f"{CHILD}.mode=transport"),
    "TunnelChild.iptfs": _case(*AGGREGATED, f"{CHILD}.iptfs={{init_delay: 50 ms}}"),
    "IptfsSettings.packet_size": _case(*AGGREGATED, f"{CHILD}.iptfs.packet_size=300 B"),
    "IptfsSettings.init_delay": _case(*AGGREGATED, f"{CHILD}.iptfs.init_delay=50 ms"),
    "IptfsSettings.max_queue_size": _case(
        *AGGREGATED, f"{CHILD}.iptfs.init_delay=100 ms", f"{CHILD}.iptfs.max_queue_size=1 kB"
    ),
    "IptfsSettings.dont_frag": _case(
        *AGGREGATED, f"{CHILD}.iptfs.packet_size=300 B", f"{CHILD}.iptfs.dont_frag=true"
    ),
    "IptfsSettings.l3_fixed_rate": _case(*AGGREGATED, f"{CHILD}.iptfs.l3_fixed_rate=1 Mbit/s"),
    "IptfsSettings.congestion_control": _case(
        *AGGREGATED, f"{CHILD}.iptfs.l3_fixed_rate=1 Mbit/s", f"{CHILD}.iptfs.congestion_control=true"
    ),
    "IptfsSettings.ecn": _case(*AGGREGATED, f"{CHILD}.iptfs.ecn=true"),
    "IptfsSettings.accept_fragments": _case(
        *AGGREGATED, f"{CHILD}.iptfs.packet_size=300 B", f"{CHILD}.iptfs.accept_fragments=false"
    ),
    "IptfsSettings.reorder_window": _case(
        *AGGREGATED, "links.0.jitter=400 ms", "links.0.delay=400 ms", "links.0.reorder=true",
        f"{CHILD}.replay_window=4096", f"{CHILD}.iptfs.reorder_window=100",
    ),
    "IptfsSettings.drop_time": _case(*AGGREGATED, "links.3.loss=2 %", f"{CHILD}.iptfs.drop_time=1 ms"),
    "TunnelChild.local_ts": _case(f"{CHILD}.local_ts=[192.168.1.10/32, 192.168.1.77/32]"),
    "TunnelChild.remote_ts": _case(f"{CHILD}.remote_ts=[10.1.0.10/32]"),
    "TunnelChild.esp_proposals": _case(f"{CHILD}.esp_proposals=[chacha20poly1305]"),
    "TunnelChild.ah_proposals": _case(NO_NAT, STILL, UNCHECKED, f"{CHILD}.ah_proposals=[sha256]"),
    "TunnelChild.replay_window": _case(
        "links.0.jitter=400 ms", "links.0.delay=400 ms", "links.0.reorder=true", "links.0.rate=1 Gbit/s",
        STILL, UNCHECKED, "duration=9 s", "traffic.up.rate=1 Mbit/s", f"{CHILD}.replay_window=4096",
    ),
    "TunnelChild.copy_df": _case(f"{CHILD}.copy_df=false"),
    "TunnelChild.ipcomp": _case(f"{CHILD}.ipcomp=true"),
    "TunnelChild.shared_nat": _case(
        *SHARED_NAT,
        "tunnels={" + ", ".join(
            f"{name}: {{initiator: {node}, responder: moon, auth: {{psk: x, local_id: {node}}},"
            " children: {c: {mode: transport}}}" for node, name in _PEERS.items()
        ) + "}",
        "tunnels.second.children.c.shared_nat=refuse",
    ),
    "TunnelChild.copy_dscp": _case("traffic.up.dscp=46", f"{CHILD}.copy_dscp=no"),
    "TunnelChild.copy_ecn": _case("traffic.up.ecn=ect0", f"{CHILD}.copy_ecn=false"),
    "TunnelChild.dscp_map": _case(f"{CHILD}.dscp_map={{0: 10}}"),
    "TunnelChild.outer_dscp": _case(f"{CHILD}.outer_dscp=10"),
    "TunnelChild.outer_ttl": _case(UNCHECKED, f"{CHILD}.outer_ttl=1"),
    "TunnelChild.flow_label": _case(*OVER_IPV6, f"{CHILD}.flow_label=none"),
    "TunnelChild.df": _case(f"{CHILD}.copy_df=false", f"{CHILD}.df=set"),
    "TunnelChild.fragment": _case(*CUT, f"{CHILD}.fragment=before"),
    "TunnelChild.icmp": _case(*NARROW_LAN, f"{CHILD}.remote_ts=[10.1.0.10/32]", f"{CHILD}.icmp=false"),
    "TunnelChild.icmp_check": _case(*NARROW_LAN, TWO, f"{CHILD}.icmp_check=true"),
    "TunnelChild.mss_clamp": _case(UNCHECKED, WEB, f"{CHILD}.mss_clamp=1000 B"),
    "TunnelChild.per_cpu_sas": _case(f"{CHILD}.per_cpu_sas=yes"),
    "HostNode.cpus": _case(f"{CHILD}.per_cpu_sas=yes", UNCHECKED, MANY, "nodes.alice.cpus=4"),
    "GatewayNode.cpus": _case(f"{CHILD}.per_cpu_sas=yes", UNCHECKED, MANY, "nodes.moon.cpus=4"),
    "TunnelChild.tfc_padding": _case(f"{CHILD}.tfc_padding=mtu"),
    "TunnelChild.close_action": _case(
        UNCHECKED, "traffic=[]", "events=[{at: 1 s, node: moon, do: terminate, connection: rw, child: net}]",
        f"{CHILD}.close_action=start",
    ),
    "TunnelChild.dpd_action": _case(*LEFT_BEHIND, f"{CHILD}.dpd_action=restart"),
    "TunnelChild.rekey_bytes": _case(f"{CHILD}.rekey_bytes=10 kB"),
    "TunnelChild.life_bytes": _case(f"{CHILD}.rekey_time=0 s", f"{CHILD}.life_bytes=10 kB"),
    "TunnelChild.rand_bytes": _case(f"{CHILD}.rekey_bytes=30 kB", f"{CHILD}.rand_bytes=29 kB"),
    "TunnelChild.rekey_packets": _case(f"{CHILD}.rekey_packets=10"),
    "TunnelChild.life_packets": _case(f"{CHILD}.rekey_time=0 s", f"{CHILD}.life_packets=10"),
    "TunnelChild.rand_packets": _case(f"{CHILD}.rekey_packets=50", f"{CHILD}.rand_packets=49"),
    "TunnelChild.rekey_time": _case(f"{CHILD}.rekey_time=700 ms"),
    "TunnelChild.life_time": _case(f"{CHILD}.rekey_time=0 s", f"{CHILD}.life_time=700 ms"),
    "TunnelChild.rand_time": _case(f"{CHILD}.rekey_time=700 ms", f"{CHILD}.rand_time=500 ms"),
    "TunnelChild.non_first_fragments_also": _case(f"{CHILD}.non_first_fragments_also=true"),
    "TunnelChild.populate_from_packet": _case(
        *QUIET, PING, f"{CHILD}.start=trap", f"{CHILD}.populate_from_packet=[remote_addr]"
    ),
    "TunnelChild.priority": _case(
        *QUIET, PING, "tunnels.rw.children.past={mode: drop, remote_ts: ['10.1.0.0/16[icmp]']}",
        "tunnels.rw.children.past.priority=1000",
    ),
    "TunnelChild.start": _case(f"{CHILD}.start=trap"),
    "CbrFlow.kind": _case("traffic.up={name: up, kind: ping, from: alice, to: bob, size: 500 B}"),
    "CbrFlow.name": _case(UNCHECKED, "traffic.up.name=other"),
    "CbrFlow.from": _case("traffic.up.from=moon"),
    "CbrFlow.to": _case("traffic.up.to=moon:lan"),
    "CbrFlow.pmtud": _case("traffic.up.pmtud=dont"),
    "PingFlow.pmtud": _case(UNCHECKED, PING, "traffic.p.pmtud=dont"),
    "PingFlow.dscp": _case(UNCHECKED, PING, "traffic.p.dscp=46"),
    "PingFlow.ecn": _case(UNCHECKED, PING, "traffic.p.ecn=ect0"),
    "CbrFlow.dscp": _case("traffic.up.dscp=46"),
    "CbrFlow.ecn": _case("traffic.up.ecn=ect0"),
    "CbrFlow.start": _case("traffic.up.start=700 ms"),
    "CbrFlow.size": _case("traffic.up.size=600 B"),
    "CbrFlow.rate": _case("traffic.up.rate=500 kbit/s"),
    "CbrFlow.pattern": _case("traffic.up.pattern=deadbeef"),
    "CbrFlow.stop": _case("traffic.up.stop=2500 ms"),
    "CbrFlow.duration": _case("traffic.up.duration=1 s"),
    "PingFlow.kind": _case(
        UNCHECKED, PING, "traffic.p={name: p, kind: cbr, from: alice, to: bob, size: 84 B, rate: 672 bit/s}"
    ),
    "PingFlow.name": _case(UNCHECKED, PING, "traffic.p.name=other"),
    "PingFlow.from": _case(UNCHECKED, PING, "traffic.p.from=moon"),
    "PingFlow.to": _case(UNCHECKED, PING, "traffic.p.to=moon:lan"),
    "PingFlow.start": _case(UNCHECKED, PING, "traffic.p.start=600 ms"),
    "PingFlow.interval": _case(UNCHECKED, PING, "traffic.p.interval=300 ms"),
    "PingFlow.size": _case(UNCHECKED, PING, "traffic.p.size=85 B"),
    "PingFlow.pattern": _case(UNCHECKED, PING, "traffic.p.pattern=ff"),
    "PingFlow.count": _case(UNCHECKED, PING, "traffic.p.count=1"),
    "ReplayFlow.kind": _case(UNCHECKED, WEB, "traffic.p={name: p, kind: ping, from: alice, to: bob}"),
    "ReplayFlow.name": _case(UNCHECKED, WEB, "traffic.p.name=other"),
    "ReplayFlow.from": _case(UNCHECKED, WEB, "traffic.p.from=moon"),
    "ReplayFlow.to": _case(UNCHECKED, WEB, "traffic.p.to=moon:lan"),
    "ReplayFlow.start": _case(UNCHECKED, WEB, "traffic.p.start=100 ms"),
    "ReplayFlow.file": _case(UNCHECKED, WEB, "traffic.p.file={file}"),
    "ReplayFlow.client": _case(UNCHECKED, WEB, "traffic.p.client=198.51.100.80"),
    **_timing("MoveEvent", "node: alice, do: move, from: wlan, to: lte"),
    "MoveEvent.node": _case("events.0.node=bob"),
    "MoveEvent.do": _case("events.0={at: 2 s, node: alice, do: down, interface: wlan}"),
    "MoveEvent.from": _case("events.0.from=eth"),
    "MoveEvent.to": _case("events.0.to=eth"),
    "MoveEvent.gap": _case("events.0.gap=300 ms"),
    "MoveEvent.overlap": _case("events.0.overlap=300 ms"),
    **_timing("RebindEvent", "node: home, do: rebind"),
    "RebindEvent.node": _case(REBIND, "events.0.node=off"),
    "RebindEvent.do": _case(REBIND, "events.0={at: 1 s, node: home, do: down, interface: wan}"),
    "RebindEvent.address": _case(REBIND, "events.0.address=198.18.0.99/24"),
    **_timing("DownEvent", "node: alice, do: down, interface: lte"),
    "DownEvent.node": _case(DOWN, "events.0.node=bob"),
    "DownEvent.do": _case(DOWN, "events.0.do=up"),
    "DownEvent.interface": _case(DOWN, "events.0.interface=wlan"),
    **_timing("FlapEvent", "node: alice, do: flap, interface: wlan, gap: 100 ms"),
    "FlapEvent.node": _case(FLAP, "events.0.node=bob"),
    "FlapEvent.do": _case(FLAP, "events.0={at: 1 s, node: alice, do: down, interface: wlan}"),
    "FlapEvent.interface": _case(FLAP, "events.0.interface=lte"),
    "FlapEvent.gap": _case(FLAP, "events.0.gap=500 ms"),
    **_timing("AddressEvent", "node: alice, do: add-address, interface: eth, address: 10.9.0.9/24"),
    "AddressEvent.node": _case(ADD, "events.0.node=carol"),
    "AddressEvent.do": _case(ADD, "events.0.do=remove-address"),
    "AddressEvent.interface": _case(ADD, "events.0.interface=lte"),
    "AddressEvent.address": _case(ADD, "events.0.address=203.0.113.99/24"),
    **_timing("RebootEvent", "node: home, do: reboot"),
    "RebootEvent.node": _case(REBOOT, "events.0.node=moon"),
    "RebootEvent.do": _case(REBOOT, "events.0.do=rebind"),
    "RebootEvent.gap": _case(REBOOT, "events.0.gap=300 ms"),
    **_timing("RetimeEvent", "node: home, do: retime, udp_timeout: 20 ms"),
    "RetimeEvent.node": _case(*SILENT, RETIME, "events.0.node=off"),
    "RetimeEvent.do": _case(*SILENT, RETIME, "events.0={at: 1 s, node: home, do: rebind}"),
    "RetimeEvent.udp_timeout": _case(*SILENT, RETIME, "events.0.udp_timeout=30 s"),
    **{
        f"RetimeEvent.{key}": _case("nodes.home.preset=linux", RETIME, f"events.0.{key}=9 s")
        for key in ("udp_stream_timeout", "icmp_timeout", "tcp_timeout", "tcp_transitory_timeout")
    },
    **_timing("ExhaustEvent", "node: home, do: exhaust"),
    "ExhaustEvent.node": _case(EXHAUST, "events.0.node=off"),
    "ExhaustEvent.do": _case(EXHAUST, "events.0.do=rebind"),
    "ExhaustEvent.gap": _case(UNCHECKED, EXHAUST, "duration=9 s", "events.0.gap=100 ms"),
    **_timing("BlockEvent", "node: core, do: block, rule: r"),
    "BlockEvent.node": _case(BLOCK, "events.0.node=bob"),
    "BlockEvent.do": _case(BLOCK, "events.0={at: 1 s, node: core, do: flap, interface: home, gap: 1 s}"),
    "BlockEvent.rule": _case(TWO_RULES, "events.0.rule=t"),
    "BlockEvent.protocol": _case(BLOCK, "events.0.protocol=icmp"),
    "BlockEvent.port": _case(BLOCK, "events.0.protocol=udp", "events.0.port=501"),
    "BlockEvent.network": _case(BLOCK, "events.0.network=192.0.2.0/24"),
    **_timing("UnblockEvent", "node: core, do: unblock, rule: r", LATE_BLOCK),
    "UnblockEvent.node": _case(TWO_RULES, "events.2.node=moon"),
    "UnblockEvent.do": _case(LIFTED, "events.1.do=block"),
    "UnblockEvent.rule": _case(TWO_RULES, "events.2.rule=s"),
    **_timing("SaEvent", "node: alice, do: rekey, connection: rw"),
    "SaEvent.node": _case(COMMAND, "events.0.node=moon"),
    "SaEvent.do": _case(COMMAND, "events.0.do=terminate"),
    "SaEvent.connection": _case(COMMAND, "events.0={at: 1 s, node: alice, do: rekey, connection: two}"),
    "SaEvent.child": _case(COMMAND, "events.0.child=net"),
    **{
        key: Case((*case.both, FOLLOWING), case.change)
        for key, case in _timing(
            "RedirectEvent", "node: moon, do: redirect, connection: rw, to: 198.51.100.2"
        ).items()
    },
    "RedirectEvent.spread": Case(
        (UNCHECKED, "traffic=[]", *REDIRECT[2:], "nodes.moon.count=2"),
        "events.0.spread=400 ms",
        expanded=True,
    ),
    "RedirectEvent.node": _case(
        *REDIRECT, "connections={carol: {rw: {psk: x, children: {c: {}}}}}", "events.0.node=carol"
    ),
    "RedirectEvent.do": _case(*REDIRECT, "events.0={at: 1 s, node: moon, do: terminate, connection: rw}"),
    "RedirectEvent.connection": _case(
        *REDIRECT, ELSE, "events.0={at: 1 s, node: moon, do: redirect, connection: else, to: 198.51.100.2}"
    ),
    "RedirectEvent.to": _case(*REDIRECT, "events.0.to=198.51.100.3"),
    **_timing("DummyEvent", "node: alice, do: dummy, connection: rw"),
    "DummyEvent.node": _case(DUMMY, "events.0.node=moon"),
    "DummyEvent.do": _case(DUMMY, "events.0={at: 1 s, node: alice, do: rekey, connection: rw}"),
    "DummyEvent.connection": _case(DUMMY, "events.0={at: 1 s, node: alice, do: dummy, connection: two}"),
    "DummyEvent.child": _case(DUMMY, TWO, "events.0.child=net"),
    "DummyEvent.count": _case(DUMMY, "events.0.count=2"),
    "DummyEvent.size": _case(DUMMY, "events.0.size=700 B"),
    **_timing("UpEvent", "node: alice, do: up, interface: lte"),
    "UpEvent.node": _case(UP, "events.0.node=bob"),
    "UpEvent.do": _case(UP, "events.0.do=down"),
    "UpEvent.interface": _case(UP, "events.0.interface=wlan"),
    "Condition.connection": _case(
        "tunnels.two.children.c.start=at once", WHEN, "events.0.when.connection=two"
    ),
    "Condition.node": _case(WHEN, "events.0.when.node=alice"),
    "Condition.is": _case(WHEN, "events.0.when.is=moved"),
    "ConnectionCheck.connection": _case("checks.0.connection=two"),
    "ConnectionCheck.node": _case("checks.0.node=moon"),
    "ConnectionCheck.is": _case("checks.0.is=failed"),
    "ConnectionCheck.by": _case("checks.0.by=1 ms"),
    "ConnectionCheck.reason": _case(REFUSED, REASON, "checks.0.reason=TIMEOUT"),
    "ConnectionCheck.nat_local": _case("checks.0.nat_local=true"),
    "ConnectionCheck.nat_remote": _case("checks.0.nat_remote=true"),
    "ConnectionCheck.encap": _case("checks.0.encap=false"),
    "ConnectionCheck.ppk": _case("checks.0.ppk=true"),
    "ConnectionCheck.min_keepalive": _case(STILL, "checks.0.min_keepalive=30 s"),
    "ConnectionCheck.max_keepalive": _case(STILL, "checks.0.max_keepalive=10 s"),
    "ConnectionCheck.resumed": _case("checks.0.resumed=true"),
    "ConnectionCheck.setup_round_trips": _case("checks.0.setup_round_trips=3"),
    "ChildCheck.child": _case(
        CHILDREN, f"{CHILD[:-4]}.other={{remote_ts: [10.99.0.0/16], start: none}}", "checks.0.child=other"
    ),
    "ChildCheck.connection": _case(
        CHILDREN, "tunnels.two.children={net: {start: none}}", "checks.0.connection=two"
    ),
    "ChildCheck.node": _case(CHILDREN, "checks.0.node=moon"),
    "ChildCheck.cpu": _case(CHILDREN, "checks.0.cpu=all"),
    "ChildCheck.sas": _case(CHILDREN, "checks.0.sas=2"),
    "ChildCheck.packets_in": _case(CHILDREN, "checks.0.packets_in=1"),
    "ChildCheck.packets_out": _case(CHILDREN, "checks.0.packets_out=1"),
    "ChildCheck.ipcomp": _case(CHILDREN, "checks.0.ipcomp=true"),
    "ChildCheck.compressed_in": _case(CHILDREN, "checks.0.compressed_in=1"),
    "ChildCheck.compressed_out": _case(CHILDREN, "checks.0.compressed_out=1"),
    "ChildCheck.min_ratio": _case(CHILDREN, "checks.0.min_ratio=2"),
    "FlowCheck.flow": _case("checks.1.flow=late"),
    "FlowCheck.max_outage": _case("checks.1.max_outage=1 ms"),
    "FlowCheck.max_loss": _case("links.4.loss=20 %", "checks.1.max_loss=50 %"),
    "FlowCheck.min_goodput": _case("checks.1.min_goodput=1 Gbit/s"),
    "FlowCheck.max_latency": _case("checks.1.max_latency=1 us"),
    "FlowCheck.max_received": _case("checks.1.max_received=0"),
    "FlowCheck.min_received": _case("checks.1.min_received=100000"),
    "Connection.local_addrs": _case("connections.alice.rw.local_addrs=[203.0.113.77]"),
    "Connection.remote_addrs": _case("connections.alice.rw.remote_addrs=[198.51.100.254]"),
    "Connection.redirect_when": _case(
        *QUIET, "connections.alice.rw.follow_redirects=true", "connections.moon.rw.redirect_to=198.51.100.2",
        "connections.moon.rw.redirect_when=init",
    ),
    "Connection.remote_port": _case("connections.alice.rw.remote_port=4500"),
    "Connection.unique": _case(
        *QUIET, "connections.alice.rw.reauth_time=1 s", "connections.alice.rw.make_before_break=true",
        "connections.moon.rw.unique=replace",
    ),
    "Connection.local_id": _case("connections.alice.rw.local_id=me"),
    "Connection.remote_id": _case("connections.alice.rw.remote_id=you"),
    "Connection.eap_secrets": _eap("connections.alice.rw.eap_secrets={carol: wrong, dave: right}"),
    "LocalSide.eap_id": _eap("connections.alice.rw.local.eap_id=dave"),
    "LocalSide.second": _second("connections.alice.rw.local={auth: psk}"),
    "RemoteSide.second": _second("connections.moon.rw.remote={auth: psk}"),
    "SecondLocal.auth": _second(
        "connections.moon.rw.remote.second.auth=eap-md5", "connections.alice.rw.local.second.auth=eap-md5"
    ),
    "SecondLocal.id": _second("connections.alice.rw.local.second.id=dave"),
    "SecondLocal.eap_id": _second("connections.alice.rw.local.second.eap_id=dave"),
    "SecondRemote.auth": _second("connections.moon.rw.remote.second.auth=eap-md5"),
    "SecondRemote.id": _second("connections.moon.rw.remote.second.id=dave"),
    "SecondRemote.eap_id": _second("connections.moon.rw.remote.second.eap_id='%any'"),
    "RemoteSide.eap_id": _eap("connections.moon.rw.remote.eap_id=carol"),
    "Connection.ppk": _case(*PPKS, "connections.alice.rw.ppk=other"),
    "Connection.ppk_id": _case(*PPKS, "connections.alice.rw.ppk_id=another"),
    "Connection.psk": _case("connections.alice.rw.psk=other"),
    "Scenario.connections": _case("connections.alice={}"),
    "ConnectionChild.ah_proposals": _case(
        NO_NAT, STILL, UNCHECKED,
        "connections.alice.rw.children.net={remote_ts: [10.1.0.0/16], ah_proposals: [sha1]}",
    ),
    "ConnectionChild.populate_from_packet": _case(
        *QUIET, PING, "connections.alice.rw.children.net.start_action=trap",
        "connections.alice.rw.children.net.populate_from_packet=[remote_addr]",
    ),
    "ConnectionChild.priority": _case(
        *QUIET, PING, "connections.alice.rw.children.past={mode: drop, remote_ts: ['10.1.0.0/16[icmp]'],"
        " start_action: trap}", "connections.alice.rw.children.past.priority=1000",
    ),
    "ConnectionChild.start_action": _case("connections.alice.rw.children.net.start_action=none"),
}  # fmt: skip


def _expanded_cases() -> dict[str, Case]:
    """The cases of connections: some are their own, others those of tunnels, at one end."""
    own = {key: case for key, case in CASES.items() if "connections." in case.change}
    same = {
        key.replace("Tunnel", "Connection"): case._replace(
            both=tuple(text.replace("tunnels.", "connections.alice.") for text in case.both),
            change=_at_one_end(case.change),
        )
        for key, case in CASES.items()
        if key.startswith(("Tunnel.", "TunnelChild."))
        and key
        not in (
            "Tunnel.initiator",
            "Tunnel.responder",
            "Tunnel.auth",
            "TunnelChild.start",
            "TunnelChild.priority",
            "TunnelChild.populate_from_packet",
        )
    }
    return {key: case._replace(expanded=True) for key, case in (same | own).items()}


def _at_one_end(change: str) -> str:
    """The responder's end for what only a responder does."""
    responders = (
        "return_routability",
        "redirect_to",
        "redirect_when",
        "replay_window",
        "rw.pools",
        "net.fragment=",
        "net.icmp=",
    )
    node = "moon" if any(key in change for key in responders) else "alice"
    return change.replace("tunnels.", f"connections.{node}.")


_FAULT_EXTRAS = {
    "drop": "", "duplicate": "after: 1 ms", "delay": "by: 1 ms", "reorder": "", "corrupt": "bit: 300",
    "replay": "after: 1 ms", "bump-version": "", "critical-payload": "",
    "cookie": "accept: false, count: all",    "guess-group": "group: ecp256", "ask-group": "group: ecp256",
}  # fmt: skip
_FAULT_OWN_KEYS = {
    "DuplicateFault.after": "2 ms", "DelayFault.by": "2 ms", "CorruptFault.bit": "301",
    "ReplayFault.after": "2 ms", "CookieFault.accept": "true", "GuessGroupFault.group": "modp2048",
    "AskGroupFault.group": "modp2048",
}  # fmt: skip


def _fault_cases() -> dict[str, Case]:
    """Each verb's own keys and those of all, at alice; at moon what only a responder does."""
    cases = {"Scenario.faults": _case("faults=[{node: alice, do: drop}]")}
    for verb, extra in _FAULT_EXTRAS.items():
        model = "".join(map(str.capitalize, verb.split("-"))) + "Fault"
        node, other = ("moon", "alice") if verb in ("cookie", "ask-group") else ("alice", "moon")
        keys = {"node": other, "connection": "two" if node == "alice" else "else", "nth": "2", "count": "2"}
        keys["do"] = "drop" if verb in ("cookie", "reorder") else "reorder"
        if "group" not in verb and verb != "cookie":
            keys |= {"exchange": "IKE_AUTH", "message": "response"}
        keys |= {key.split(".")[1]: v for key, v in _FAULT_OWN_KEYS.items() if key.startswith(f"{model}.")}
        both = [UNCHECKED, "tunnels.rw.retransmit=libreswan", ELSE]
        both += ["tunnels.rw.proposals=[aes128gcm16-prfsha256-x25519-ecp256-modp2048]"]
        both += ["links.3.loss=100 %"] if verb == "guess-group" else []
        text = ", ".join(part for part in (f"node: {node}, do: {verb}", extra) if part)
        both += [f"faults=[{{{text}}}]"]
        for key, change in keys.items():
            changed_to = (
                f"faults=[{{node: {node}, do: {change}}}]" if key == "do" else f"faults.0.{key}={change}"
            )
            cases[f"{model}.{key}"] = _case(*both, changed_to)
    return cases


CASES |= _expanded_cases()
CASES |= _fault_cases()

CASES |= {
    "Connection.local": Case((), "connections.alice.rw.local={auth: 'null'}", expanded=True),
    "Connection.remote": Case((), "connections.moon.rw.remote={auth: 'null'}", expanded=True),
    "ConnectionChild.iptfs": Case(
        (
            *(UNCHECKED, STILL),
            *(f"connections.{node}.rw.children.net.mode=iptfs" for node in ("alice", "moon")),
        ),
        "connections.alice.rw.children.net.iptfs={init_delay: 50 ms}",
        expanded=True,
    ),
    "ConnectionChild.icmp_check": Case(
        (
            *NARROW_LAN,
            TWO.replace("tunnels.", "connections.alice."),
            TWO.replace("tunnels.", "connections.moon.").replace("remote_ts", "local_ts"),
            "connections.alice.rw.children.udp.start_action=start",
            "connections.alice.rw.children.net.start_action=start",
        ),
        "connections.alice.rw.children.net.icmp_check=true",
        expanded=True,
    ),
    "LocalSide.auth": _certs("connections.alice.rw.local.auth=pubkey-sha512"),
    "LocalSide.certs": _certs("connections.alice.rw.local.certs=[]"),
    "LocalSide.key": _certs(f"connections.alice.rw.local.key={json.dumps(MOON.key_pem)}"),
    "LocalSide.send_cert": _certs("connections.alice.rw.local.send_cert=never"),
    "RemoteSide.auth": _certs("connections.moon.rw.remote.auth=rsa"),
    "RemoteSide.cacerts": _certs(f"connections.moon.rw.remote.cacerts={json.dumps([STRANGER.cert_pem])}"),
    "RemoteSide.certs": _certs(
        f"connections.moon.rw.remote.cacerts={json.dumps([STRANGER.cert_pem])}",
        f"connections.moon.rw.remote.certs={json.dumps([ALICE.cert_pem])}",
    ),
    "RemoteSide.pubkeys": _certs(
        "connections.alice.rw.local.certs=[]",
        f"connections.moon.rw.remote.pubkeys={json.dumps([_public(ALICE)])}",
    ),
    "RemoteSide.crls": _certs(f"connections.moon.rw.remote.crls={json.dumps([REVOKED])}"),
    "RemoteSide.revocation": _certs("connections.moon.rw.remote.revocation=strict"),
    "RemoteSide.send_certreq": _certs("connections.moon.rw.remote.send_certreq=false"),
    "ConnectionChild.shared_nat": Case(
        (
            *SHARED_NAT,
            "connections={"
            + "".join(
                f"{node}: {{rw: {{remote_addrs: [198.51.100.1], local_id: {node}, psk: x, children:"
                " {c: {mode: transport, start_action: start}}}}, "
                for node in _PEERS
            )
            + " moon: {rw: {psk: x, children: {c: {mode: transport}}}}}",
        ),
        "connections.moon.rw.children.c.shared_nat=refuse",
        expanded=True,
    ),
    "ConnectionChild.flow_label": Case(
        (
            *(over for over in OVER_IPV6 if not over.startswith("tunnels")),
            "connections={bob: {rw: {remote_addrs: [2001:db8:1::1], psk: x, children: {net: {start_action:"
            " start, local_ts: [10.8.0.2/32], remote_ts: [10.8.0.1/32]}}}},"
            " moon: {rw: {psk: x, children: {net: {local_ts: [10.8.0.1/32], remote_ts: [10.8.0.2/32]}}}}}",
        ),
        "connections.bob.rw.children.net.flow_label=none",
        expanded=True,
    ),
}
