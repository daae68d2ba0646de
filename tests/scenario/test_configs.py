"""Every setting of a connection reaches the IKE endpoint under its name in strongSwan's swanctl.conf."""

from __future__ import annotations

from typing import Any

import pytest

from sim.ike.config import (
    RETRANSMIT,
    ChildConfig,
    Childless,
    ConnectionConfig,
    Fragmentation,
    PerCpuSas,
    RedirectWhen,
    ReturnRoutability,
    SharedNat,
    StartAction,
    Unique,
)
from sim.ike.constants import ProtocolId
from sim.ike.credentials import LocalAuth, Method, RemoteAuth
from sim.ike.identity import Identity
from sim.ike.proposals import parse_proposal
from sim.scenario.configs import child_config, connection_config, endpoint_config
from sim.scenario.schema import Connection, ConnectionChild, Pool
from sim.units import NS_PER_S
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.handling import AUTO, TO_MTU, Handling
from sim.wire.iptfs import Iptfs
from sim.wire.outer_fields import CopyDscp, FlowLabel, OuterFields
from sim.wire.selector import Selector

ADDRESS, ADDRESS6 = pack_address("192.0.2.1"), pack_address("2001:db8::1")
IKE_PROPOSAL = parse_proposal("aes256-sha256-ecp256", ProtocolId.IKE)
BARE = {"psk": "secret", "children": {"net": {}}}
SETTINGS: list[tuple[str, Any, str, Any]] = [
    ("psk", "0x00ff", "psk", b"\x00\xff"),
    ("proposals", ["aes256-sha256-ecp256"], "proposals", (IKE_PROPOSAL,)),
    ("local_addrs", ["192.0.2.1"], "local_addrs", (ADDRESS,)),
    ("remote_addrs", ["2001:db8::1", "192.0.2.1"], "remote_addrs", (ADDRESS6, ADDRESS)),
    ("local_id", "alice@example.org", "local_id", Identity.parse("alice@example.org")),
    ("remote_id", "moon.example", "remote_id", Identity.parse("moon.example")),
    ("vips", ["0.0.0.0", "2001:db8::1"], "vips", (bytes(4), ADDRESS6)),
    ("mobike", False, "mobike", False),
    ("remote_port", 14500, "remote_port", 14500),
    ("encap", True, "encap", True),
    ("dpd_delay", "30 s", "dpd_delay", 30 * NS_PER_S),
    ("keep_alive", "7 s", "keepalive", 7 * NS_PER_S),
    ("retransmit", "iked", "retransmit", RETRANSMIT["iked"]),
    ("unique", "keep", "unique", Unique.KEEP),
    ("childless", "force", "childless", Childless.FORCE),
    ("keyingtries", 0, "keyingtries", 0),
    ("window", 4, "window", 4),
    ("reauth_time", "1 h", "reauth_time", 3600 * NS_PER_S),
    ("make_before_break", True, "make_before_break", True),
    ("rekey_time", "50 s", "rekey_time", 50 * NS_PER_S),
    ("rekey_time", "50 s", "over_time", 5 * NS_PER_S),
    ("over_time", "7 s", "over_time", 7 * NS_PER_S),
    ("rand_time", "3 s", "rand_time", 3 * NS_PER_S),
    ("fragmentation", "accept", "fragmentation", Fragmentation.ACCEPT),
    ("fragment_size", "576 B", "fragment_size", 576),
    ("eap_secrets", {"carol": "pw"}, "eap_secrets", {b"carol": b"pw"}),
    ("local", {"auth": "null"}, "local", LocalAuth(Method.NULL)),
    ("remote", {"auth": None}, "remote", RemoteAuth(Method.NULL)),
    ("ppk", "0x00ff", "ppk", b"\x00\xff"),
    ("ppk_id", "ppk-1", "ppk_id", b"ppk-1"),
    ("ppk_required", True, "ppk_required", True),
    ("dscp", 48, "dscp", 48),
    ("qcd", True, "qcd", True),
    ("resumption", True, "resumption", True),
    ("keepalive_policy", "adaptive", "keepalive_adaptive", True),
    ("keepalive_max", "50 s", "keepalive_max", 50 * NS_PER_S),
    ("radio_tail", "5 s", "radio_tail", 5 * NS_PER_S),
    ("follow_redirects", True, "follow_redirects", True),
    ("redirect_to", "198.51.100.2", "redirect_to", pack_address("198.51.100.2")),
    ("redirect_when", "init", "redirect_when", RedirectWhen.INIT),
    ("return_routability", False, "return_routability", ReturnRoutability.NONE),
    ("return_routability", "none", "return_routability", ReturnRoutability.NONE),
    ("return_routability", "after", "return_routability", ReturnRoutability.AFTER),
    ("nat_traversal", False, "nat_traversal", False),
]  # fmt: skip
CHILD_SETTINGS: list[tuple[str, Any, str, Any]] = [
    ("mode", "transport", "mode", Mode.TRANSPORT),
    ("mode", "iptfs", "mode", Mode.IPTFS),
    ("local_ts", ["10.1.0.0/16"], "local_ts", (Selector.from_prefix("10.1.0.0/16"),)),
    ("remote_ts", ["10.2.0.0/16"], "remote_ts", (Selector.from_prefix("10.2.0.0/16"),)),
    ("esp_proposals", ["aes256gcm16"], "esp_proposals", (parse_proposal("aes256gcm16", ProtocolId.ESP),)),
    ("ah_proposals", ["sha256-esn"], "ah_proposals", (parse_proposal("sha256-esn", ProtocolId.AH),)),
    ("replay_window", 4096, "replay_window", 4096),
    ("copy_df", False, "copy_df", False),
    ("ipcomp", True, "ipcomp", True),
    ("per_cpu_sas", "encap", "per_cpu_sas", PerCpuSas.ENCAP),
    ("shared_nat", "refuse", "shared_nat", SharedNat.REFUSE),
    ("copy_dscp", "in", "outer", OuterFields(copy_dscp=CopyDscp.IN)),
    ("copy_ecn", False, "outer", OuterFields(copy_ecn=False)),
    ("dscp_map", {46: 34, 0: 8}, "outer", OuterFields(dscp_map=((0, 8), (46, 34)))),
    ("outer_dscp", 0, "outer", OuterFields(dscp=0)),
    ("outer_ttl", 255, "outer", OuterFields(ttl=255)),
    ("flow_label", "copy", "outer", OuterFields(flow_label=FlowLabel.COPY)),
    ("df", "set", "handling", Handling(df=True)),
    ("fragment", "before", "handling", Handling(fragment_before=True)),
    ("icmp", False, "handling", Handling(icmp=False)),
    ("icmp_check", True, "handling", Handling(icmp_check=True)),
    ("mss_clamp", "auto", "handling", Handling(mss_clamp=AUTO)),
    ("tfc_padding", "mtu", "handling", Handling(tfc_padding=TO_MTU)),
    ("tfc_padding", "1000 B", "handling", Handling(tfc_padding=1000)),
    ("mss_clamp", "1360 B", "handling", Handling(mss_clamp=1360)),
    ("rekey_time", "50 s", "rekey_time", 50 * NS_PER_S),
    ("close_action", "trap", "close_action", StartAction.TRAP),
    ("dpd_action", "restart", "dpd_action", StartAction.START),
    ("rekey_time", "50 s", "life_time", 55 * NS_PER_S),
    ("rekey_bytes", "10 MB", "rekey_bytes", 10_000_000),
    ("rekey_bytes", "10 MB", "life_bytes", 11_000_000),
    ("life_bytes", "10 MB", "life_bytes", 10_000_000),
    ("rekey_packets", 100, "life_packets", 110),
    ("rekey_packets", 100, "rekey_packets", 100),
    ("rand_bytes", "10 MB", "rand_bytes", 10_000_000),
    ("rand_packets", 9, "rand_packets", 9),
    ("rekey_bytes", "10 MB", "rand_bytes", 1_000_000),
    ("rekey_packets", 100, "rand_packets", 10),
    ("life_packets", 100, "life_packets", 100),
    ("life_time", "3700 s", "life_time", 3700 * NS_PER_S),
    ("priority", 1000, "priority", 1000),
    ("non_first_fragments_also", True, "fragments", True),
    ("populate_from_packet", ["remote_addr"], "populate", ("remote_addr",)),
    ("rand_time", "3 s", "rand_time", 3 * NS_PER_S),
    ("start_action", "trap", "start", StartAction.TRAP),
    ("start_action", "start", "start", StartAction.START),
]


