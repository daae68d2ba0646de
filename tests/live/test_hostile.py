"""A live port is hostile ground: floods, forged, cut and repeated messages, peers that vanish.

What is measured is printed (`pytest -s`): datagrams sent, what became of them, memory, and whether an SA that
was there before still carries pings afterwards.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sim.ike.config import EndpointConfig
from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.endpoint import Datagram, IkeEndpoint
from sim.ike.events import IkeSaUp
from sim.ike.message import parse_message
from sim.ike.tasks.base import Job
from sim.live.netns import inside, run_ip
from sim.scenario.configs import endpoint_config
from sim.scenario.peer_file import read_peer
from sim.wire.address import format_address, pack_address
from sim.wire.selector import Selector
from tests.ike.test_child import Rekey
from tests.live import namespaces
from tests.live.process import PATIENCE_S, Peer, Site, own_address, site

MEMORY_KIB = 2_000
"""How much more memory a flood may cost for good."""
COOKIE_THRESHOLD = 30
"""strongSwan's default: from so many half-open SAs on an initiator must show its address."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Site]:
    with hostile_site(tmp_path) as made:
        yield made


@contextmanager
def hostile_site(folder: Path, netns: str = "") -> Iterator[Site]:
    """Encapsulated, so that ESP meets the flood on its own port."""
    with site(folder, settings="    encap: true\n", netns=netns) as made:
        text = made.file_b.read_text()
        made.file_b.write_text(text.replace("remote_ts: [10.1.0.0/16]", "remote_ts: [10.0.0.0/8]"))
        yield made


@pytest.fixture
def victim(lab: Site) -> Peer:
    return lab.start(lab.file_b)


@pytest.fixture
def friend(lab: Site, victim: Peer) -> Peer:
    """A peer whose SA with the victim is up and carries a ping each second."""
    peer = lab.start(lab.file_a, "--ping", "10.2.0.9")
    peer.wait_for("pong")
    return peer


@pytest.mark.parametrize(
    "seconds",
    [1.0, pytest.param(10.0, marks=pytest.mark.slow)],  # slow: ten seconds are what the flood must last
)
def test_random_datagrams_at_full_speed_do_no_lasting_harm(
    lab: Site, victim: Peer, friend: Peer, seconds: float
) -> None:
    withstand_flood(lab, victim, friend, seconds)


@pytest.mark.peers
def test_a_flood_does_no_harm_to_a_peer_that_writes_keys_and_shows_messages(tmp_path: Path) -> None:
    """A TUN device, --keys and -v cost time and memory of their own."""
    with namespaces.namespace("flood") as name, hostile_site(tmp_path, name) as lab:
        run_ip("address", "add", "10.2.0.9/32", "dev", "lo", netns=name)
        keys = tmp_path / "keys"
        victim = lab.start(lab.file_b, "--tun", "--keys", str(keys), "-v")
        friend = lab.start(lab.file_a, "--ping", "10.2.0.9")
        friend.wait_for("pong")
        rows = [file.read_text() for file in sorted(keys.iterdir())]
        withstand_flood(lab, victim, friend, 2.0)
        assert [file.read_text() for file in sorted(keys.iterdir())] == rows
        assert victim.status()["left_out"] > 0, "what strangers cause is shown at a bounded rate"


def first_answer(stranger: Stranger) -> bytes:
    return stranger.hear(stranger.knock())


def withstand_flood(lab: Site, victim: Peer, friend: Peer, seconds: float) -> None:
    before = victim.memory_kib()
    sent = flood(lab, seconds)
    assert_unharmed(victim, friend)
    after = victim.memory_kib()
    counters = victim.status()["counters"]
    seen = sum(counters.values())
    answered = [event["sequence"] for event in friend.events if event["event"] == "pong"]
    print(
        f"\n{sent} datagrams in {seconds} s, {seen} of IKE's kind seen, memory {before} -> {after} KiB, "
        f"{answered[-1] - len(answered)} of {answered[-1]} pings lost"
    )
    assert sent > 1000 * seconds
    assert seen > 100
    assert after - before < MEMORY_KIB


