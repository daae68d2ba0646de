"""Two `ipsec-sim peer` processes on loopback: an SA comes up, carries pings, and ends politely."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.live.peer import GOODBYE_S
from sim.scenario.errors import ScenarioError
from sim.scenario.peer_file import read_peer
from tests.live.process import SECRET, Site, free_ports, site


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


def test_a_status_asked_for_too_early_does_not_end_the_peer(lab: Site) -> None:
    """SIGUSR1 comes again and again from the time that Python runs our command until the peer listens."""
    b = lab.start_only(str(lab.file_b), *lab.words)
    while not handles(b.process.pid, signal.SIGUSR1):
        time.sleep(0.001)
    early = 0
    while not b.listens():
        b.process.send_signal(signal.SIGUSR1)
        early += 1
        time.sleep(0.005)
    assert early
    (row,) = b.status()["connections"]
    assert row["state"] == "idle"


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process ignores or catches that signal, which would end it otherwise."""
    text = Path(f"/proc/{pid}/status").read_text()
    masks = [int(found, 16) for found in re.findall(r"Sig(?:Ign|Cgt):\s*(\w+)", text)]
    return any(mask >> number - 1 & 1 for mask in masks)


def test_pings_pass_through_a_tunnel_between_two_processes(lab: Site) -> None:
    b = lab.start(lab.file_b)
    a = lab.start(lab.file_a, "--ping", "10.2.0.9", "--count", "2")
    assert a.end() == 0
    assert [event["sequence"] for event in a.events if event["event"] == "pong"] == [1, 2]
    up = b.wait_for("ike up")
    assert (up["initiator"], up["local_id"], up["remote_id"]) == (False, "b", "a")
    b.wait_for("ike down", reason="DELETED_BY_PEER")
    (row,) = b.status()["connections"]
    (child,) = row["children"]
    assert (child["packets_in"], child["packets_out"], row["retransmits"]) == (2, 2, 0)


@pytest.mark.parametrize("settings", ["    encap: true\n", "    mobike: false\n"])
def test_esp_travels_as_the_connection_says(tmp_path: Path, settings: str) -> None:
    """Without root it is UDP in any case, and the peer says so."""
    with site(tmp_path, settings=settings) as lab:
        b = lab.start(lab.file_b)
        a = lab.start(lab.file_a, "--ping", "10.2.0.9", "--count", "1")
        assert a.end() == 0
        encap = "encap" in settings or os.geteuid() != 0
        assert b.wait_for("child up")["encap"] is encap


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
def test_ah_travels_between_two_processes(tmp_path: Path) -> None:
    with site(tmp_path, settings="    mobike: false\n") as lab:
        for file in (lab.file_a, lab.file_b):
            file.write_text(file.read_text().replace("{local_ts", "{ah_proposals: [sha256-esn], local_ts"))
        b = lab.start(lab.file_b)
        a = lab.start(lab.file_a, "--ping", "10.2.0.9", "--count", "3")
        assert a.end() == 0
        assert b.wait_for("child up")["encap"] is False
        b.wait_for("ike down", reason="DELETED_BY_PEER")
        (child,) = b.status()["connections"][0]["children"]
        assert (child["protocol"], child["packets_in"], child["packets_out"]) == ("AH", 3, 3)


@pytest.mark.parametrize(
    "iptfs",
    [
        "{init_delay: 1 ms}",
        "{packet_size: 600 B, l3_fixed_rate: 500 kbit/s}",
        "{packet_size: 600 B, l3_fixed_rate: 500 kbit/s, congestion_control: true}",
    ],
)
def test_aggregates_travel_between_two_processes(tmp_path: Path, iptfs: str) -> None:
    """RFC 9347, by the clock of the machine."""
    with site(tmp_path) as lab:
        for file in (lab.file_a, lab.file_b):
            text = f"{{mode: iptfs, iptfs: {iptfs}, local_ts"
            file.write_text(file.read_text().replace("{local_ts", text))
        b = lab.start(lab.file_b)
        a = lab.start(lab.file_a, "--ping", "10.2.0.9", "--count", "3")
        assert a.end() == 0
        b.wait_for("ike down", reason="DELETED_BY_PEER")
        (child,) = b.status()["connections"][0]["children"]
        assert (child["mode"], child["packets_in"], child["packets_out"]) == ("iptfs", 3, 3)


def test_a_wrong_secret_has_a_clear_reason_and_is_never_shown(tmp_path: Path) -> None:
    with site(tmp_path, secret_of_a="the wrong secret") as lab:
        b = lab.start(lab.file_b, "-v")
        a = lab.start(lab.file_a, "-v", "--ping", "10.2.0.9", "--count", "1")
        assert a.end() == 1
        (down,) = [event for event in a.events if event["event"] == "ike down"]
        assert down["reason"] == "AUTHENTICATION_FAILED"
        b.interrupt()
        assert b.end() == 0
        for peer in (a, b):
            said = json.dumps(peer.events) + peer.errors
            assert SECRET not in said
            assert "the wrong secret" not in said


