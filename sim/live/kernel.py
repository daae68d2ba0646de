"""The inner side of a peer with a TUN device: the kernel's own hosts and routes use the tunnels.

Routes into the device stand in a table of their own, which a rule (priority 220) names for all packets that
do not carry our mark. Packets of the peer's own sockets carry it, so a tunnel for 0.0.0.0/0 does not swallow
the packets that carry it, and the routes of the host stay as they are.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

from sim.ike.tasks.child_terms import ANY_ADDRESS
from sim.ipsec.policy import Action, Policy
from sim.live.addresses import host_addresses
from sim.live.echo import first_host
from sim.live.errors import LiveError
from sim.live.netns import run_ip_batch
from sim.live.tun import Tun
from sim.wire.address import format_address
from sim.wire.selector import Selector

MARK = 0x1D5EC
TUN_MTU = 1400
"""Octets; what fits after ESP in UDP into a path of 1500 with every suite, with room for a tunnel below."""

_RULE = "pref 220 not fwmark"
_FIRST_TABLE = 20000

Route = tuple[str, str]
"""Prefix and source address."""


class KernelHost:
    """A TUN device whose routes follow the policies."""

    def __init__(self, name: str) -> None:
        self.tun = Tun(name)
        self.tun.configure(mtu=TUN_MTU)
        self._table = _FIRST_TABLE + socket.if_nametoindex(self.tun.name)
        self._rules = [f"{_RULE} {MARK:#x} table {self._table}"]
        self._routes: set[Route] = set()
        self._v6 = any(len(entry.address) == 16 for entry in host_addresses())
        self._batch(f"rule add {rule}" for rule in self._rules)

    def deliver(self, packet: bytearray, now: int) -> None:
        """A packet came out of a tunnel."""
        self.tun.write(packet)

    def follow(self, policies: Iterable[Policy]) -> list[str]:
        """Make the routes those of the policies; what an address was added for is said, in sentences."""
        routes: dict[str, str] = {}
        said: list[str] = []
        for policy in policies:
            if policy.action is Action.PROTECT:
                for source in self._sources(policy.local_ts, said):
                    for prefix in _prefixes(policy.remote_ts, source):
                        routes.setdefault(prefix, source)  # the first policy is the one that takes a packet
        wanted: set[Route] = set(routes.items())
        old, self._routes = self._routes, wanted
        device = f"dev {self.tun.name} table {self._table}"
        self._batch(f"route del {prefix} {device}" for prefix, _ in old - wanted)
        self._batch(f"route replace {prefix} {device} src {source}" for prefix, source in wanted - old)
        return said

    def take_address(self, address: bytes) -> None:
        """A virtual IP lies on the device until it is given up, or the device goes."""
        self.tun.add_address(f"{format_address(address)}/{8 * len(address)}")

    def give_up_address(self, address: bytes) -> None:
        """Its routes go with it; the kernel may have taken all of that away already."""
        with suppress(LiveError):
            self.tun.remove_address(f"{format_address(address)}/{8 * len(address)}")
        self._routes = {route for route in self._routes if route[1] != format_address(address)}

    def close(self) -> None:
        self._batch(f"rule del {rule}" for rule in self._rules)
        self.tun.close()

    def _sources(self, local_ts: tuple[Selector, ...], said: list[str]) -> list[str]:
        """An own address of each family inside the selectors; the first that fits is added if there is none.

        None is added where any would do, as it is for a virtual IP that is still to come.
        """
        own = [entry.address for entry in host_addresses() if entry.wide or len(entry.address) == 4]
        fitting = [a for a in own for s in local_ts if len(a) == len(s.start) and s.start <= a <= s.end]
        fitting.sort(key=_is_loopback)
        if fitting or any(selector in ANY_ADDRESS.values() for selector in local_ts):
            first = {len(address): address for address in reversed(fitting)}
            return [format_address(address) for address in first.values()]
        address = first_host(local_ts[0])
        self.tun.add_address(f"{format_address(address)}/{8 * len(address)}")
        text = format_address(address)
        said.append(f"no address of this host is inside the selectors: {self.tun.name} gets {text}")
        return [text]

    def _batch(self, lines: Iterable[str]) -> None:
        by_family: dict[str, list[str]] = {"-4": [], "-6": []}
        for line in lines:
            if line.startswith("rule") and self._v6:
                by_family["-6"].append(line)
            by_family["-6" if ":" in line else "-4"].append(line)
        for family, mine in by_family.items():
            if mine:
                run_ip_batch(mine, family)


def _is_loopback(address: bytes) -> bool:
    return address[0] == 127 and len(address) == 4


def _prefixes(selectors: Iterable[Selector], source: str) -> Iterator[str]:
    for selector in selectors:
        if (":" in source) == (len(selector.start) == 16):
            first, last = ipaddress.ip_address(selector.start), ipaddress.ip_address(selector.end)
            yield from (str(network) for network in ipaddress.summarize_address_range(first, last))
