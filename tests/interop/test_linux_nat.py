"""Our NAT of preset `linux` against Linux: the same probes, by the same real hosts, have the same answers.

client c1 --- lan1 \
                    NAT  wan 203.0.113.1 --- server 203.0.113.2 and .3
client c2 --- lan2 /

Once the NAT is a namespace with nftables' masquerade, once it is simulated and the hosts are attached by TUN.
The time-outs of conntrack are shortened to those of TIMES, in that namespace and in the topology.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sim.live.netns import inside, run_ip
from sim.wire import icmp
from sim.wire.address import pack_address
from tests.live.namespaces import namespace
from tests.peers import require

pytestmark = [pytest.mark.peers, pytest.mark.slow]  # time-outs of seconds must pass, twice

NAT, S1, S2 = "203.0.113.1", "203.0.113.2", "203.0.113.3"
CLIENTS = ("192.168.1.10", "192.168.2.10")
TIMES = {"udp_timeout": 2, "udp_timeout_stream": 5, "icmp_timeout": 2}
SOON = 0.5  # what has not come by then does not come

Verdicts = dict[str, object]

TOPOLOGY = f"""\
name: linux-nat
duration: 5 min
nodes:
  c1: {{kind: host, interfaces: {{eth: {CLIENTS[0]}/24}}}}
  c2: {{kind: host, interfaces: {{eth: {CLIENTS[1]}/24}}}}
  nat:
    kind: nat
    preset: linux
    udp_timeout: {TIMES["udp_timeout"]} s
    udp_stream_timeout: {TIMES["udp_timeout_stream"]} s
    icmp_timeout: {TIMES["icmp_timeout"]} s
    interfaces: {{lan1: 192.168.1.1/24, lan2: 192.168.2.1/24, wan: {NAT}/24}}
  s: {{kind: host, interfaces: {{eth: [{S1}/24, {S2}/24]}}}}
links:
  - {{ends: [c1:eth, nat:lan1]}}
  - {{ends: [c2:eth, nat:lan2]}}
  - {{ends: [nat:wan, s:eth]}}