def test_a_flood_of_half_open_sas_brings_cookies_on_and_honest_peers_still_come_in(
    lab: Site, victim: Peer, friend: Peer
) -> None:
    before = victim.memory_kib()
    strangers = [Stranger(lab) for _ in range(7 * COOKIE_THRESHOLD)]
    knocks = [stranger.knock() for stranger in strangers]  # all of them before the first answer is read
    answers = [stranger.hear(knock) for stranger, knock in zip(strangers, knocks, strict=True)]
    cookies = [parse_message(answer).notify(NotifyType.COOKIE) is not None for answer in answers]
    assert cookies == [n >= COOKIE_THRESHOLD for n in range(len(cookies))]

    honest = Stranger(lab, secret=True)
    assert honest.connect()
    assert parse_message(honest.received[0]).notify(NotifyType.COOKIE) is not None
    assert_unharmed(victim, friend)
    status = victim.status()
    assert status["counters"]["cookies demanded"] == cookies.count(True) + 1
    after = victim.memory_kib()
    print(f"\n{len(cookies)} half-open, {cookies.count(True)} cookies, memory {before} -> {after} KiB")
    assert after - before < MEMORY_KIB


def test_one_address_cannot_hold_more_than_a_few_half_open_sas(lab: Site, victim: Peer) -> None:
    """strongSwan's cookie_threshold_ip is 3: who stays silent after a cookie costs nothing more."""
    address = own_address()
    answers = [first_answer(Stranger(lab, address)) for _ in range(6)]  # one by one: they share their ports
    cookies = [parse_message(answer).notify(NotifyType.COOKIE) is not None for answer in answers]
    assert cookies == [False, False, False, True, True, True]


def test_messages_cut_at_every_length_change_nothing(lab: Site, victim: Peer, friend: Peer) -> None:
    stranger = Stranger(lab, secret=True)
    sent: list[Datagram] = []

    def send_it_cut_first(datagram: Datagram) -> None:
        sent.append(datagram)
        for size in range(len(datagram.data)):
            stranger.send(replace(datagram, data=datagram.data[:size]))

    assert stranger.connect(before_each=send_it_cut_first)
    assert len(sent) == 2
    assert_unharmed(victim, friend)
    print(f"\n{sum(len(datagram.data) for datagram in sent)} cut messages, two SAs up")


def test_repeated_messages_are_answered_again_and_make_no_second_sa(
    lab: Site, victim: Peer, friend: Peer
) -> None:
    stranger = Stranger(lab, secret=True)
    sent: list[Datagram] = []
    assert stranger.connect(before_each=sent.append)
    for datagram in sent * 20:
        stranger.send(datagram)
    ups = [row for row in victim.status()["connections"] if row["state"] == "established"]
    assert len(ups) == 2
    assert all(len(row["children"]) == 1 for row in ups)
    assert_unharmed(victim, friend)


def test_cut_and_repeated_messages_of_an_sa_change_nothing(lab: Site, victim: Peer, friend: Peer) -> None:
    """Each request comes cut at every length first, then whole, then all of them twenty times again."""
    stranger = Stranger(lab, secret=True)
    assert stranger.connect()
    sent: list[Datagram] = []
    children = []

    def cut(datagram: Datagram) -> None:
        sent.append(datagram)
        for size in range(len(datagram.data)):
            stranger.send(replace(datagram, data=datagram.data[:size]))

    for ask in (
        stranger.ask_for_another_child,
        stranger.rekey,
        stranger.check_liveness,
        stranger.delete_a_child,
    ):
        ask()
        stranger.exchange(before_each=cut)
        children.append(len(stranger.children()))
    for datagram in sent * 20:
        stranger.send(datagram)
    assert_unharmed(victim, friend)

    assert children == [2, 3, 3, 2]
    assert [len(sent), *{datagram.src[1] for datagram in sent}] == [4, lab.ports[1]]
    (row,) = [row for row in victim.status()["connections"] if stranger.address in row["remote"]]
    assert {child["spi_out"] for child in row["children"]} == stranger.children()
    counters = victim.status()["counters"]
    print(f"\n{sum(len(datagram.data) for datagram in sent)} cut, {20 * len(sent)} repeated: {counters}")


@pytest.mark.parametrize("messages", [1, 2, 3])
def test_a_peer_that_vanishes_after_any_message_harms_nobody(
    lab: Site, victim: Peer, friend: Peer, messages: int
) -> None:
    """After IKE_SA_INIT, after IKE_AUTH without hearing the answer, and with the SA up."""
    Stranger(lab, secret=True).connect(give_up_after=messages)
    assert_unharmed(victim, friend)
    assert Stranger(lab, secret=True).connect()


def assert_unharmed(victim: Peer, friend: Peer) -> None:
    """The process is up, and the SA from before, with its old SPIs, carries pings sent from now on."""
    assert victim.process.poll() is None
    assert friend.process.poll() is None
    first = [event for event in friend.events if event["event"] == "child up"]
    friend.status()
    last = max(event["sequence"] for event in friend.events if event["event"] == "pong")
    while friend.wait_for("pong")["sequence"] < last + 2:
        pass
    (row,) = friend.status()["connections"]
    assert [child["spi_in"] for child in row["children"]] == [event["spi_in"] for event in first]