@pytest.mark.parametrize(("key", "value", "name", "expected"), SETTINGS)
def test_a_setting_of_a_connection_arrives(key: str, value: Any, name: str, expected: Any) -> None:
    beside = {"ppk": "x", "ppk_id": "x"} if key.startswith("ppk") else {}
    assert getattr(connection(beside | {key: value}), name) == expected
    if key != "psk":
        assert getattr(connection({}), name) != expected, "so it is not the default that was seen"


@pytest.mark.parametrize(("key", "value", "name", "expected"), CHILD_SETTINGS)
def test_a_setting_of_a_child_arrives(key: str, value: Any, name: str, expected: Any) -> None:
    beside: dict[str, dict[str, Any]] = {"df": {"copy_df": False}, "shared_nat": {"mode": "transport"}}
    assert getattr(child(beside.get(key, {}) | {key: value}), name) == expected
    assert getattr(child({}), name) != expected


def test_settings_of_aggfrag_mode_arrive() -> None:
    settings = {
        "packet_size": "1400 B", "max_queue_size": "10 kB", "dont_frag": True, "l3_fixed_rate": "2 Mbit/s",
        "congestion_control": True, "ecn": True, "accept_fragments": False, "reorder_window": 0,
        "drop_time": "20 ms",
    }  # fmt: skip
    assert child({"mode": "iptfs", "iptfs": settings}).iptfs == Iptfs(
        packet_size=1400,
        max_queue_size=10_000,
        dont_frag=True,
        l3_fixed_rate=2_000_000,
        congestion_control=True,
        ecn=True,
        accept_fragments=False,
        reorder_window=0,
        drop_time=20_000_000,
    )
    assert child({"mode": "iptfs", "iptfs": {"init_delay": "5 ms"}}).iptfs == Iptfs(init_delay=5_000_000)


