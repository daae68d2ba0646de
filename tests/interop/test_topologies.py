"""tshark, with the keys that a run writes, reads the capture of every shipped topology.

It decrypts everything, verifies every ICV and has nothing to object to; but of a message that a fault has
corrupted it must say so.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sim
from sim.ike.constants import PayloadType
from sim.tunnels.keylog import EARLIER
from sim.wire.pcapng import read_capture
from tests.peers import require

TOPOLOGIES = sorted(Path("topologies").glob("**/*.yaml"))
IKE_SA_INIT = "34"
IKE_SESSION_RESUME, IKE_INTERMEDIATE = "38", "43"
INFORMATIONAL, NOTIFY = "37", "41"
CHANGED_BY_NAT = "transport-nat"
"""The topology whose transport mode crosses a NAT (RFC 3948 3.1.2)."""
MISLED = "rfc3715-fixed-ports"
"""Its NAT leads messages of one client's IKE SA to the other one, who answers INVALID_IKE_SPI."""
WARNING = 0x00600000  # Wireshark's PI_WARN
# Several attachments record each packet, which confuses what tshark knows about DNS and HTTP transactions.
_NO_TRANSACTIONS = ("--disable-protocol", "dns", "--disable-protocol", "http")
_PREFERENCES = (
    "esp.enable_encryption_decode:TRUE",
    "esp.enable_authentication_check:TRUE",
    "esp.do_esp_sequence_analysis:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "ip.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
)
_FIELDS = (
    "frame.number",
    "esp.spi",
    "esp.icv_good",
    "esp.icv_bad",
    "esp.contained_data",
    "isakmp.ispi",
    "isakmp.exchangetype",
    "isakmp.enc.decrypted",
    "isakmp.ikev2.integrity_checksum",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
    "ip.src",
    "isakmp.notify.msgtype",
    "isakmp.flag_r",
    "udpencap.nat_keepalive",
    "isakmp.frag.number",
    "isakmp.fragment.count",
    "isakmp.typepayload",
    "isakmp.messageid",
    "frame.interface_name",
    "ah.spi",
    "ip.proto",
)

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_tshark_decrypts_and_authenticates_everything(path: Path, tmp_path: Path) -> None:
    require("tshark")
    result = sim.run(path, seed=7, out=tmp_path)
    seen: Counter[str] = Counter()
    broken = corrupted_frames(result, tmp_path / "capture.pcapng")
    stale = any(
        getattr(node, "udp_checksum", None) == "stale" for node in result.world.scenario.nodes.values()
    )
    assert bool(broken) == any(fault.do == "corrupt" for fault in result.world.scenario.faults)
    for frame in frames(tmp_path):
        where = f"frame {frame.number}"
        if int(frame.number) in broken:
            assert frame.bad_ike_icv or not frame.decrypted, f"{where}: it was corrupted"
            continue
        if frame.exchange == IKE_INTERMEDIATE:
            continue  # under keys of their own, see below
        assert not frame.malformed, where
        if frame.messages.startswith("Bad checksum") and path.stem == CHANGED_BY_NAT:
            seen[frame.interface] += 1
        elif frame.messages.startswith("Bad checksum") and stale:
            seen["stale"] += 1
        else:
            assert frame.worst < WARNING, f"{where}: {frame.messages}"
        if frame.spi and not frame.is_icmp:
            seen["esp"] += frame.spi.count(",") + 1
            assert frame.contained, f"{where}: ESP {frame.spi} was not decrypted"
            layers = frame.spi.count(",") + 1  # ESP in ESP
            verdicts = (",".join(["1"] * layers), ",".join(["0"] * layers))
            assert (frame.icv_good, frame.icv_bad) == verdicts, f"{where}: ICV"
        seen["ah"] += bool(frame.ah_spi)
        if frame.exchange == INFORMATIONAL and {*frame.payloads.split(",")} == {NOTIFY}:
            speaks = path.stem.startswith("crash") or path.stem == MISLED
            assert speaks, f"{where}: only who has lost an SA, or never had it, speaks in clear"
            continue
        if frame.exchange and frame.exchange not in (IKE_SA_INIT, IKE_SESSION_RESUME):
            seen["ike"] += 1
            assert frame.decrypted, f"{where}: IKE message was not decrypted"
            assert not frame.bad_ike_icv, where

    # Inside is the checksum of the addresses before the NAT: right there, and made anew by who opens it.
    assert (seen["moon:wan"] > 0) == (path.stem == CHANGED_BY_NAT)
    assert not seen["alice:eth"]
    assert result.ok, result.summary["checks"]
    assert (seen["stale"] > 0) == stale
    if any(row["established_s"] is not None for row in result.summary["connections"]):
        assert seen["ike"] >= 2
    children = [child for row in result.summary["connections"] for child in row["children"]]
    for protocol in ("ESP", "AH"):
        kind = [child for child in children if child["protocol"] == protocol]
        alone = [child for child in kind if child["mode"] != "iptfs"]  # others share ESP packets
        assert seen[protocol.lower()] >= sum(child["packets_in"] for child in alone)
        assert any(child["packets_out"] for child in kind) == bool(seen[protocol.lower()])