"""


def test_our_linux_nat_is_like_linux(tmp_path: Path) -> None:
    with real_nat() as hosts:
        theirs = probe(hosts)
    with simulated_nat(tmp_path) as hosts:
        ours = probe(hosts)
    assert ours == theirs
    expected = {"port kept": True, "mapping is independent": True, "ports shared": True, "hairpin": "refused"}
    assert theirs | expected == theirs, "the probes themselves work"


class Hosts:
    """The namespaces of two clients and a server, and sockets in them."""

    def __init__(self, clients: tuple[str, str], server: str) -> None:
        self.clients = clients
        self.server = server
        self._sockets: list[socket.socket] = []

    def udp(self, host: int | str, port: int = 0, to: tuple[str, int] | None = None) -> socket.socket:
        """A socket of client 0 or 1, or at an address of the server."""
        netns, address = (self.clients[host], CLIENTS[host]) if isinstance(host, int) else (self.server, host)
        sock = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.settimeout(SOON)
        if to is not None:
            sock.connect(to)
        return sock

    def icmp(self, netns: str) -> socket.socket:
        sock = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        self._sockets.append(sock)
        sock.settimeout(SOON)
        return sock

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def probe(hosts: Hosts) -> Verdicts:
    """All probes; ports and identifiers of one are of no other."""
    found: Verdicts = {}
    for ask in (_mapping, _filtering, _collisions, _uninvited, _hairpin, _identifiers):
        found |= ask(hosts)
    with ThreadPoolExecutor(4) as together:
        for future in [together.submit(ask, hosts) for ask in (_short, _stream, _refreshed, _icmp_timeout)]:
            found |= future.result()
    return found


def _mapping(hosts: Hosts) -> Verdicts:
    client = hosts.udp(0, 5000)
    seen = [_seen(client, hosts.udp(*at)) for at in ((S1, 7000), (S1, 7001), (S2, 7000))]
    return {"port kept": seen[0] == 5000, "mapping is independent": len(set(seen)) == 1}


def _filtering(hosts: Hosts) -> Verdicts:
    client, server = hosts.udp(0, 5010), hosts.udp(S1, 7010)
    port = _seen(client, server)
    return {
        "answer": _arrives(server, (NAT, port), client),
        "from another port": _fate(hosts.udp(S1, 7011, (NAT, port)), client),
        "from another address": _fate(hosts.udp(S2, 7010, (NAT, port)), client),
    }


def _collisions(hosts: Hosts) -> Verdicts:
    server, other = hosts.udp(S1, 7020), hosts.udp(S2, 7020)
    first, second = hosts.udp(0, 5020), hosts.udp(1, 5020)
    kept, moved = _seen(first, server), _seen(second, server)
    found: Verdicts = {
        "first of two keeps its port": kept == 5020,
        "second gets a high port": moved != 5020 and moved >= 1024,
        "second keeps what it got": _seen(second, other) == moved,
        "each gets its own answers": [
            _arrives(server, (NAT, kept), first), _arrives(server, (NAT, moved), second),
        ],
    }  # fmt: skip
    found["ports shared"] = [
        _seen(hosts.udp(0, 5021), server), _seen(hosts.udp(1, 5021), other),
    ] == [5021, 5021]  # fmt: skip
    for port, low, high in ((400, 1, 511), (700, 600, 1023)):
        _seen(hosts.udp(0, port), server)
        found[f"a collision at {port} stays low"] = low <= _seen(hosts.udp(1, port), server) <= high
    many = [_seen(hosts.udp(which, 5030 + n), server) for n in range(50) for which in (0, 1)]
    found["100 flows have 100 ports"] = len(set(many)) == 100
    return found


def _uninvited(hosts: Hosts) -> Verdicts:
    """A packet that nobody asked for takes the place of the answer to one that is sent later."""
    server, client = hosts.udp(S1, 7040, (NAT, 5040)), hosts.udp(0, 5040)
    found: Verdicts = {"uninvited": _fate(server, client)}
    server.close()
    again = hosts.udp(S1, 7040)
    found["port after that"] = _seen(client, again) == 5040
    return found


def _hairpin(hosts: Hosts) -> Verdicts:
    target = hosts.udp(0, 5050)
    port = _seen(target, hosts.udp(S1, 7050))
    return {"hairpin": _fate(hosts.udp(1, 5051, (NAT, port)), target)}


def _identifiers(hosts: Hosts) -> Verdicts:
    server = hosts.icmp(hosts.server)
    one, other = (hosts.icmp(netns) for netns in hosts.clients)
    seen = [
        _id_seen(one, 77, S1, server), _id_seen(other, 77, S1, server), _id_seen(other, 77, S2, server),
        _id_seen(one, 78, S1, server), _id_seen(other, 78, S2, server),
    ]  # fmt: skip
    server.sendto(_echo(NAT, 79), (NAT, 0))
    return {
        "identifier kept": seen[0] == 77,
        "second gets another identifier": seen[1] != 77,
        "and keeps it": seen[1] == seen[2],
        "identifiers shared": seen[3:] == [78, 78],
        "answers come back": [_echo_answered(one, 77), _echo_answered(other, 77)],
        "the box answers a ping": _echo_answered(server, 79),
    }


def _short(hosts: Hosts) -> Verdicts:
    """Without an answer, and with one, but for less than two seconds."""
    silent, quick, server = hosts.udp(0, 5060), hosts.udp(0, 5061), hosts.udp(S1, 7060)
    early = hosts.udp(0, 5062)
    ports = [_seen(sock, server) for sock in (silent, quick, early)]
    answered = _arrives(server, (NAT, ports[1]), quick)
    time.sleep(TIMES["udp_timeout"] - 0.7)
    in_time = _arrives(server, (NAT, ports[2]), early)
    time.sleep(1.2)
    late = [_arrives(server, (NAT, port), sock) for port, sock in zip(ports, (silent, quick), strict=False)]
    return {"short": [answered, in_time, *late]}


def _stream(hosts: Hosts) -> Verdicts:
    client, server = hosts.udp(0, 5070), hosts.udp(S1, 7070)
    port = _seen(client, server)
    found = [_arrives(server, (NAT, port), client)]
    time.sleep(1.4)
    found.append(_seen(client, server) == port)
    time.sleep(1.2)
    found.append(_seen(client, server) == port)  # after 2.6 s, so this one makes it a stream
    time.sleep(TIMES["udp_timeout"] + 1.3)
    found.append(_arrives(server, (NAT, port), client))
    time.sleep(TIMES["udp_timeout_stream"] + 0.7)
    found.append(_arrives(server, (NAT, port), client))
    return {"stream": found}


def _refreshed(hosts: Hosts) -> Verdicts:
    """Packets from outside alone keep a mapping."""
    client, server = hosts.udp(0, 5080), hosts.udp(S1, 7080)
    port = _seen(client, server)
    found = []
    for _ in range(4):
        time.sleep(1.2)
        found.append(_arrives(server, (NAT, port), client))
    return {"refreshed from outside": found}


def _icmp_timeout(hosts: Hosts) -> Verdicts:
    """The server's own kernel must not answer, so it is done by hand, in time and too late."""
    ignore = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
    inside(hosts.server, lambda: ignore.write_text("1"))
    client, server = hosts.icmp(hosts.clients[0]), hosts.icmp(hosts.server)
    found = []
    for identifier, wait in ((90, TIMES["icmp_timeout"] - 0.8), (91, TIMES["icmp_timeout"] + 0.8)):
        seen = _id_seen(client, identifier, S1, server)
        time.sleep(wait)
        answer = bytearray(_echo(NAT, seen))
        answer[0] = 0  # an echo reply
        answer[2:4] = b"\0\0"
        answer[2:4] = _checksum(answer)
        server.sendto(answer, (NAT, 0))
        found.append(_echo_answered(client, identifier))
    inside(hosts.server, lambda: ignore.write_text("0"))
    return {"icmp": found}


