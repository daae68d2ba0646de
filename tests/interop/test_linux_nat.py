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
from tests.net.segments import tcp_segment
from tests.peers import require

pytestmark = [pytest.mark.peers, pytest.mark.slow]  # time-outs of seconds must pass, twice

NAT, S1, S2, OWN = "203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"
CLIENTS = ("192.168.1.10", "192.168.2.10")
TIMES = {"udp_timeout": 2, "udp_timeout_stream": 5, "icmp_timeout": 2}
TCP_TIMES = {
    "syn_sent": 2, "syn_recv": 3, "fin_wait": 3, "close_wait": 2, "last_ack": 2, "time_wait": 3, "close": 2,
    "established": 5,
}  # fmt: skip
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
    tcp_timeout: {TCP_TIMES["established"]} s
    tcp_state_timeouts: {{{", ".join(f"{k}: {v} s" for k, v in TCP_TIMES.items() if k != "established")}}}
    interfaces: {{lan1: 192.168.1.1/24, lan2: 192.168.2.1/24, wan: [{NAT}/24, {OWN}/24]}}
    EXTRA
  s: {{kind: host, interfaces: {{eth: [{S1}/24, {S2}/24]}}}}
links:
  - {{ends: [c1:eth, nat:lan1]}}
  - {{ends: [c2:eth, nat:lan2]}}
  - {{ends: [nat:wan, s:eth]}}
