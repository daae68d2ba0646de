"""What NAT boxes do to IPsec besides translating it (RFC 3715 2.2 and 2.3).

Each habit is a small table of its own, asked before the mappings. No RFC tells a NAT to have them: they are
what real boxes do, with the failures that this brings about.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from sim.net.nat_profile import EspPassThrough, IkeGateway, NatProfile, PortRule
from sim.net.translate import upper_offset
from sim.units import NS_PER_S
from sim.wire.address import Sock
from sim.wire.esp import HEADER, HEADER_BYTES
from sim.wire.ip import Protocol, addresses
from sim.wire.udp import UDP_HEADER_BYTES

IKE_PORT, NATT_PORT = 500, 4500
ESP_IN_UDP = 1 << 16
"""Added to the internal port of ESP in UDP where it has a mapping apart from that of IKE."""

_PENDING = 60 * NS_PER_S
_IKE_SPI_BYTES = 8
_PRUNE_AT = 1024
_MOST_WAITING = 256


K = TypeVar("K")


class Clients(Generic[K]):
    """Who is behind what, until nothing has passed for `timeout` ns; what is over is forgotten in time."""

    def __init__(self, timeout: int) -> None:
        self._timeout = timeout
        self._clients: dict[K, tuple[bytes, int]] = {}
        self._prune_at = _PRUNE_AT

    def get(self, key: K, now: int) -> bytes | None:
        client, until = self._clients.get(key, (b"", 0))
        return client if until > now else None

    def put(self, key: K, client: bytes, now: int) -> None:
        self._clients[key] = (client, now + self._timeout)
        if len(self._clients) > self._prune_at:
            self._clients = {key: known for key, known in self._clients.items() if known[1] > now}
            self._prune_at = max(_PRUNE_AT, 2 * len(self._clients))


class EspOfOne:
    """Serves one client for each remote address: who comes first stays until it has been silent for long."""

    def __init__(self, timeout: int) -> None:
        self._served: Clients[bytes] = Clients(timeout)

    def outbound(self, client: bytes, remote: bytes, _spi: int, now: int) -> str:
        """Why a packet may not leave; empty when it may."""
        if self._served.get(remote, now) not in (None, client):
            return "NAT passes ESP of another client to that address"
        self._served.put(remote, client, now)
        return ""

    def inbound(self, remote: bytes, _spi: int, now: int) -> bytes | None:
        return self._served.get(remote, now)


class EspBySpi:
    """Guesses whose an SPI from outside is: of the client that has waited longest for its first answer."""

    def __init__(self, timeout: int) -> None:
        self._owners: Clients[tuple[bytes, int]] = Clients(timeout)  # by remote and SPI of its packets
        self._senders: Clients[tuple[bytes, bytes, int]] = Clients(timeout)  # client, remote, SPI
        self._waiting: dict[bytes, deque[tuple[bytes, int]]] = {}  # by remote: clients, and until when

    def outbound(self, client: bytes, remote: bytes, spi: int, now: int) -> str:
        if self._senders.get((client, remote, spi), now) is None:
            waiting = self._waiting.setdefault(remote, deque(maxlen=_MOST_WAITING))
            waiting.append((client, now + _PENDING))
        self._senders.put((client, remote, spi), client, now)
        return ""

    def inbound(self, remote: bytes, spi: int, now: int) -> bytes | None:
        owner = self._owners.get((remote, spi), now) or self._longest_waiting(remote, now)
        if owner is not None:
            self._owners.put((remote, spi), owner, now)
        return owner

    def _longest_waiting(self, remote: bytes, now: int) -> bytes | None:
        waiting = self._waiting.get(remote, deque())
        while waiting:
            client, until = waiting.popleft()
            if until > now:
                return client
        self._waiting.pop(remote, None)
        return None


class IpsecHabits:
    """Those of one box. Both directions say: None, the mappings decide; a text, why to drop the packet; or
    where it comes from or goes to: an address, and its port or 0 to leave that alone.
    """

    def __init__(self, profile: NatProfile) -> None:
        timeout = profile.udp_timeout
        self._esp = {
            EspPassThrough.NONE: None,
            EspPassThrough.ONE_CLIENT: EspOfOne(profile.esp_timeout),
            EspPassThrough.SPI: EspBySpi(profile.esp_timeout),
        }[profile.esp]
        by_spi: Clients[tuple[bytes, bytes]] = Clients(timeout)  # remote and initiator's SPI
        self._ike = by_spi if profile.ike_gateway is IkeGateway.SPI else None
        self._rules = {IKE_PORT: profile.port_500, NATT_PORT: profile.port_4500}
        self._kept: dict[int, Clients[Sock]] = {
            port: Clients(timeout) for port, rule in self._rules.items() if rule is PortRule.KEEP
        }
        self._apart = profile.esp_in_udp_apart
        self.active = (
            self._esp is not None
            or self._ike is not None
            or self._apart
            or set(self._rules.values()) != {PortRule.TRANSLATE}
        )
        """Whether the box has any of them."""

    def outbound(self, data: bytearray, address: bytes, now: int) -> Sock | str | None:
        """For a sound packet from inside that is no fragment; `address` is the external one."""
        client, remote = addresses(data)
        if data[9] == Protocol.ESP:
            spi = _spi(data)
            if self._esp is None or spi is None:
                return None
            return self._esp.outbound(client, remote, spi, now) or (address, 0)
        if not _is_udp(data):
            return None
        src_port, dst_port = _ports(data)
        if dropped := self._dropped(src_port, dst_port):
            return dropped
        ike_spi = _ike_spi(data) if IKE_PORT == src_port == dst_port else None
        if self._ike is not None and ike_spi is not None:
            self._ike.put((remote, ike_spi), client, now)
            return address, IKE_PORT
        if src_port in self._kept:
            self._kept[src_port].put((remote, dst_port), client, now)
            return address, src_port
        return None

    def inbound(self, data: bytearray, now: int) -> Sock | str | None:
        """For a sound packet from outside to an external address that is no fragment."""
        remote, _ = addresses(data)
        if data[9] == Protocol.ESP:
            spi = _spi(data)
            if self._esp is None or spi is None:
                return None
            return _led(self._esp.inbound(remote, spi, now), 0)
        if not _is_udp(data):
            return None
        src_port, dst_port = _ports(data)
        if dropped := self._dropped(src_port, dst_port):
            return dropped
        ike_spi = _ike_spi(data) if dst_port == IKE_PORT else None
        if self._ike is not None and ike_spi is not None:
            return _led(self._ike.get((remote, ike_spi), now), IKE_PORT)
        if dst_port in self._kept:
            return _led(self._kept[dst_port].get((remote, src_port), now), dst_port)
        return None

    def _dropped(self, src_port: int, dst_port: int) -> str:
        for port in (dst_port, src_port):
            if self._rules.get(port) is PortRule.DROP:
                return f"NAT drops what uses port {port}"
        return ""

    def apart(self, data: bytearray, src: Sock) -> Sock:
        """The internal endpoint to ask the mappings for, which for ESP in UDP may be one of its own."""
        in_udp = self._apart and _is_udp(data) and NATT_PORT in _ports(data) and _is_esp(data)
        return (src[0], src[1] | ESP_IN_UDP) if in_udp else src


def _led(client: bytes | None, port: int) -> Sock | str:
    return "no mapping" if client is None else (client, port)


def _is_udp(data: bytearray) -> bool:
    return data[9] == Protocol.UDP and len(data) >= upper_offset(data) + UDP_HEADER_BYTES


def _ports(data: bytearray) -> tuple[int, int]:
    at = upper_offset(data)
    return data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3]


def _spi(data: bytearray) -> int | None:
    at = upper_offset(data)
    if len(data) < at + HEADER_BYTES:
        return None
    spi: int = HEADER.unpack_from(data, at)[0]
    return spi


def _ike_spi(data: bytearray) -> bytes | None:
    at = upper_offset(data) + UDP_HEADER_BYTES
    spi = bytes(data[at : at + _IKE_SPI_BYTES])
    return spi if len(spi) == _IKE_SPI_BYTES else None


def _is_esp(data: bytearray) -> bool:
    """Whether a datagram of NAT traversal holds ESP: no non-ESP marker, no keepalive (RFC 3948 2)."""
    at = upper_offset(data) + UDP_HEADER_BYTES
    return len(data) >= at + HEADER_BYTES and any(data[at : at + 4])