def test_no_setting_is_left_out() -> None:
    assert {key for key, *_ in SETTINGS} == set(Connection.model_fields) - {"children", "pools"}
    assert {key for key, *_ in CHILD_SETTINGS} | {"iptfs"} == set(ConnectionChild.model_fields)


def test_an_omitted_setting_is_the_endpoint_s_own_default() -> None:
    """The scenario and the endpoint agree on what nobody says."""
    made = connection({})
    bare = ConnectionConfig("rw", made.psk, made.proposals, made.children)
    assert made == bare
    assert child({}) == ChildConfig("net", child({}).esp_proposals)


def test_pools_are_ranges_with_their_attributes_in_octets() -> None:
    pools = {
        "p": Pool(addrs="10.3.0.0/29", dns=("10.1.0.20",), netmask="255.255.0.0", subnet=("10.1.0.0/16",)),
        "q": Pool(addrs="fd00:3::1-fd00:3::2", dns=("2001:db8::1",), subnet=("2001:db8::/32",)),
        "r": Pool(addrs="10.4.0.1/32", nbns=("10.1.0.20",), dhcp=("10.1.0.20", "2001:db8::1")),
    }
    named = Connection.model_validate(BARE | {"pools": ["q", "p"]})
    config = endpoint_config({"rw": named}, pools)
    assert config.connections[0].pools == ("q", "p")
    dns, net = pack_address("10.1.0.20"), pack_address("10.1.0.0")
    assert [(pool.name, pool.first[-1], pool.last[-1]) for pool in config.pools] == [
        ("p", 1, 6), ("q", 1, 2), ("r", 1, 1),
    ]  # fmt: skip
    assert [[(a.type, a.value) for a in pool.attributes] for pool in config.pools] == [
        [(2, b"\xff\xff\0\0"), (3, dns), (13, net + b"\xff\xff\0\0")],
        [(10, ADDRESS6), (15, ADDRESS6[:4] + bytes(12) + b"\x20")],
        [(4, dns), (6, dns), (12, ADDRESS6)],
    ]


def test_connections_and_children_keep_their_names_and_order() -> None:
    several = {"psk": "x", "children": {"b": {}, "a": {}}}
    connections = {name: Connection.model_validate(several) for name in ("two", "one")}
    config = endpoint_config(connections)
    assert [connection.name for connection in config.connections] == ["two", "one"]
    assert [made.name for made in config.connections[0].children] == ["b", "a"]


def connection(settings: dict[str, Any]) -> ConnectionConfig:
    return connection_config("rw", Connection.model_validate(BARE | settings))


def child(settings: dict[str, Any]) -> ChildConfig:
    return child_config("net", ConnectionChild.model_validate(settings))