"""


FORWARD = "iifname wan udp dport 5500 dnat to 192.168.1.10:5501"
"""Of the chain prerouting."""


def test_our_linux_nat_is_like_linux(tmp_path: Path) -> None:
    with real_nat(FORWARD) as hosts:
        theirs = probe(hosts)
    with simulated_nat(
        tmp_path, f"forward: [{{protocol: udp, port: 5500, to: {CLIENTS[0]}, to_port: 5501}}]"
    ) as hosts:
        ours = probe(hosts)
    assert ours == theirs
    expected = {"port kept": True, "mapping is independent": True, "ports shared": True, "hairpin": "refused"}
    assert theirs | expected == theirs, "the probes themselves work"
    assert theirs["in time"] == dict.fromkeys(STATES, True)
    assert theirs["too late"] == dict.fromkeys(STATES, False)


@pytest.mark.parametrize("how", ["random", "fully-random"])
def test_random_ports_are_like_those_of_linux(tmp_path: Path, how: str) -> None:
    """Every remote sees another port, and a port is free for another remote all the same."""
    with real_nat(postrouting=f"oifname wan masquerade {how}") as hosts:
        theirs = _random(hosts)
    with simulated_nat(tmp_path, "port_assignment: random") as hosts:
        ours = _random(hosts)
    assert ours == theirs
    assert theirs["port kept"] is False


def test_one_to_one_is_like_that_of_linux(tmp_path: Path) -> None:
    """snat and dnat of an address, whatever the port and protocol."""
    to, at = (
        f"ip saddr {CLIENTS[1]} oifname wan snat to {OWN}",
        f"iifname wan ip daddr {OWN} dnat to {CLIENTS[1]}",
    )
    with real_nat(at, postrouting=f"{to}; oifname wan masquerade", own=OWN) as hosts:
        theirs = _one_to_one(hosts)
    with simulated_nat(tmp_path, f"one_to_one: {{{CLIENTS[1]}: {OWN}}}") as hosts:
        ours = _one_to_one(hosts)
    assert ours == theirs
    assert theirs == dict.fromkeys(theirs, True)


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

    def keep(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock)
        return sock

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def probe(hosts: Hosts) -> Verdicts:
    """All probes; ports and identifiers of one are of no other."""
    found: Verdicts = {}
    for ask in (_mapping, _filtering, _collisions, _uninvited, _hairpin, _identifiers, _forwarded):
        found |= ask(hosts)
    asks = (_short, _stream, _refreshed, _icmp_timeout, _begun, _states)
    with ThreadPoolExecutor(len(asks)) as together:
        for future in [together.submit(ask, hosts) for ask in asks]:
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


def _forwarded(hosts: Hosts) -> Verdicts:
    """What a rule lets in, its answer, and what the same socket sends by itself."""
    inside_, server, other = hosts.udp(0, 5501), hosts.udp(S1, 7090), hosts.udp(S2, 7090)
    return {
        "let in": _arrives(server, (NAT, 5500), inside_),
        "answer to what was let in": _seen(inside_, server),
        "let in from another": _arrives(other, (NAT, 5500), inside_),
        "of the same socket": _seen(inside_, hosts.udp(S2, 7091)),
    }


def _random(hosts: Hosts) -> Verdicts:
    client, servers = hosts.udp(0, 5000), [hosts.udp(*at) for at in ((S1, 7000), (S1, 7001), (S2, 7000))]
    seen = [_seen(client, server) for server in servers]
    return {
        "port kept": 5000 in seen,
        "different": len(set(seen)) == 3,
        "high": min(seen) >= 1024,
        "stays": [_seen(client, server) for server in servers] == seen,
        "answers": [
            _arrives(server, (NAT, port), client) for server, port in zip(servers, seen, strict=True)
        ],
        "low stays low": _seen(hosts.udp(0, 400), servers[0]) < 512,
    }


def _one_to_one(hosts: Hosts) -> Verdicts:
    client, server, other = hosts.udp(1, 5100), hosts.udp(S1, 7100), hosts.udp(S2, 7101)
    echo, far = hosts.icmp(hosts.clients[1]), hosts.icmp(hosts.server)
    unasked = _arrives(other, (OWN, 5100), client)
    kept = _seen(client, server) == 5100
    answered = _arrives(server, (OWN, 5100), client)
    masqueraded = _seen(hosts.udp(0, 5100), server) == 5100
    found: Verdicts = {"unasked": unasked, "kept": kept, "answered": answered, "beside": masqueraded}
    echo.sendto(_echo(S1, 81), (S1, 0))
    far.sendto(_echo(OWN, 82), (OWN, 0))
    return found | {"ping out": _echo_answered(echo, 81), "ping in": _echo_answered(far, 82)}


SYN, FIN, RST, ACK = 2, 1, 4, 16
OPEN = (("c", SYN), ("s", SYN | ACK), ("c", ACK))
STATES: dict[str, tuple[tuple[tuple[str, int], ...], int]] = {
    "syn_sent": ((("c", SYN),), SYN | ACK),
    "syn_recv": ((("c", SYN), ("s", SYN | ACK)), SYN | ACK),
    "established": (OPEN, ACK),
    "fin_wait": ((*OPEN, ("c", FIN | ACK)), FIN | ACK),
    "close_wait": ((*OPEN, ("c", FIN | ACK), ("s", ACK)), ACK),
    "last_ack": ((*OPEN, ("c", FIN | ACK), ("s", FIN | ACK)), FIN | ACK),
    "time_wait": ((*OPEN, ("c", FIN | ACK), ("s", FIN | ACK), ("c", ACK)), ACK),
    "close": ((*OPEN, ("c", RST | ACK)), ACK),
}
"""The segments that lead to a state of TCP, and one of the server that tells whether it lives."""


class Segments:
    """TCP without TCP: single segments of client 0 and of the server, who make none of their own."""

    def __init__(self, hosts: Hosts) -> None:
        self.ends = {"c": hosts.clients[0], "s": hosts.server}
        self.out = {end: self._raw(hosts, netns, socket.IPPROTO_RAW) for end, netns in self.ends.items()}
        for netns in self.ends.values():
            _nft(netns, "filter hook output priority 0; tcp flags rst meta mark != 7 drop")

    def _raw(self, hosts: Hosts, netns: str, protocol: int) -> socket.socket:
        sock = inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
        return hosts.keep(sock)

    def passes(self, hosts: Hosts, end: str, port: int, flags: int) -> bool:
        """Whether a segment of an end arrives at the other; the client's port is kept by the NAT."""
        client, server = (pack_address(CLIENTS[0]), port), (pack_address(S1), 80)
        ends = (client, server) if end == "c" else (server, (pack_address(NAT), port))
        ear = self._raw(hosts, self.ends["s" if end == "c" else "c"], socket.IPPROTO_TCP)
        ear.settimeout(SOON)
        self.out[end].sendto(tcp_segment(*ends, flags), (S1 if end == "c" else NAT, 0))
        return _hears_segment(ear, (ends[0][1], ends[1][1], flags))


