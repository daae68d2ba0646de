"""Clients behind one NAT told apart by what they say (RFC 3948 5.2)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sim.ipsec import conversations
from sim.ipsec.conversations import IDLE_NS, Conversations
from sim.ipsec.engine import Engine
from sim.ipsec.spec import ChildSpec
from sim.ipsec.verdict import DROP, Reason
from sim.wire import icmp, ip
from sim.wire.address import pack_address
from sim.wire.esp import Mode
from sim.wire.selector import Selector
from tests.ipsec.pair import A4, B4, bare_engine, between, make_spec, mirrored, packet_of

NAT = pack_address("203.0.113.10")
PRIVATE = {"alice": pack_address("192.168.1.10"), "carol": pack_address("192.168.2.10")}
PORTS = {"alice": 40001, "carol": 40002}


class Scene:
    """alice and carol behind one NAT, and a server that tells them apart."""

    def __init__(self) -> None:
        self.server = bare_engine(B4)
        self.clients: dict[str, Engine] = {}
        self.specs: dict[str, list[ChildSpec]] = {"alice": [], "carol": []}
        for name, address in PRIVATE.items():
            self.clients[name] = bare_engine(address)
            self.add(name)

    def add(self, name: str, successor_of: int = 0) -> None:
        number = sum(map(len, self.specs.values()))
        address = PRIVATE[name]
        spec = make_spec(
            mode=Mode.TRANSPORT, encap=True, spi_in=0xA000 + number, spi_out=0xB000 + number,
            local=(address, 4500), local_ts=(Selector.host(address),),
        )  # fmt: skip
        at_server = replace(
            mirrored(spec), remote=(NAT, PORTS[name]), remote_ts=(Selector.host(NAT),), tracked=True,
            original=(address, B4),
        )  # fmt: skip
        self.clients[name].install(spec, 0, successor_of=self.specs[name][-1].spi_in if successor_of else 0)
        self.server.install(at_server, 0, successor_of=successor_of)
        self.specs[name].append(spec)

    def say(self, name: str, ports: tuple[int, int] = (1701, 1701), now: int = 0) -> object:
        return self.carry(name, between((PRIVATE[name], ports[0]), (B4, ports[1])), now)

    def carry(self, name: str, packet: bytearray, now: int = 0) -> object:
        """What comes of a client's packet at the server, behind the NAT."""
        sealed = packet_of(self.clients[name].outbound(packet, now))
        sealed[12:16] = NAT
        sealed[20:22] = PORTS[name].to_bytes(2, "big")
        ip.write_checksum(sealed)
        return self.server.inbound(sealed, now)

    def answer_goes_to(self, ports: tuple[int, int] = (1701, 1701), now: int = 0) -> int:
        """The port of the NAT."""
        return self.port_of(self.server.outbound(between((B4, ports[0]), (NAT, ports[1])), now))

    def port_of(self, outcome: object) -> int:
        assert isinstance(outcome, bytearray), outcome
        return int.from_bytes(outcome[22:24], "big")


def test_c70_answers_go_to_who_asked() -> None:
    scene = Scene()
    for name, port in (("alice", 5000), ("carol", 5001), ("alice", 5002)):
        assert isinstance(scene.say(name, (port, 1701)), bytearray)
    for port, name in ((5000, "alice"), (5001, "carol"), (5002, "alice"), (5000, "alice")):
        assert scene.answer_goes_to((1701, port)) == PORTS[name]


def test_c70_what_nobody_asked_for_goes_to_the_newest() -> None:
    assert Scene().answer_goes_to() == PORTS["carol"]


def test_c70_two_clients_with_the_same_ports_cannot_be_told_apart_and_the_second_is_refused() -> None:
    scene = Scene()
    assert isinstance(scene.say("alice"), bytearray)
    assert scene.say("carol") is DROP[Reason.NOT_TOLD_APART]
    assert scene.answer_goes_to() == PORTS["alice"]
    assert isinstance(scene.say("alice"), bytearray)


