"""The addresses of an IKE SA and what NAT detection says about them (RFC 7296 2.23)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from sim.ike.config import IKE_PORT, ConnectionConfig, EndpointConfig
from sim.wire.address import Sock


@dataclass(slots=True)
class Path:
    """Where an IKE SA's messages and ESP packets go.

    `version` counts address changes: whatever was asked under an older version is out of date
    (RFC 4555 3.5). `esp_remote` is where ESP goes if the peer's ESP, but not its IKE, was seen to come from
    elsewhere (RFC 4555 3.8). `proven` is where the peer has shown that it receives (3.7). `natt` is that
    the peer does NAT traversal, `faked` that our own configuration forces it, `suspected` that a NAT is
    likely on a new path that is not explored yet.
    """

    local: Sock
    remote: Sock
    nat_local: bool = False
    nat_remote: bool = False
    faked: bool = False
    suspected: bool = False
    natt: bool = False
    version: int = 0
    esp_remote: Sock | None = None
    proven: bytes = b""

    @property
    def encap(self) -> bool:
        """Whether ESP goes in UDP: both sides must once either is behind a NAT (RFC 7296 2.23)."""
        return self.nat_local or self.nat_remote or self.faked or self.suspected

    def move(self, local: Sock, remote: Sock) -> None:
        self.local, self.remote = local, remote
        self.esp_remote = None
        self.version += 1

    def suspect_nat(self) -> None:
        """Encapsulate until NAT detection has answered, if a NAT is likely (RFC 4555 3.5)."""
        self.suspected = self.natt and is_private(self.local[0]) and not is_private(self.remote[0])


def first_path(config: EndpointConfig, connection: ConnectionConfig, local: bytes, remote: bytes) -> Path:
    """Where an initiator's first message goes: to IKE's port, or to the one port that its peer has."""
    if connection.remote_port != IKE_PORT:
        return Path((local, config.natt_port), (remote, connection.remote_port))
    return Path((local, config.ike_port), (remote, config.ike_port))


def is_private(address: bytes) -> bool:
    """Whether an address is of those that only a NAT can bring into the Internet (RFC 1918, 6598, 4193)."""
    return any(ipaddress.ip_address(address) in network for network in _PRIVATE[len(address)])


_PRIVATE = {
    4: tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))),
    16: (ipaddress.ip_network("fc00::/7"),),
}
