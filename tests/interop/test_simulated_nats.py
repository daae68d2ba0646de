"""strongSwan behind our simulated NATs in real time: they forget, get another address, restart, and it moves.

    alice 192.168.1.10 -- wlan NAT 203.0.113.10 -- \\
          100.64.0.10  -- lte NAT  198.18.0.10  -- core -- (office NAT) -- moon 10.1.0.1 -- bob 10.1.0.10

There are five alices in one run, each a strongSwan with two NATs of her own. moon is our own stack in there,
on a public address or behind a NAT that forwards to it. It is one run, not five, because it must wait for the
clock: what happens, happens to all of them at once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sim.net.nat import NAT_PRESETS
from sim.net.nat_profile import PortAssignment
from tests.interop.connection import Connection
from tests.interop.netns import Lab, Namespace, Process, until
from tests.interop.ping import replies, start_pinging, stop_pinging
from tests.interop.strongswan import Sa, StrongSwan
from tests.live.emulation import Emulation, emulation

pytestmark = [pytest.mark.peers, pytest.mark.slow]  # events on the wall clock: 10 s

PAIRS = (
    ("home", "cgn"),
    ("symmetric", "mobile"),
    ("cgn", "home"),
    ("corporate", "symmetric"),
    ("mobile", "corporate"),
)
"""The presets of the NATs at her wlan and her lte."""

REBIND, LEASE, REBOOT, MOVE = 4.0, 6.0, 8.0, 10.0
"""Other ports, another address, a restart and a move to lte, in s of the run."""
GAP = 0.3
"""How long a NAT restarts."""
QUICK = "retransmit_timeout = 0.5"
"""For what was on its way when something happened; the default is 4 s."""
MOON, BOB, SECRET = "198.51.100.1", "10.1.0.10", "a secret of the tests only"
INTERVAL = 0.1
AT_MOST_LOST = 20
"""Pings in a row, which is 2 s: strongSwan checks each second, from the last answer on."""

_REMOTE = re.compile(r" - ([\d.]+)\[(\d+)\]")


@dataclass(frozen=True)
class Alice:
    """One of them, and what is between her and the core."""

    number: int
    namespace: Namespace
    swan: StrongSwan

    @property
    def name(self) -> str:
        return f"alice{self.number}"

    @property
    def inner(self) -> str:
        return f"10.8.0.{self.number}"

    @property
    def pair(self) -> tuple[str, str]:
        return PAIRS[self.number]


@pytest.mark.parametrize("forwarded", [False, True], ids=["public responder", "forwarded responder"])
def test_strongswan_goes_on_behind_nats_that_change_and_moves_to_another(
    lab: Lab, tmp_path: Path, forwarded: bool
) -> None:
    alices = [alice(lab, number) for number in range(len(PAIRS))]
    topology = tmp_path / "nats.yaml"
    topology.write_text(json.dumps(scenario(forwarded)))
    attach = [f"{a.name}:{at}={at}@{a.namespace.name}" for a in alices for at in ("wlan", "lte")]
    with emulation(topology, *attach, out=tmp_path / "out") as run:
        pings = tunnels_with_pings(alices)
        for one, pinging in zip(alices, pings, strict=True):
            wait_for_pings_after_the_move(one, pinging)
        results = [stop_pinging(pinging) for pinging in pings]
        believed = [one.swan.sa() for one in alices]
    events = pd.read_parquet(tmp_path / "out" / "events.parquet")
    for one, result, sa in zip(alices, results, believed, strict=True):
        assert result.longest_gap <= AT_MOST_LOST, f"{one.pair}: {result}"
        assert_both_believe_the_same(sa, row_of(run, one), one, forwarded)
        assert_moon_saw_everything(events, one)
        assert len(re.findall(r"IKE_SA home\[\d+\] established", one.swan.log())) == 1, "never begun anew"


def tunnels_with_pings(alices: list[Alice]) -> list[Process]:
    """Up, with strongSwan's first check through, after which it knows how its NAT maps it; pings go on."""
    for one in alices:
        said = one.swan.initiate("net")
        assert "initiate completed successfully" in said, said + one.swan.log()
    for one in alices:
        one.swan.expect(r"generating INFORMATIONAL request \d+ \[ N\(NATD_S_IP\)")
    return [start_pinging(one.namespace, BOB, interval=INTERVAL) for one in alices]


