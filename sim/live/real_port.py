"""An interface of a real host: a TUN device that follows the simulated port and carries its packets."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from sim.live.attach import Attachment
from sim.live.errors import LiveError
from sim.live.lateness import Lateness
from sim.live.netns import run_ip
from sim.live.paced import Pacer
from sim.live.tun import Tun
from sim.net.real_host import RealHost

_BATCH = 64  # packets that are read before events and the other devices have their turn
_LOWEST_METRIC = 2  # of ours, the lowest is -1, and Linux takes 0 as "no metric given"


class RealPort:
    """The device of one port. `held_up` and `late` tell how late packets came in and went out."""

    def __init__(self, attachment: Attachment, host: RealHost, pacer: Pacer) -> None:
        self.attachment = attachment
        self.tun = Tun(attachment.device, attachment.netns)
        self.port = host.ports[attachment.interface]
        self.late = Lateness()
        """Of packets to the real host: when it got them, less when they arrived in the simulation."""
        self.held_up = Lateness()
        """Of packets from the real host: for how long at most they had waited before they were read."""
        self._host = host
        self._pacer = pacer
        self._up = False
        self._empty_at = 0  # when the device was last seen without a packet

    def leave(self, data: bytearray, now: int) -> None:
        """A packet arrived at the port."""
        self.tun.write(data)
        self.late.add(self._pacer.now - now)

    def read(self) -> None:
        """Take in what the real host has sent."""
        for _ in range(_BATCH):
            data = self.tun.read()
            if data is None:
                self._empty_at = self._pacer.now
                return
            self.held_up.add(self._pacer.now - max(self._pacer.busy_since, self._empty_at))
            self._host.inject(self.port, data, self._pacer.advance())

    def follow(self) -> None:
        """Bring addresses, routes and state of the device to those of the port; blocks for some ms."""
        if self.port.up == self._up:
            return
        self._up = self.port.up
        if self._up:
            own = [f"{ipaddress.ip_address(address)}/{length}" for address, length in self.port.addresses]
            self.tun.configure(own, self.port.mtu)
            self._add_routes()
        else:
            self._ip("address", "flush", "dev", self.tun.name)
            self._ip("link", "set", "dev", self.tun.name, "down")

    def row(self) -> dict[str, Any]:
        """For a summary."""
        a = self.attachment
        return {
            "node": a.node,
            "interface": a.interface,
            "device": a.device,
            "netns": a.netns,
            "from_host": self.held_up.row(),
            "to_host": self.late.row(),
            "refused_by_host": self.tun.dropped,
            "not_read": self._not_read(),
        }

    def close(self) -> None:
        self.tun.close()

    def _not_read(self) -> int | None:
        """Packets that the kernel threw away because its queue to us was full; None: the device is gone."""
        try:
            (link,) = json.loads(self._ip("-s", "-j", "link", "show", "dev", self.tun.name))
        except LiveError:
            return None
        return int(link["stats64"]["tx"]["dropped"])

    def _add_routes(self) -> None:
        """The node's routes through this port; those to its own networks come with the addresses."""
        connected = {ipaddress.ip_network(_text(*own), strict=False) for own in self.port.addresses}
        families = {len(address) for address, _ in self.port.addresses}
        for route in self._host.routes:
            prefix = ipaddress.ip_network(_text(route.prefix, route.length), strict=False)
            if route.port is not self.port or prefix in connected or len(route.prefix) not in families:
                continue
            if not route.length and self.attachment.netns is None:
                continue  # this system keeps its own default route
            metric = str(route.metric + _LOWEST_METRIC)
            self._ip(
                f"-{prefix.version}", "route", "replace", str(prefix), "dev", self.tun.name, "metric", metric
            )

    def _ip(self, *words: str) -> str:
        return run_ip(*words, netns=self.attachment.netns)


def _text(address: bytes, length: int) -> str:
    return f"{ipaddress.ip_address(address)}/{length}"