def _begun(hosts: Hosts) -> Verdicts:
    """What begins a connection, and what belongs to none."""
    segments = Segments(hosts)

    def run(port: int, *steps: tuple[str, int]) -> list[bool]:
        return [segments.passes(hosts, end, port, flags) for end, flags in steps]

    return {
        "in the middle": run(9000, ("c", ACK), ("s", ACK)),
        "from outside": run(9001, ("s", SYN), ("s", ACK)),
        "refused": run(9002, ("c", SYN), ("s", RST | ACK), ("s", SYN | ACK)),
        "reset by the server": run(9003, *OPEN, ("s", RST | ACK), ("s", ACK), ("c", ACK)),
        "SYN of the server": run(9004, *OPEN, ("s", SYN), ("s", ACK)),
        "both open": run(9005, ("c", SYN), ("s", SYN), ("c", SYN | ACK), ("s", ACK)),
        "again": run(9006, *OPEN, ("c", RST | ACK), ("c", SYN), ("s", SYN | ACK), ("c", ACK)),
    }


def _states(hosts: Hosts) -> Verdicts:
    """Each state shortly before it ends, and shortly after."""
    segments = Segments(hosts)

    def lives(name: str, port: int, wait: float) -> bool:
        steps, last = STATES[name]
        for end, flags in steps:
            segments.passes(hosts, end, port, flags)
        time.sleep(TCP_TIMES[name] + wait)
        return segments.passes(hosts, "s", port, last)

    with ThreadPoolExecutor(16) as together:
        early = {n: together.submit(lives, n, 9100 + at, -0.9) for at, n in enumerate(STATES)}
        late = {n: together.submit(lives, n, 9200 + at, 0.7) for at, n in enumerate(STATES)}
    return {
        "in time": {name: future.result() for name, future in early.items()},
        "too late": {name: future.result() for name, future in late.items()},
    }


def _hears_segment(ear: socket.socket, wanted: tuple[int, int, int]) -> bool:
    try:
        while True:
            packet = ear.recv(200)
            ports = struct.unpack_from(">HH", packet, 20)
            if (*ports, packet[33]) == wanted:
                return True
    except TimeoutError:
        return False


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
def real_nat(
    prerouting: str = "", postrouting: str = "oifname wan masquerade", own: str | None = None
) -> Iterator[Hosts]:
    """Linux itself between the hosts, with rules of nftables; `own` is another address of the box."""
    require("nft")
    before = _conntrack_times()
    with ExitStack() as stack:
        c1, c2, nat, s = (stack.enter_context(namespace(name)) for name in ("c1", "c2", "nat", "s"))
        for name, value in TIMES.items():
            inside(nat, _writer(f"/proc/sys/net/netfilter/nf_conntrack_{name}", str(value)))
        for name, value in TCP_TIMES.items():
            inside(nat, _writer(f"/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{name}", str(value)))
        inside(nat, _writer("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", "1"))
        inside(nat, _writer("/proc/sys/net/ipv4/ip_forward", "1"))
        _veth(nat, "lan1", ["192.168.1.1/24"], c1, [f"{CLIENTS[0]}/24"])
        _veth(nat, "lan2", ["192.168.2.1/24"], c2, [f"{CLIENTS[1]}/24"])
        _veth(nat, "wan", [f"{NAT}/24"], s, [f"{S1}/24", f"{S2}/24"])
        run_ip("route", "add", "default", "via", "192.168.1.1", netns=c1)
        run_ip("route", "add", "default", "via", "192.168.2.1", netns=c2)
        if own is not None:
            run_ip("address", "add", f"{own}/24", "dev", "wan", netns=nat)
        _nft(nat, f"nat hook postrouting priority srcnat; {postrouting}")
        if prerouting:
            _nft(nat, f"nat hook prerouting priority dstnat; {prerouting}")
        assert _conntrack_times() == before, "the times of a namespace are its own"
        yield _closing(stack, Hosts((c1, c2), s))


@contextmanager
def simulated_nat(folder: Path, extra: str) -> Iterator[Hosts]:
    """Our NAT box between the hosts, which are attached by TUN."""
    topology = folder / "linux-nat.yaml"
    topology.write_text(TOPOLOGY.replace("EXTRA", extra))
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


def _nft(netns: str, chain: str) -> None:
    """Another chain of a table of its own in a namespace."""
    name = "t" + os.urandom(4).hex()
    rules = f"table ip {name} {{ chain one {{ type {chain}; }}; }}"
    command = ["ip", "netns", "exec", netns, "nft", "-f", "-"]
    subprocess.run(command, input=rules, text=True, check=True)


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
