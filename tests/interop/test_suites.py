"""tshark, with the keys that a run writes, decrypts every suite that Wireshark has.

One run has a pair of hosts for each suite; so one capture and one tshark judge them all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

import sim
from tests.interop.test_topologies import IKE_SA_INIT, WARNING, Frame, frames
from tests.peers import require

pytestmark = pytest.mark.peers

SIZES = ("128", "192", "256")
MACS = ("sha1", "sha256", "sha384", "sha512")
UNCHECKED = ("aesxcbc", "aescmac")  # Wireshark skips the ICV of these
CBC_CTR = [f"aes{bits}{mode}" for bits in SIZES for mode in ("", "ctr")] + ["3des"]
GCM = [f"aes{bits}gcm{icv}" for bits in SIZES for icv in (8, 12, 16)]
CCM = [f"aes{bits}ccm{icv}" for bits in SIZES for icv in (8, 12, 16)]
ESP = GCM + [f"{cipher}-{mac}" for cipher in (*CBC_CTR, "null") for mac in (*MACS, *UNCHECKED)]
IKE = [f"{cipher}-prfsha256-x25519" for cipher in GCM + CCM] + [
    f"{cipher}-{mac}-x25519" for cipher in CBC_CTR for mac in (*MACS, *UNCHECKED)
]
PAIRS = [
    (ike, esp) for _, ike, esp in zip(range(max(len(IKE), len(ESP))), cycle(IKE), cycle(ESP), strict=False)
]


@dataclass
class Seen:
    """What tshark said of the frames of one pair."""

    ike: list[Frame]
    esp: list[Frame]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    require("tshark")
    folder = tmp_path_factory.mktemp("suites")
    path = folder / "suites.yaml"
    path.write_text(json.dumps(scenario()))
    result = sim.run(path, seed=1, out=folder / "run")
    assert result.ok, [check for check in result.summary["checks"] if not check["ok"]]
    return sorted_frames(result.summary, folder / "run")


@pytest.mark.parametrize("index", range(len(PAIRS)), ids=lambda index: "+".join(PAIRS[index]))
def test_tshark_decrypts_the_suite(seen: list[Seen], index: int) -> None:
    _, esp = PAIRS[index]
    checked = esp.rpartition("-")[2] not in UNCHECKED
    assert len(seen[index].ike) >= 2
    assert len(seen[index].esp) >= 4
    for frame in (*seen[index].ike, *seen[index].esp):
        assert not frame.malformed
        assert frame.worst < WARNING, frame.messages
    for frame in seen[index].ike:
        assert frame.decrypted
        assert not frame.bad_ike_icv
    for frame in seen[index].esp:
        assert frame.contained
        assert (frame.icv_good, frame.icv_bad) == (("1", "0") if checked else ("0", "0"))


def scenario() -> dict[str, Any]:
    """Two hosts, a tunnel and two pings for each pair of suites."""
    nodes, links, tunnels, traffic, checks = {}, [], {}, [], []
    for number, (ike, esp) in enumerate(PAIRS):
        a, b = f"a{number}", f"b{number}"
        for host, end in ((a, 1), (b, 2)):
            nodes[host] = {"kind": "host", "interfaces": {"eth": f"10.{number}.0.{end}/24"}}
        links.append({"ends": [f"{a}:eth", f"{b}:eth"], "delay": "1 ms"})
        child = {"mode": "transport", "esp_proposals": [esp], "start": "at once"}
        tunnels[f"t{number}"] = {
            "initiator": a,
            "responder": b,
            "auth": {"psk": "secret"},
            "proposals": [ike],
            "children": {"child": child},
        }
        ping = {"name": f"p{number}", "kind": "ping", "from": a, "to": b, "interval": "100 ms", "count": 2}
        traffic.append(ping | {"start": "500 ms"})
        checks.append({"flow": f"p{number}", "max_loss": "0 %"})
    return {
        "name": "suites",
        "duration": "1 s",
        "nodes": nodes,
        "links": links,
        "tunnels": tunnels,
        "traffic": traffic,
        "checks": checks,
    }


def sorted_frames(summary: dict[str, Any], folder: Path) -> list[Seen]:
    found = [Seen([], []) for _ in PAIRS]
    of_ike, of_esp = {}, {}
    for row in summary["connections"]:
        pair = found[int(row["name"][1:])]
        of_ike[row["spi_i"]] = pair
        for child in row["children"]:
            of_esp[int(child["spi_in"], 16)] = pair
    for frame in frames(folder):
        if frame.spi:
            of_esp[int(frame.spi, 16)].esp.append(frame)
        elif frame.exchange and frame.exchange != IKE_SA_INIT:
            of_ike[frame.ike_spi].ike.append(frame)
    return found