def test_c70_what_is_no_sound_packet_is_dropped_also_in_a_flow_that_is_known() -> None:
    """The engine never raises, though a wrong checksum of the outer header becomes the inner one's."""
    scene = Scene()
    scene.say("alice")
    sealed = packet_of(scene.clients["alice"].outbound(between((PRIVATE["alice"], 1701), (B4, 1701)), 0))
    sealed[12:16] = NAT
    assert scene.server.inbound(sealed, 0) is DROP[Reason.MALFORMED_INNER]
    answer = between((B4, 1701), (NAT, 1701))
    assert isinstance(scene.server.outbound(bytearray(answer), 0), bytearray)
    answer[10] ^= 1
    assert isinstance(scene.server.outbound(answer, 0), bytearray), (
        "as without tracking: the node looks at it"
    )


def test_c70_who_is_silent_for_long_loses_its_conversation() -> None:
    scene = Scene()
    scene.say("alice")
    assert scene.say("carol", now=IDLE_NS) is DROP[Reason.NOT_TOLD_APART]
    assert isinstance(scene.say("carol", now=IDLE_NS + 1), bytearray)
    assert scene.answer_goes_to() == PORTS["carol"]


def test_c70_pings_are_told_apart_by_their_identifier() -> None:
    scene = Scene()
    for number, name in enumerate(PRIVATE):
        assert isinstance(scene.carry(name, icmp.echo_request(PRIVATE[name], B4, number, 1)), bytearray)
    for number, name in enumerate(PRIVATE):
        reply = icmp.echo_reply_to(icmp.echo_request(NAT, B4, number, 1))
        assert scene.port_of(scene.server.outbound(reply, 0)) == PORTS[name]


def test_c70_a_successor_takes_conversations_over_once_it_is_used() -> None:
    scene = Scene()
    scene.say("alice")
    old = scene.specs["alice"][0]
    scene.add("alice", successor_of=old.spi_out)
    spi_out = [spec.spi_in for spec in scene.specs["alice"]]

    def spi_of_answer() -> int:
        packet = packet_of(scene.server.outbound(between((B4, 1701), (NAT, 1701)), 0))
        return int.from_bytes(packet[28:32], "big")

    assert spi_of_answer() == spi_out[0]
    scene.clients["alice"].retire(old.spi_in)
    assert isinstance(scene.say("alice"), bytearray)
    assert spi_of_answer() == spi_out[1]
    scene.server.remove(old.spi_out)
    assert spi_of_answer() == spi_out[1]
    assert scene.say("carol") is DROP[Reason.NOT_TOLD_APART]


def test_c70_a_pair_that_ends_leaves_its_conversations_to_others() -> None:
    scene = Scene()
    scene.say("alice")
    scene.server.retire(scene.specs["alice"][0].spi_out)
    assert scene.server.outbound(between((B4, 1701), (NAT, 1701)), 0) is DROP[Reason.EXPIRED], "not to carol"
    scene.server.remove(scene.specs["alice"][0].spi_out)
    assert isinstance(scene.say("carol"), bytearray)
    assert scene.answer_goes_to() == PORTS["carol"]


def test_questions_about_size_are_about_the_pair_that_will_send() -> None:
    scene = Scene()
    scene.say("alice")
    answer = between((B4, 1701), (NAT, 1701))
    assert scene.server.protecting(answer) == scene.specs["alice"][0].spi_out


def test_conversations_are_bounded() -> None:
    held = Conversations()
    limit, conversations.MAX_CONVERSATIONS = conversations.MAX_CONVERSATIONS, 10
    try:
        for port in range(100):
            assert held.claim(between((A4, port), (B4, 1)), 1, port)
    finally:
        conversations.MAX_CONVERSATIONS = limit
    known = [held.owner_of_answer(between((B4, 1), (A4, port))) for port in range(100)]
    assert known == [None] * 90 + [1] * 10


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4), st.integers(0, 2 * IDLE_NS // 10**9))))
def test_a_conversation_has_one_owner_at_a_time(claims: list[tuple[int, int, int]]) -> None:
    """Against a model that keeps everything."""
    held, model, now = Conversations(), {}, 0  # type: ignore[var-annotated]
    for owner, port, wait in claims:
        now += wait * 10**9
        holder, last = model.get(port, (owner, now))
        mine = holder == owner or now - last > IDLE_NS
        assert held.claim(between((A4, port), (B4, 9)), owner, now) is mine
        if mine:
            model[port] = owner, now
        assert held.owner_of_answer(between((B4, 9), (A4, port))) == model[port][0]
