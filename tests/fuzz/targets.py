"""What is fuzzed: the codecs, an endpoint among strangers, and an endpoint whose peer has lost its mind.

A round is one call of a target. It raises if an exception escaped, if a stranger changed anything, or if
something grew; what it returns is what the round had for an outcome, for choosing the corpus.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from unittest.mock import patch

from sim.ike.channel import Channel, Encoded
from sim.ike.constants import ExchangeType
from sim.ike.endpoint import IkeEndpoint
from sim.ike.events import IkeSaDown, Rejected
from sim.ike.message import emit_message, parse_message
from sim.ike.payloads import Payload
from sim.units import NS_PER_S
from sim.wire.buffer import WireError
from sim.wire.tcp_encap import StreamReceiver, StreamSender
from sim.wire.udp_encap import NON_ESP_MARKER
from tests.fuzz.mutate import damaged, distorted
from tests.fuzz.pairs import MAKERS, Make, plain_pair, said_by, tell
from tests.ike.pair import A, B, End, Pair
from tests.wire.streams import fed

HALF_OPEN_TIMES = 40 * NS_PER_S
STRANGERS = [bytes((203, 0, 113, n)) for n in range(1, 200)]


def recorded_session(seed: str = "fuzz") -> tuple[Pair, list[bytes]]:
    """A pair that is up, and its messages so far: set-up, liveness, new, rekeyed and deleted SAs, a move."""
    pair = Pair(seed=seed).establish()
    for end in (pair.a, pair.b):
        tell(pair, end, lambda endpoint: endpoint.check_liveness(1, pair.now))
        spi = next(iter(end.children))
        tell(pair, end, lambda endpoint, spi=spi: endpoint.rekey(spi, pair.now))  # type: ignore[misc]
    tell(pair, pair.a, lambda endpoint: endpoint.rekey_ike(1, pair.now))
    spi = next(iter(pair.a.children))
    tell(pair, pair.a, lambda endpoint: endpoint.delete_child(spi, pair.now))
    tell(pair, pair.a, lambda endpoint: endpoint.initiate("rw", "net", pair.now))
    pair.a_addr = bytes((192, 0, 2, 77))
    pair.settle()
    pair.a_addr = A
    pair.settle()
    pair.drive(60 * NS_PER_S)
    return pair, pair.octets("a") + pair.octets("b")


@cache
def recorded_messages() -> tuple[bytes, ...]:
    """What is said with certificates, EAP, fragments, IKE_INTERMEDIATE and CP, encrypted and in clear.

    In clear, because damage under encryption never reaches the codecs of these payloads.
    """
    return tuple(raw for make in MAKERS for kind in said_by(make) for raw in kind)


class Strangers:
    """Nobody of those who send has a key: counters go up, and nothing else (RFC 7296 2.21)."""

    def __init__(self, seed: int, extra: Sequence[bytes] = ()) -> None:
        self.draw = random.Random(f"strangers {seed}")
        self.pair, self.session = recorded_session()
        self.messages = [*self.session, *recorded_messages(), *extra]
        self._before = {side: self._state(end) for side, end in self._ends()}
        self._rounds = 0
        (sa,) = self.pair.a.endpoint._ctx.sas.values()
        self.live = sa.spi_i + sa.spi_r

    def round(self) -> str:
        return self.feed(self.next())

    def next(self) -> bytes:
        """A message as a stranger may send it."""
        return damaged(self.draw.choice(self.messages), self.session, self.draw, self.live)

    def feed(self, raw: bytes) -> str:
        """Give a message to one end; the words with which it was turned away."""
        draw, pair = self.draw, self.pair
        side, end = draw.choice(self._ends())
        own = pair.a_addr if side == "a" else B
        port = draw.choice((500, 4500))
        src = (draw.choice(STRANGERS) if draw.random() < 0.7 else (B if side == "a" else pair.a_addr), port)
        end.endpoint.receive_datagram(
            raw if port == 500 else NON_ESP_MARKER + raw, src, (own, port), pair.now
        )
        said = [event.reason for event in iter(end.endpoint.next_event, None) if isinstance(event, Rejected)]
        end.endpoint.datagrams_to_send()
        if self._rounds % 100 == 0:
            self.check()
        self._rounds += 1
        if self._rounds % 1000 == 0:
            self._let_time_pass()
        return f"strangers: {said[0] if said else 'taken'}"

    def check(self) -> None:
        for side, end in self._ends():
            assert self._state(end) == self._before[side], f"a stranger has changed something at {side}"
            assert len(end.endpoint._ctx.sas) < 2000

    def _let_time_pass(self) -> None:
        """Half-open SAs end, and what is kept of them."""
        for _, end in self._ends():
            end.endpoint.handle_timer(self.pair.now + HALF_OPEN_TIMES)
            end.endpoint.handle_timer(self.pair.now + 2 * HALF_OPEN_TIMES)
            while end.endpoint.next_event() is not None:
                pass
            end.endpoint.datagrams_to_send()
        self.pair.now += 2 * HALF_OPEN_TIMES

    def _ends(self) -> list[tuple[str, End]]:
        return [("a", self.pair.a), ("b", self.pair.b)]

    @staticmethod
    def _state(end: End) -> object:
        """All SAs that somebody has authenticated, as they are to the last word."""
        sas = [sa for sa in end.endpoint._ctx.sas.values() if sa.established_at >= 0]
        return [
            (sa.ike_id, sa.state, sa.spi_i, sa.spi_r, sa.path.local, sa.path.remote, sorted(sa.children))
            for sa in sas
        ]


def _send_on(endpoint: IkeEndpoint, draw: random.Random, now: int) -> None:
    endpoint.redirect("rw", draw.choice((B, STRANGERS[0])), now)


class Madmen:
    """The peer holds the keys, and what it says is distorted from one message on."""

    def __init__(self, seed: int, make: Make = plain_pair) -> None:
        self._make = make
        self.draw = random.Random(f"madmen {seed}")
        self._rounds = 0

    def round(self) -> str:
        self._rounds += 1
        draw = self.draw
        mad = draw.choice("ab")
        pair = self._make(f"{draw.random()}")
        first = draw.choice((0, 0, 1, 1, 2, 2, 3))
        with patch.object(Channel, "encode", _distorting(getattr(pair, mad), draw, first)):
            pair.initiate()
            pair.settle()
            for _ in range(draw.randint(1, 4)):
                self._do_something(pair)
            pair.drive(400 * NS_PER_S)
        for end in (pair.a, pair.b):
            context = end.endpoint._ctx
            assert len(context.sas) <= 4, "IKE SAs are left over"
            assert len(context.timers) < 60, "timers are left over"
        down = [event.reason for end in (pair.a, pair.b) for event in end.all(IkeSaDown)]
        return f"madmen: {mad} {sorted(set(down))}"

    def _do_something(self, pair: Pair) -> None:
        draw = self.draw
        end = draw.choice((pair.a, pair.b))
        children, sas = (
            list(end.children),
            [sa.ike_id for sa in end.endpoint.sas if sa.state == "established"],
        )
        spi, ike_id = (children or [0])[0], (sas or [0])[-1]
        actions: list[Callable[[IkeEndpoint], None]] = [
            lambda endpoint: endpoint.check_liveness(ike_id, pair.now),
            lambda endpoint: endpoint.rekey(spi, pair.now),
            lambda endpoint: endpoint.rekey_ike(ike_id, pair.now),
            lambda endpoint: endpoint.delete_child(spi, pair.now),
            lambda endpoint: _send_on(endpoint, draw, pair.now),
            lambda endpoint: endpoint.unknown_spi(draw.getrandbits(32), (A, 500), (B, 500), pair.now),
            lambda endpoint: endpoint.crash(pair.now),
            lambda endpoint: endpoint.add_resource(spi, draw.randrange(4), pair.now),
        ]
        if draw.random() < 0.15:
            pair.a_addr = bytes((192, 0, 2, draw.randint(2, 200)))
        elif draw.random() < 0.1:
            tell(pair, pair.a, lambda endpoint: endpoint.initiate("rw", "net", pair.now))
        else:
            tell(pair, end, draw.choice(actions))


def codec(raw: bytes) -> str:
    """A message or WireError; and what was read is written and read again as the same."""
    try:
        message = parse_message(raw)
    except WireError as error:
        return "codec: " + re.sub(r"\d+", "N", str(error))
    again = parse_message(emit_message(message.header, message.payloads))
    assert again.payloads == message.payloads
    return f"codec: {[int(payload.payload_type) for payload in message.payloads]}"


def stream(messages: Sequence[bytes], draw: random.Random) -> str:
    """A TCP stream of IKE and ESP, damaged: it is read or refused, the same in whatever pieces it comes."""
    sender = StreamSender(opened_it=True)
    octets = bytearray(b"".join(map(sender.ike, messages)))
    for _ in range(draw.randrange(3)):
        octets[draw.randrange(len(octets))] = draw.randrange(256)
    whole, parts = StreamReceiver(opened_it=False), StreamReceiver(opened_it=False)
    expected, found = fed(whole, [bytes(octets)]), fed(parts, _pieces(octets, draw))
    assert (expected[1], parts.kept) == (found[1], whole.kept)
    assert expected[1] or expected[0] == found[0]
    return "stream: " + (re.sub(r"\d+", "N", found[1]) or f"{sorted({kind.value for kind, _ in found[0]})}")


def _pieces(octets: bytearray, draw: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(octets):
        size = draw.choice((1, 2, 7, 500))
        yield bytes(octets[at : at + size])
        at += size


def _distorting(end: End, draw: random.Random, first: int) -> Callable[..., Encoded]:
    """`Channel.encode` as the one end has it: from message `first` on, now and then, it distorts."""
    original, context, count = Channel.encode, end.endpoint._ctx, 0

    def encode(
        channel: Channel, exchange: ExchangeType, message_id: int, response: bool, payloads: Sequence[Payload]
    ) -> Encoded:
        nonlocal count
        if channel._sa.ctx is context and exchange != ExchangeType.IKE_SA_INIT:
            count += 1
            if count > first and draw.random() < 0.6:
                payloads = distorted(payloads, draw)
        return original(channel, exchange, message_id, response, payloads)

    return encode
