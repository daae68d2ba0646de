"""The IKEv2 endpoint: octets and `now` in; events, datagrams and the next deadline out (RFC 7296, RFC 4555)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from sim.ike.config import EndpointConfig
from sim.ike.events import Event
from sim.wire.address import Sock
from sim.wire.buffer import Buf
from sim.wire.selector import Selector


class Usage(Protocol):
    """When the data plane last used a pair of ESP SAs, in ns; -1 is never."""

    @property
    def last_in_at(self) -> int: ...

    @property
    def last_out_at(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP payload to send; it includes the non-ESP marker where one is due."""

    data: bytes
    src: Sock
    dst: Sock


class IkeEndpoint:
    def __init__(
        self,
        config: EndpointConfig,
        *,
        rand: Callable[[int], bytes],
        usage: Callable[[int], Usage | None] = lambda spi_in: None,
    ) -> None:
        self.config = config
        self.counters: Counter[str] = Counter()

    def receive_datagram(self, data: Buf, src: Sock, dst: Sock, now: int) -> None:
        raise NotImplementedError

    def handle_timer(self, now: int) -> None:
        raise NotImplementedError

    def initiate(self, connection: str, child: str | None, now: int) -> None:
        raise NotImplementedError

    def acquire(self, connection: str, child: str, selectors: tuple[Selector, Selector], now: int) -> None:
        raise NotImplementedError

    def addresses_changed(self, local: Iterable[bytes], now: int) -> None:
        raise NotImplementedError

    def esp_peer_moved(self, spi_in: int, src: Sock, now: int) -> None:
        raise NotImplementedError

    def delete(self, what: int | str, now: int) -> None:
        raise NotImplementedError

    def check_liveness(self, ike_id: int, now: int) -> None:
        raise NotImplementedError

    def next_event(self) -> Event | None:
        raise NotImplementedError

    def datagrams_to_send(self) -> list[Datagram]:
        raise NotImplementedError

    def next_timer(self) -> int | None:
        raise NotImplementedError
