"""How datagrams of an IKE endpoint leave a simulated node: with the faults asked for, and watched."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from sim.ike.constants import ExchangeType, name_of
from sim.ike.context import Datagram
from sim.ike.events import Event, FaultApplied, MessageSent
from sim.ike.faults import Copy, Faults
from sim.ike.message import HEADER_BYTES, Header, parse_header
from sim.net.node import IpNode
from sim.net.packet import Packet
from sim.tunnels.driver import GONE
from sim.tunnels.trace import IkeTrace, Passage
from sim.wire import udp
from sim.wire.udp_encap import NON_ESP_MARKER

Observe = Callable[[Event, int], None]


class Postman:
    """Of one node. `connection_of` knows the connection of an SPI of ours; `observe` hears of faults."""

    def __init__(
        self,
        node: IpNode,
        ike_port: int,
        trace: IkeTrace,
        faults: Faults | None,
        connection_of: Callable[[bytes], str],
        observe: Observe,
    ) -> None:
        self._node = node
        self._ike_port = ike_port
        self._trace = trace
        self._faults = faults
        self._connection_of = connection_of
        self._observe = observe
        self._said: deque[MessageSent] = deque()
        self._last: MessageSent | None = None

    def said(self, event: MessageSent) -> None:
        """What the endpoint tells of a message that it will hand over next."""
        self._said.append(event)

    def send(self, datagram: Datagram, now: int) -> None:
        marker = 0 if datagram.src[1] == self._ike_port else len(NON_ESP_MARKER)
        message = datagram.data[marker:]
        if len(message) < HEADER_BYTES:  # a keepalive
            self._transmit(Packet(_packet(datagram), now), datagram, now)
            return
        header = parse_header(message)
        said = self._about(header)
        name = self._connection_of(header.spi_i if header.from_initiator else header.spi_r)
        if self._faults is None:
            self._put(Copy(datagram, marker, name, said), now)
            return
        for copy in self._faults.wire(Copy(datagram, marker, name, said)):
            if copy.fault:
                self._observe(FaultApplied(name, copy.fault), now)
            if copy.delay:
                self._node.sim.at(now + copy.delay, partial(self._put, copy))
            else:
                self._put(copy, now)

    def _put(self, copy: Copy, now: int) -> None:
        packet = self._trace.begin(_passage(self._node.name, copy, now), _packet(copy.datagram))
        if copy.lost:
            self._node.drop(packet, f"fault: {copy.fault}", now)
        else:
            self._transmit(packet, copy.datagram, now)

    def _transmit(self, packet: Packet, datagram: Datagram, now: int) -> None:
        if self._node.would_stray(datagram.src[0], datagram.dst[0]):
            self._node.drop(packet, GONE, now)
        else:
            self._node.transmit(packet, now)

    def _about(self, header: Header) -> MessageSent | None:
        """What was said of a message; of one in fragments the same for all of them."""
        while self._said:
            if _is_about(self._said[0], header):
                self._last = self._said.popleft()
                return self._last
            if self._last is not None and _is_about(self._last, header):
                break
            self._said.popleft()
        return self._last if self._last is not None and _is_about(self._last, header) else None


def _is_about(said: MessageSent, header: Header) -> bool:
    return (
        said.message_id == header.message_id
        and said.spi_i == header.spi_i
        and said.response == header.is_response
        and said.exchange == name_of(ExchangeType, header.exchange)
    )


def _packet(datagram: Datagram) -> bytearray:
    return udp.build(datagram.src, datagram.dst, datagram.data, tos=datagram.tos)


def _passage(node: str, copy: Copy, now: int) -> Passage:
    said, datagram = copy.said, copy.origin
    header = parse_header(datagram.data[copy.marker :])
    return Passage(
        at=now,
        node=node,
        connection=copy.connection,
        ike_id=said.ike_id if said else 0,
        src=datagram.src,
        dst=datagram.dst,
        size=len(datagram.data) - copy.marker,
        spi_i=said.spi_i if said else header.spi_i,
        spi_r=header.spi_r,
        exchange=name_of(ExchangeType, header.exchange),
        message_id=header.message_id,
        response=header.is_response,
        payloads=said.payloads if said else "",
        retransmission=said.retransmission if said else 0,
        fault=copy.fault,
        changed=copy.changed[copy.marker :],
    )