def _seen(client: socket.socket, server: socket.socket) -> int:
    """The port that the server sees when the client sends to it."""
    mark = os.urandom(8)
    client.sendto(mark, server.getsockname())
    while True:
        data, (_, port) = server.recvfrom(100)
        if data == mark:
            return int(port)


def _arrives(sender: socket.socket, to: tuple[str, int], receiver: socket.socket) -> bool:
    mark = os.urandom(8)
    sender.sendto(mark, to)
    return _hears(receiver, mark)


def _fate(sender: socket.socket, receiver: socket.socket) -> str:
    """Of a datagram that a connected socket sends: arrived, refused (by ICMP) or lost."""
    mark = os.urandom(8)
    sender.send(mark)
    if _hears(receiver, mark):
        return "arrived"
    try:
        sender.recv(100)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "lost"
    return "answered"


def _hears(receiver: socket.socket, mark: bytes) -> bool:
    try:
        while receiver.recv(100) != mark:
            pass
    except TimeoutError:
        return False
    return True


def _id_seen(client: socket.socket, identifier: int, to: str, server: socket.socket) -> int:
    """The identifier of a client's echo request where it arrives."""
    mark = os.urandom(8)
    client.sendto(_echo(to, identifier, mark), (to, 0))
    while True:
        packet = server.recv(200)
        if packet[20] == 8 and packet[28:] == mark:
            return int(struct.unpack_from(">H", packet, 24)[0])


def _echo_answered(sock: socket.socket, identifier: int) -> bool:
    try:
        while True:
            packet = sock.recv(200)
            if packet[20] == 0 and struct.unpack_from(">H", packet, 24)[0] == identifier:
                return True
    except TimeoutError:
        return False


def _echo(to: str, identifier: int, payload: bytes = b"probe") -> bytes:
    return bytes(icmp.echo_request(pack_address(S1), pack_address(to), identifier, 1, payload)[20:])


def _checksum(data: bytearray) -> bytes:
    padded = bytes(data) + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    return (0xFFFF - total % 0xFFFF).to_bytes(2, "big")


@contextmanager
def real_nat() -> Iterator[Hosts]:
    """Linux itself between the hosts."""
    nft = require("nft")
    before = _conntrack_times()
    with ExitStack() as stack:
        c1, c2, nat, s = (stack.enter_context(namespace(name)) for name in ("c1", "c2", "nat", "s"))
        for name, value in TIMES.items():
            inside(nat, _writer(f"/proc/sys/net/netfilter/nf_conntrack_{name}", str(value)))
        inside(nat, _writer("/proc/sys/net/ipv4/ip_forward", "1"))
        _veth(nat, "lan1", ["192.168.1.1/24"], c1, [f"{CLIENTS[0]}/24"])
        _veth(nat, "lan2", ["192.168.2.1/24"], c2, [f"{CLIENTS[1]}/24"])
        _veth(nat, "wan", [f"{NAT}/24"], s, [f"{S1}/24", f"{S2}/24"])
        run_ip("route", "add", "default", "via", "192.168.1.1", netns=c1)
        run_ip("route", "add", "default", "via", "192.168.2.1", netns=c2)
        chain = 'type nat hook postrouting priority srcnat; oifname "wan" masquerade;'
        rules = f"table ip home {{ chain out {{ {chain} }}; }}"
        subprocess.run(["ip", "netns", "exec", nat, nft, "-f", "-"], input=rules, text=True, check=True)
        assert _conntrack_times() == before, "the times of a namespace are its own"
        yield _closing(stack, Hosts((c1, c2), s))


@contextmanager
def simulated_nat(folder: Path) -> Iterator[Hosts]:
    """Our NAT box between the hosts, which are attached by TUN."""
    topology = folder / "linux-nat.yaml"
    topology.write_text(TOPOLOGY)
    with ExitStack() as stack:
        c1, c2, s = (stack.enter_context(namespace(name)) for name in ("c1", "c2", "s"))
        words = [f"--attach={node}=eth@{netns}" for node, netns in (("c1", c1), ("c2", c2), ("s", s))]
        command = [sys.executable, "-m", "sim.cli", "emulate", str(topology), *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        stack.callback(_end, process)
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(4)]
        assert said[-1].startswith("running"), "".join(said)
        yield _closing(stack, Hosts((c1, c2), s))


def _closing(stack: ExitStack, hosts: Hosts) -> Hosts:
    stack.callback(hosts.close)
    return hosts


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def _veth(one: str, name: str, own: list[str], other: str, its: list[str]) -> None:
    peer = ("peer", "name", "eth", "netns", other)
    run_ip("link", "add", "name", name, "netns", one, "type", "veth", *peer)
    for netns, device, addresses in ((one, name, own), (other, "eth", its)):
        for address in addresses:
            run_ip("address", "add", address, "dev", device, netns=netns)
        run_ip("link", "set", "dev", device, "up", netns=netns)


def _writer(file: str, text: str) -> Callable[[], int]:
    return lambda: Path(file).write_text(text)


def _conntrack_times() -> list[str]:
    files = (Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}") for name in TIMES)
    return [file.read_text() for file in files if file.exists()]