def test_an_interrupt_deletes_the_sas_and_the_peer_hears_of_it(lab: Site) -> None:
    b = lab.start(lab.file_b)
    a = lab.start(lab.file_a, "--initiate", "ab/net")
    a.wait_for("child up")
    b.interrupt()
    assert b.end() == 0
    a.wait_for("ike down", reason="DELETED_BY_PEER")
    assert a.status()["connections"][0]["state"] == "closed"
    assert b.events[-1]["event"] == "stopped"


def test_a_peer_that_is_gone_holds_the_end_up_for_a_bounded_time_and_a_second_interrupt_not_at_all(
    lab: Site,
) -> None:
    b = lab.start(lab.file_b)
    a = lab.start(lab.file_a, "--initiate", "ab")
    a.wait_for("child up")
    b.kill()
    a.interrupt()
    a.wait_for("ike down")
    asked_at = time.monotonic()
    a.interrupt()
    assert a.end() == 0
    assert time.monotonic() - asked_at < GOODBYE_S


def test_a_termination_is_as_polite_as_an_interrupt(lab: Site) -> None:
    b = lab.start(lab.file_b)
    a = lab.start(lab.file_a, "--initiate", "ab")
    a.wait_for("child up")
    a.process.send_signal(signal.SIGTERM)
    assert a.end() == 0
    b.wait_for("ike down", reason="DELETED_BY_PEER")


def test_keys_are_written_only_on_request_for_the_owner_alone_and_with_a_warning(
    lab: Site, tmp_path: Path
) -> None:
    lab.start(lab.file_b)
    folder = tmp_path / "keys"
    a = lab.start(lab.file_a, "--keys", str(folder), "--ping", "10.2.0.9", "--count", "1")
    assert a.end() == 0
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["esp_sa", "ikev2_decryption_table"]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    rows = files[0].read_text().splitlines()
    assert len(rows) == 2, "one for each direction"
    assert "warning: keys are written" in a.errors
    said = json.dumps(a.events)
    assert all(row.split(",")[5].strip('"').removeprefix("0x") not in said for row in rows)