def flood(lab: Site, seconds: float) -> int:
    """Random octets to both ports, some of them shaped like IKE or ESP, as fast as one process can."""
    sock = inside(lab.netns or None, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind((own_address(), 0))
    noise = [os.urandom(1 + n * 37 % 1400) for n in range(200)]
    marked = [bytes(4) + octets for octets in noise]
    headed = [octets[:17] + b"\x20\x22\x08" + octets[17:] for octets in noise if len(octets) > 30]
    shapes = [*noise, *marked, *headed]
    sent, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for octets in shapes:
            sock.sendto(octets, (lab.b, lab.ports[sent & 1]))
            sent += 1
    sock.close()
    return sent


class Stranger:
    """An initiator in this process, at an address of its own; with the `secret` it is welcome."""

    def __init__(self, lab: Site, address: str = "", *, secret: bool = False) -> None:
        self.address = address or own_address()
        self._config = self._configure(lab, secret)
        self._sockets = {port: self._bind(port, shared=bool(address)) for port in lab.ports}
        self._endpoint = IkeEndpoint(self._config, rand=os.urandom)
        self._endpoint.addresses_changed([pack_address(self.address)], 0)
        self._endpoint.initiate("ab", "net", 0)
        self.received: list[bytes] = []

    def __del__(self) -> None:
        for sock in self._sockets.values():
            sock.close()

    def send(self, datagram: Datagram) -> None:
        (address, port) = datagram.dst
        self._sockets[datagram.src[1]].sendto(datagram.data, (format_address(address), port))

    def knock(self) -> Datagram:
        """Send an IKE_SA_INIT, after which nothing follows."""
        (datagram,) = self._endpoint.datagrams_to_send()
        self.send(datagram)
        return datagram

    def hear(self, asked: Datagram) -> bytes:
        """What the victim says to that."""
        return self._sockets[asked.src[1]].recv(65535)

    def connect(
        self, before_each: Callable[[Datagram], None] = lambda datagram: None, give_up_after: int = 99
    ) -> bool:
        """Whether an IKE SA came up; `give_up_after` says after how many messages of ours we vanish."""
        self.exchange(before_each, give_up_after)
        events = iter(self._endpoint.next_event, None)
        return any(isinstance(event, IkeSaUp) for event in events)

    def exchange(
        self, before_each: Callable[[Datagram], None] = lambda datagram: None, give_up_after: int = 99
    ) -> None:
        """Send what there is to send and hear the answers, until there is nothing."""
        left = give_up_after
        while left:
            datagrams = self._endpoint.datagrams_to_send()
            if not datagrams:
                break
            for datagram in datagrams:
                before_each(datagram)
                self.send(datagram)
                left -= 1
            if left:
                self._hear(datagrams[-1])

    def ask_for_another_child(self) -> None:
        self._endpoint.initiate("ab", "more", 0)

    def rekey(self) -> None:
        (sa,) = self._endpoint._ctx.sas.values()
        spi_in, child = next(iter(sa.children.items()))
        sa.requests.submit(Job(ExchangeType.CREATE_CHILD_SA, [Rekey(child.config, spi_in)]), 0)

    def check_liveness(self) -> None:
        self._endpoint.check_liveness(self._endpoint.sas[0].ike_id, 0)

    def delete_a_child(self) -> None:
        self._endpoint.delete_child(self._endpoint.sas[0].children[0].spi_in, 0)

    def children(self) -> set[str]:
        """The SPIs that the victim sends to."""
        return {f"{child.spi_in:08x}" for child in self._endpoint.sas[0].children}

    def _hear(self, asked: Datagram) -> None:
        """The answer to the last message; answers to cut ones are none."""
        data = self.hear(asked)
        self.received.append(data)
        self._endpoint.receive_datagram(data, asked.dst, asked.src, 0)

    def _configure(self, lab: Site, secret: bool) -> EndpointConfig:
        (connection,) = endpoint_config(read_peer(lab.file_a)[0]).connections
        psk = connection.psk if secret else b"no idea"
        number = int(self.address.rpartition(".")[2])
        (child,) = connection.children
        own, more = (
            replace(child, name=name, local_ts=(Selector.from_prefix(f"10.{net}.{number}.0/24"),))
            for name, net in (("net", 3), ("more", 4))
        )
        changed = replace(
            connection,
            psk=psk,
            local_addrs=(pack_address(self.address),),
            local_id=None,
            children=(own, more),
        )
        return EndpointConfig((changed,), ike_port=lab.ports[0], natt_port=lab.ports[1])

    def _bind(self, port: int, *, shared: bool) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE_S)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((self.address, port))
        return sock