def test_c94_tshark_takes_from_esp_what_decodes_to_the_inner_packets(tmp_path: Path) -> None:
    """RFC 9347 6.1: behind each four octets of header the data blocks are one stream of whole IP packets.

    tshark 4.0 decrypts next header 144 and knows no more of it; the rest is counted here by hand.
    """
    require("tshark")
    result = sim.run("topologies/ip-tfs-aggregation.yaml", seed=7, out=tmp_path)
    payloads: dict[str, list[bytes]] = {}
    for frame in frames(tmp_path):
        if frame.spi and frame.interface == "moon:wan":
            payloads.setdefault(frame.source, []).append(bytes.fromhex(frame.contained))
    sent = {flow["name"]: flow["sent"] for flow in result.summary["flows"]}
    expected = {"192.0.2.1": (sent["readings"], 80), "192.0.2.2": (sent["pictures"], 1500)}
    for source, (count, size) in expected.items():
        stream, begun = b"", 0
        for payload in payloads[source]:
            assert payload[:2] == b"\0\0", "sub-type 0"
            assert int.from_bytes(payload[2:4], "big") == begun
            stream += payload[4:]
            begun = -len(stream) % size
        packets = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert len(packets) == count
        assert {(packet[0], int.from_bytes(packet[2:4], "big")) for packet in packets} == {(0x45, size)}


def corrupted_frames(result: sim.Result, capture: Path) -> set[int]:
    """The frames with a message that a fault has changed."""
    changed = [passage.changed for passage in result.world.trace.passages if passage.changed]
    packets = enumerate(read_capture(capture), 1)
    return {n for n, packet in packets if any(octets in packet.data for octets in changed)}


@pytest.mark.parametrize("number", [1, 2])
def test_c58_tshark_decrypts_each_intermediate_exchange_with_the_keys_before_it(
    number: int, tmp_path: Path
) -> None:
    """The n-th key exchange is protected by the keys that n - 1 of them have made (RFC 9370 2.2.2)."""
    require("tshark")
    sim.run("topologies/post-quantum.yaml", seed=7, out=tmp_path)
    table = tmp_path / "keys" / "ikev2_decryption_table"
    generations: dict[str, list[str]] = {}
    for line in table.read_text().splitlines():
        row = line.removeprefix(EARLIER)
        generations.setdefault(row[:33], []).append(row)
    table.write_text("".join(f"{rows[min(number, len(rows)) - 1]}\n" for rows in generations.values()))
    asked = [
        f for f in frames(tmp_path) if f.exchange == IKE_INTERMEDIATE and int(f.message_id, 16) == number
    ]

    assert len(asked) > 10
    for frame in asked:
        assert frame.decrypted, frame
        assert not frame.bad_ike_icv, frame
        assert frame.worst < WARNING, frame
    assert any(frame.fragment and frame.joined for frame in asked)
    assert any(str(int(PayloadType.KE)) in frame.payloads.split(",") for frame in asked)


def test_a_wrong_key_is_noticed(tmp_path: Path) -> None:
    """The judge itself is judged: with one bit of a key changed, tshark no longer verifies."""
    require("tshark")
    sim.run("topologies/site-to-site.yaml", seed=7, out=tmp_path)
    keys = tmp_path / "keys" / "esp_sa"
    first, _, rest = keys.read_text().partition("\n")
    changed = first[:-2] + ("0" if first[-2] != "0" else "1") + first[-1]
    keys.write_text(f"{changed}\n{rest}")

    assert any(frame.spi and frame.icv_bad == "1" for frame in frames(tmp_path))


@dataclass(frozen=True)
class Frame:
    number: str
    spi: str
    icv_good: str
    icv_bad: str
    contained: str
    ike_spi: str
    exchange: str
    decrypted: str
    bad_ike_icv: str
    malformed: str
    severities: str
    messages: str
    sources: str
    notifies: str
    response: str
    keepalive: str
    fragment: str
    joined: str
    payloads: str
    message_id: str
    interface: str
    ah_spi: str
    protocols: str

    @property
    def is_icmp(self) -> bool:
        """In clear: what it quotes of ESP is cut short."""
        return self.protocols.split(",")[0] == "1"

    @property
    def source(self) -> str:
        """The outer source address."""
        return self.sources.partition(",")[0]

    @property
    def worst(self) -> int:
        return max((int(severity) for severity in self.severities.split(",") if severity), default=0)


def frames(folder: Path, *preferences: str) -> Iterator[Frame]:
    """What tshark says of each frame of a run's capture; `preferences` overrule ours."""
    profile = folder / "wireshark"
    shutil.copytree(folder / "keys", profile)
    options = [part for preference in (*_PREFERENCES, *preferences) for part in ("-o", preference)]
    fields = [part for field in _FIELDS for part in ("-e", field)]
    command = [
        "tshark",
        *_NO_TRANSACTIONS,
        *options,
        "-r",
        str(folder / "capture.pcapng"),
        "-T",
        "fields",
        "-E",
        "separator=|",
        *fields,
    ]
    done = subprocess.run(
        command,
        env={"WIRESHARK_CONFIG_DIR": str(profile), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        yield Frame(*line.split("|", len(_FIELDS) - 1))
