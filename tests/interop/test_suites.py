"""tshark, with the keys that a run writes, decrypts every suite that Wireshark has, in both modes.

One run has a pair of hosts for each suite and mode; so one capture and one tshark judge them all. The suites
that Wireshark lacks are in it as well: they are exactly those whose keys are comments, and do it no harm.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest

import sim
from tests.interop.test_topologies import IKE_SA_INIT, WARNING, Frame, frames
from tests.ipsec.pair import EVERY_SUITE
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
NO_CCM = "Wireshark has AES-CCM for IKE alone"
NO_GMAC = "Wireshark has AES-GMAC in neither of its lists for ESP"
NO_CHACHA = "Wireshark has ChaCha20-Poly1305 since 4.2, later than the one of Debian 12"
NO_IIV = "Wireshark takes the first octets behind the sequence number for the IV (RFC 8750 has none)"
OPAQUE = {
    **dict.fromkeys(CCM, NO_CCM),
    **{f"aes{bits}gmac": NO_GMAC for bits in SIZES},
    "chacha20poly1305": NO_CHACHA,
    **{f"aes{bits}{mode}iiv": NO_IIV for bits in SIZES for mode in ("gcm16", "ccm8")},
    "chacha20poly1305iiv": NO_IIV,
}
"""What Wireshark 4.0 cannot decrypt, and why."""
MODES = ("transport", "tunnel")
PAIRS = [
    (ike, esp, mode) for (esp, mode), ike in zip(product([*ESP, *OPAQUE], MODES), cycle(IKE), strict=False)
]


@dataclass
class Seen:
    """What tshark said of the frames of one pair."""

    ike: list[Frame]
    esp: list[Frame]
    rows: list[str]
    """Of its ESP SAs, in the file of keys."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    require("tshark")
    folder = tmp_path_factory.mktemp("suites")
    path = folder / "suites.yaml"
    path.write_text(json.dumps(scenario()))
    result = sim.run(path, seed=1, out=folder / "run")
    assert result.ok, [check for check in result.summary["checks"] if not check["ok"]]
    return sorted_frames(result.summary, folder / "run")


READ = [index for index, (_, esp, _) in enumerate(PAIRS) if esp not in OPAQUE]
UNREAD = [index for index in range(len(PAIRS)) if index not in READ]


def name(index: int) -> str:
    return "+".join(PAIRS[index])


def test_every_suite_is_there_in_both_modes() -> None:
    assert {*ESP, *OPAQUE} == EVERY_SUITE.keys()
    assert set(IKE) <= {ike for ike, _, _ in PAIRS}
    assert len({(esp, mode) for _, esp, mode in PAIRS}) == 2 * len({*ESP, *OPAQUE}) == len(PAIRS)


@pytest.mark.parametrize("index", READ, ids=name)
def test_tshark_decrypts_the_suite(seen: list[Seen], index: int) -> None:
    _, esp, mode = PAIRS[index]
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
        assert frame.sources.count(",") == (mode == "tunnel"), "the inner header is read as well"
        assert (frame.icv_good, frame.icv_bad) == (("1", "0") if checked else ("0", "0"))
    assert not any(row.startswith("#") for row in seen[index].rows)


@pytest.mark.parametrize("index", UNREAD, ids=name)
def test_tshark_is_not_misled_by_a_suite_that_it_lacks(seen: list[Seen], index: int) -> None:
    """Nothing is malformed, nothing is taken for decrypted; the keys are there as a comment."""
    assert len(seen[index].esp) >= 4
    for frame in seen[index].esp:
        assert not frame.malformed
        assert not frame.contained
        assert (frame.icv_good, frame.icv_bad) in (("", ""), ("0", "0"))
    assert len(seen[index].rows) == 2
    assert all(row.startswith("# Wireshark cannot decrypt this suite") for row in seen[index].rows)


def scenario() -> dict[str, Any]:
    """Two hosts, a tunnel and two pings for each pair of suites."""
    nodes, links, tunnels, traffic, checks = {}, [], {}, [], []
    for number, (ike, esp, mode) in enumerate(PAIRS):
        a, b = f"a{number}", f"b{number}"
        for host, end in ((a, 1), (b, 2)):
            nodes[host] = {"kind": "host", "interfaces": {"eth": f"10.{number}.0.{end}/24"}}
        links.append({"ends": [f"{a}:eth", f"{b}:eth"], "delay": "1 ms"})
        child = {"mode": mode, "esp_proposals": [esp], "start": "at once"}
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
    found = [Seen([], [], []) for _ in PAIRS]
    of_ike, of_esp = {}, {}
    for row in summary["connections"]:
        pair = found[int(row["name"][1:])]
        of_ike[row["spi_i"]] = pair
        for child in row["children"]:
            of_esp[int(child["spi_in"], 16)] = pair
    for row in (folder / "keys" / "esp_sa").read_text().splitlines():
        of_esp[int(row.partition('"0x')[2][:8], 16)].rows.append(row)
    for frame in frames(folder):
        if frame.spi:
            of_esp[int(frame.spi, 16)].esp.append(frame)
        elif frame.exchange and frame.exchange != IKE_SA_INIT:
            of_ike[frame.ike_spi].ike.append(frame)
    return found