def wait_for_pings_after_the_move(one: Alice, pinging: Process) -> None:
    until(
        lambda: one.swan.sa().local[0] == lte(one.number),
        lambda: f"{one.pair} does not move:\n{one.swan.log()}",
    )
    heard = len(replies(pinging))
    until(
        lambda: len(replies(pinging)) > heard + 10,
        lambda: f"{one.pair}: nothing after the move:\n{one.swan.log()}",
    )


def row_of(run: Emulation, one: Alice) -> dict[str, Any]:
    """What moon has of her at the end."""
    (row,) = (row for row in run.summary["connections"] if row["name"] == f"rw{one.number}")
    return dict(row)


def assert_both_believe_the_same(sa: Sa, row: dict[str, Any], one: Alice, forwarded: bool) -> None:
    """strongSwan's `swanctl --list-sas` and our summary, each from its end."""
    own = "172.16.0.10" if forwarded else MOON
    assert (sa.local, sa.remote) == ((lte(one.number), 4500), (MOON, 4500))
    assert row["local"] == f"{own}[4500]"
    assert row["remote"].partition("[")[0] == outside("lte", one.number)
    assert (row["state"], row["encap"]) == ("established", True)
    assert (row["nat_local"], row["nat_remote"]) == (forwarded, True)
    assert (row["spi_i"], row["spi_r"]) == (sa.spi_i, sa.spi_r)
    (child,) = row["children"]
    assert (child["spi_in"], child["spi_out"]) == (f"{sa.child.spi_out:08x}", f"{sa.child.spi_in:08x}")
    assert (child["packets_in"], child["packets_out"]) == (sa.child.packets_out, sa.child.packets_in)


def assert_moon_saw_everything(events: pd.DataFrame, one: Alice) -> None:
    """Another port, another address, perhaps another port after the restart, and the other NAT."""
    mine = events[(events.node == "moon") & (events.connection == f"rw{one.number}")]
    first = mine[mine.event == "ike up"].detail.iloc[0]
    later = mine[mine.event == "path changed"].detail
    ends = [_REMOTE.findall(detail)[0] for detail in [first, *later]]
    wlan_at, lte_at = outside("wlan", one.number), outside("lte", one.number)
    assert [address for address, _ in groupby(address for address, _ in ends)] == [
        wlan_at, leased(one.number), lte_at,
    ], (one.pair, ends)  # fmt: skip
    ports = {at: len({port for address, port in ends if address == at}) for at, _ in ends}
    kept = NAT_PRESETS[one.pair[0]].port_assignment is PortAssignment.PRESERVING
    assert ports == {wlan_at: 2, leased(one.number): 1 if kept else 2, lte_at: 1}, (one.pair, ends)


def alice(lab: Lab, number: int) -> Alice:
    """Her strongSwan, ready before the clock of the run starts."""
    namespace = lab.namespace(f"alice{number}")
    namespace.inner_address(f"10.8.0.{number}/32")
    swan = StrongSwan(namespace, settings=QUICK)
    view = Connection(
        *("%any", MOON, f"10.8.0.{number}/32", "10.1.0.0/16"),
        local_id=f"alice{number}.example",
        remote_id="moon.example",
        psk=SECRET,
        settings={"dpd_delay": "1s"},
    )
    swan.load(view.swanctl())
    return Alice(number, namespace, swan)


