"""TUN devices: the kernel's packets come out, ours go in; every failure is one sentence."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.live import tun as module
from sim.live.errors import DeviceGoneError, LiveError
from sim.live.netns import inside, run_ip
from sim.live.tun import Tun
from sim.wire import icmp, ip, udp
from sim.wire.address import pack_address
from tests.live import namespaces

OWN, PEER = pack_address("10.9.0.1"), pack_address("10.9.0.2")


@pytest.fixture
def netns() -> Iterator[str]:
    with namespaces.namespace("tun") as name:
        yield name


@pytest.mark.peers
def test_the_kernels_packets_come_out_and_ours_go_in(netns: str) -> None:
    tun = Tun("t0", netns)
    tun.configure(["10.9.0.1/24"], mtu=1400)
    sock = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("10.9.0.1", 7))
    sock.sendto(b"out", ("10.9.0.2", 9))

    sent = next_packet(tun, ip.Protocol.UDP)
    assert ip.addresses(sent) == (OWN, PEER)
    assert sent[28:] == b"out"

    assert tun.write(udp.build((PEER, 9), (OWN, 7), b"in"))
    sock.settimeout(5)
    assert sock.recv(100) == b"in"
    assert "mtu 1400" in run_ip("link", "show", "t0", netns=netns)
    sock.close()
    tun.close()


@pytest.mark.peers
def test_the_kernel_answers_pings_through_the_device(netns: str) -> None:
    tun = Tun("t0", netns)
    tun.configure(["10.9.0.1/24", "fd09::1/64"])
    tun.write(icmp.echo_request(PEER, OWN, 1, 2, b"hello"))
    answer = next_packet(tun, ip.Protocol.ICMP)
    message = icmp.parse(answer, 20)
    assert (message.is_echo_reply, message.body) == (True, b"hello")
    tun.close()


@pytest.mark.peers
def test_routes_lead_into_the_device(netns: str) -> None:
    tun = Tun("t0", netns)
    tun.configure(["10.9.0.1/32", "fd09::1/128"])
    tun.add_route("10.1.0.0/16", "10.9.0.1")
    tun.add_route("fd01::/16", "fd09::1")
    assert "10.1.2.3 dev t0 src 10.9.0.1" in run_ip("route", "get", "10.1.2.3", netns=netns)
    assert "dev t0" in run_ip("-6", "route", "get", "fd01::1", netns=netns)
    tun.remove_route("10.1.0.0/16")
    tun.remove_address("10.9.0.1/32")
    assert "10.1.0.0" not in run_ip("route", "show", netns=netns)
    tun.close()


@pytest.mark.peers
def test_closing_removes_the_device(netns: str) -> None:
    tun = Tun("t0", netns)
    tun.close()
    tun.close()
    assert "t0" not in run_ip("link", "show", netns=netns)


@pytest.mark.peers
def test_a_device_that_somebody_removed_is_named(netns: str) -> None:
    tun = Tun("t0", netns)
    run_ip("link", "del", "t0", netns=netns)
    sentence = f"the TUN device t0 in namespace {netns} was removed while it was in use"
    with pytest.raises(DeviceGoneError, match=sentence):
        tun.read()
    with pytest.raises(DeviceGoneError, match=sentence):
        tun.write(udp.build((PEER, 9), (OWN, 7), b"in"))
    tun.close()


@pytest.mark.peers
def test_what_is_no_ip_packet_is_counted_not_raised(netns: str) -> None:
    tun = Tun("t0", netns)
    tun.configure(["10.9.0.1/24"])
    assert not tun.write(b"\x00" * 40)
    assert tun.dropped == 1
    tun.close()


@pytest.mark.peers
def test_the_kernel_chooses_a_name_when_none_is_given(netns: str) -> None:
    first, second = Tun(netns=netns), Tun(netns=netns)
    assert first.name != second.name
    assert first.name in run_ip("link", "show", netns=netns)
    first.close()
    second.close()


@pytest.mark.peers
def test_a_name_in_use_is_one_sentence(netns: str) -> None:
    tun = Tun("t0", netns)
    with pytest.raises(LiveError, match="t0 is in use by another program"):
        Tun("t0", netns)
    with pytest.raises(LiveError, match="interface lo already, and it is no TUN device"):
        Tun("lo", netns)
    tun.close()


@pytest.mark.parametrize("name", ["sixteen-letters-", "a/b", "a b", "tun%d"])
def test_a_name_that_linux_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(LiveError, match="is no name for a TUN device"):
        Tun(name)


def test_a_missing_device_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DEVICE", str(tmp_path / "tun"))
    with pytest.raises(LiveError, match=r"there is no .*tun: load the kernel module"):
        Tun()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may make devices")
def test_without_privileges_it_says_that_it_needs_root() -> None:
    with pytest.raises(LiveError, match="needs root"):
        Tun()


@pytest.mark.peers
def test_an_unknown_namespace_is_one_sentence() -> None:
    namespaces.require()
    with pytest.raises(LiveError, match="there is no network namespace nowhere: `ip netns add nowhere`"):
        Tun("t0", "nowhere")


@pytest.mark.peers
def test_what_ip_complains_about_is_passed_on(netns: str) -> None:
    tun = Tun("t0", netns)
    with pytest.raises(LiveError, match=r"`ip -n \S+ address replace 10\.9\.0\.1/33 dev t0` failed: "):
        tun.add_address("10.9.0.1/33")
    tun.close()


def next_packet(tun: Tun, protocol: int) -> bytearray:
    """The next packet of a protocol; the kernel's own multicast is passed over."""
    while select.select([tun], [], [], 5)[0]:
        packet = tun.read()
        assert packet is not None
        if ip.parse(packet).protocol == protocol:
            return packet
    raise AssertionError(f"the kernel sent no packet of protocol {protocol}")