def test_people_read_lines_on_the_standard_error(lab: Site) -> None:
    b = lab.start(lab.file_b)
    command = [sys.executable, "-m", "sim.cli", "peer", str(lab.file_a), *lab.words]
    done = subprocess.run(
        [*command, "--ping", "10.2.0.9", "--count", "1"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "ab/net: Child SA up, tunnel mode" in done.stderr
    assert "10.2.0.9 answered ping 1" in done.stderr
    b.wait_for("ike up")


def test_one_node_of_a_topology_can_be_a_peer(tmp_path: Path) -> None:
    topology = str(Path(__file__).parents[2] / "topologies" / "road-warrior-mobike.yaml")
    assert "choose one of alice, moon" in refusal(topology)
    assert "bob has no connections" in refusal(topology, "--node", "bob")
    assert "names no remote address" in refusal(topology, "--node", "moon", "--initiate", "rw")


def test_a_swanctl_conf_is_read_as_it_is(lab: Site, tmp_path: Path) -> None:
    file = tmp_path / "swanctl.conf"
    file.write_text(
        f"""connections {{
            ab {{
                local_addrs = {lab.a}
                remote_addrs = {lab.b}
                local {{ auth = psk
                    id = a }}
                remote {{ auth = psk
                    id = b }}
                proposals = aes128gcm16-prfsha256-x25519
                children {{ net {{
                    local_ts = 10.1.0.0/16
                    remote_ts = 10.2.0.0/16
                    esp_proposals = aes128gcm16
                    start_action = start }} }}
            }}
        }}
        secrets {{ ike-b {{ secret = "{SECRET}" }} }}
        """
    )
    b = lab.start(lab.file_b)
    a = lab.start(file, "--ping", "10.2.0.9", "--count", "1")
    assert a.end() == 0, a.errors
    assert SECRET not in a.errors
    b.wait_for("child up")


def test_pings_that_nobody_answered_are_counted(lab: Site) -> None:
    a = lab.start(lab.file_a, "--ping", "10.2.0.9", "--count", "2")
    assert a.end() == 1
    (lost,) = [event for event in a.events if event["event"] == "pings lost"]
    assert (lost["detail"], lost["address"], lost["count"]) == (
        "2 of 2 pings to 10.2.0.9 lost",
        "10.2.0.9",
        2,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--initiate", "nobody"], "there is no connection nobody; there is ab"),
        (["--initiate", "ab/lan"], "ab has no child lan; it has net"),
        (["--node", "moon"], "it has no `nodes:`"),
        (["--ping", "example"], "--ping example: that is no IP address"),
        (["--ping", "10.2.0.1", "--tun"], "with --tun use the system's own ping"),
        (["--count", "3"], "--count counts pings"),
        (["--port", "4500"], "are both 4500"),
        (["--keys", "README.md"], "README.md: File exists"),
        (["--tun-name", "much too long a name"], "is no name for a TUN device"),
    ],
)
def test_bad_options_are_one_sentence(lab: Site, words: list[str], sentence: str) -> None:
    assert sentence in refusal(str(lab.file_a), *words)


def test_mistakes_in_the_file_come_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("connections:\n  ab:\n    psk: x\n    childen: {}\n")
    assert f"{file}:4: connections.ab.childen: unknown key; did you mean `children`?" in refusal(
        str(file), sentences=2
    )


def test_a_file_without_connections_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.conf"
    path.write_text("# nothing\n")
    with pytest.raises(ScenarioError, match=r"empty\.conf:1: connections: has none"):
        read_peer(path)


def test_a_live_peer_has_cpus_and_sas_for_them(tmp_path: Path) -> None:
    """Both of a ping's directions are a flow, each of one CPU; two pings bring up the SA for it."""
    with site(tmp_path) as lab:
        for file in (lab.file_a, lab.file_b):
            text = file.read_text()
            assert text.count("start_action") == text.count("local_ts:") == 1
            shared = text.replace("local_ts:", "per_cpu_sas: 'yes', ipcomp: true, local_ts:")
            file.write_text(f"cpus: 2\n{shared}")
        b = lab.start(lab.file_b)
        a = lab.start(lab.file_a, "--ping", "10.2.0.9", "--count", "3")
        assert a.end() == 0
        b.wait_for("ike down")
        ups = [event for event in b.events if event["event"] == "child up"]
        assert len(ups) >= 2
        assert all(up["cpi_in"] and up["cpi_out"] for up in ups)


def test_source_ports_of_their_own_are_only_simulated(tmp_path: Path) -> None:
    with site(tmp_path) as lab:
        text = lab.file_a.read_text()
        lab.file_a.write_text(text.replace("local_ts:", "per_cpu_sas: encap, local_ts:"))
        sentence = "connections.ab.children.net.per_cpu_sas: encap is simulated only"
        assert sentence in refusal(str(lab.file_a), *lab.words)


def test_a_busy_port_is_one_sentence(lab: Site) -> None:
    lab.start(lab.file_b)
    assert "is in use by another program" in refusal(str(lab.file_b), *lab.words)


def test_two_peers_with_ports_of_their_own_find_each_other(lab: Site) -> None:
    """`remote_port` is where the other one does NAT traversal; nobody needs the ports of the other."""
    others = free_ports(lab.a, lab.b)
    assert not set(others) & set(lab.ports)
    b = lab.start(lab.file_b)
    text = lab.file_a.read_text()
    lab.file_a.write_text(text.replace("    local_id", f"    remote_port: {lab.ports[1]}\n    local_id"))
    lab.words = ("--port", str(others[0]), "--natt-port", str(others[1]))
    a = lab.start(lab.file_a, "--ping", "10.2.0.9", "--count", "2")
    assert a.end() == 0, a.errors
    up = b.wait_for("ike up")
    assert (up["local"], up["remote"]) == (f"{lab.b}[{lab.ports[1]}]", f"{lab.a}[{others[1]}]")
    b.wait_for("ike down", reason="DELETED_BY_PEER")


@pytest.mark.parametrize("stream", ["--json", "2>&1"])
def test_a_reader_that_goes_away_ends_the_peer_quietly_and_its_sas_politely(lab: Site, stream: str) -> None:
    b = lab.start(lab.file_b)
    words = " ".join([sys.executable, "-m", "sim.cli", "peer", str(lab.file_a), *lab.words])
    script = f"{words} --initiate ab {stream} | head -n 2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout.splitlines()[2:], done.stderr) == (["0"], "")
    b.wait_for("ike down", reason="DELETED_BY_PEER")


def test_a_peer_waits_for_an_address_that_it_does_not_have(lab: Site, tmp_path: Path) -> None:
    file = tmp_path / "later.yaml"
    file.write_text(lab.file_a.read_text().replace(lab.a, "192.0.2.77"))
    a = lab.start_only(str(file), *lab.words, "--initiate", "ab")
    assert a.wait_for("listening")["sockets"] == []
    assert a.status()["listening"] == []


def refusal(*words: str, sentences: int = 1) -> str:
    """What the peer says when it refuses to start."""
    command = [sys.executable, "-m", "sim.cli", "peer", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == sentences, done.stderr
    return done.stderr