def scenario(forwarded: bool) -> dict[str, Any]:
    nodes: dict[str, Any] = {
        "bob": {"kind": "host", "interfaces": {"eth": f"{BOB}/16"}},
        "core": {"kind": "router", "interfaces": {"moon": "198.51.100.254/24"}},
    }
    links: list[dict[str, Any]] = [{"ends": ["moon:lan", "bob:eth"]}]
    tunnels, events = {}, []
    for number in range(len(PAIRS)):
        _add_alice(number, nodes, links)
        tunnels[f"rw{number}"] = _tunnel(number)
        events += _events(number)
    _add_moon(forwarded, nodes, links)
    return {
        "name": "simulated-nats",
        "duration": "5 min",
        "nodes": nodes,
        "links": links,
        "tunnels": tunnels,
        "events": events,
    }


def _add_alice(number: int, nodes: dict[str, Any], links: list[dict[str, Any]]) -> None:
    name, nats = f"alice{number}", dict(zip(("wlan", "lte"), PAIRS[number], strict=True))
    own = {"wlan": wlan(number), "lte": lte(number)}
    nodes[name] = {
        "kind": "host",
        "interfaces": {at: f"{address}/24" for at, address in own.items()},
    }
    for at, preset in nats.items():
        box, net = f"{at}{number}", own[at].rpartition(".")[0]
        wan = outside(at, number)
        nodes[box] = {
            "kind": "nat",
            "preset": preset,
            "interfaces": {"in": f"{net}.1/24", "wan": f"{wan}/24"},
        }
        nodes["core"]["interfaces"][box] = f"{wan.rpartition('.')[0]}.1/24"
        links.append({"ends": [f"{name}:{at}", f"{box}:in"], "delay": "1 ms"})
        links.append({"ends": [f"{box}:wan", f"core:{box}"], "delay": "2 ms"})


def _add_moon(forwarded: bool, nodes: dict[str, Any], links: list[dict[str, Any]]) -> None:
    wan = "172.16.0.10/24" if forwarded else f"{MOON}/24"
    nodes["moon"] = {"kind": "gateway", "interfaces": {"wan": wan, "lan": "10.1.0.1/16"}}
    if not forwarded:
        links.append({"ends": ["moon:wan", "core:moon"], "delay": "2 ms"})
        return
    nodes["office"] = {
        "kind": "nat",
        "preset": "home",
        "interfaces": {"dmz": "172.16.0.1/24", "wan": f"{MOON}/24"},
        "forward": [{"protocol": "udp", "port": port, "to": "172.16.0.10"} for port in (500, 4500)],
    }
    links.append({"ends": ["moon:wan", "office:dmz"], "delay": "1 ms"})
    links.append({"ends": ["office:wan", "core:moon"], "delay": "1 ms"})


def _tunnel(number: int) -> dict[str, Any]:
    return {
        "initiator": f"alice{number}",
        "responder": "moon",
        "auth": {"psk": SECRET, "local_id": f"alice{number}.example", "remote_id": "moon.example"},
        "proposals": ["aes128gcm16-prfsha256-x25519"],
        "children": {
            "net": {
                "local_ts": [f"10.8.0.{number}/32"],
                "remote_ts": ["10.1.0.0/16"],
                "esp_proposals": ["aes128gcm16"],
            }
        },
    }


def _events(number: int) -> list[dict[str, Any]]:
    box = {"node": f"wlan{number}"}
    return [
        {"at": f"{REBIND} s", **box, "do": "rebind"},
        {"at": f"{LEASE} s", **box, "do": "rebind", "address": f"{leased(number)}/24"},
        {"at": f"{REBOOT} s", **box, "do": "reboot", "gap": f"{GAP} s"},
        {"at": f"{MOVE} s", "node": f"alice{number}", "do": "move", "from": "wlan", "to": "lte"},
    ]


def wlan(number: int) -> str:
    return f"192.168.{number}.10"


def lte(number: int) -> str:
    return f"100.64.{number}.10"


def outside(at: str, number: int) -> str:
    """The NAT's address at the beginning."""
    return f"203.0.{113 + number}.10" if at == "wlan" else f"198.18.{number}.10"


def leased(number: int) -> str:
    """And the one that it has later."""
    return f"203.0.{113 + number}.77"
