"""All sockets of a live peer: one for IKE, one for NAT traversal, for plain ESP and AH, by address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from sim.live.addresses import HostAddress, host_addresses
from sim.live.udp import LiveSocket, open_socket
from sim.wire.address import Sock

Ready = Callable[[LiveSocket], None]


class SocketSet:
    """Opens and closes sockets as addresses come and go; `ready` is called when one can be read."""

    def __init__(self, ports: tuple[int, ...], ready: Ready, *, esp: bool, ah: bool, mark: int) -> None:
        self._ports = ports
        self._ready = ready
        self._esp = esp
        self._ah = ah
        self._mark = mark
        self._loop = asyncio.get_running_loop()
        self._by_address: dict[bytes, list[LiveSocket]] = {}
        self.udp: dict[Sock, LiveSocket] = {}
        self.esp: dict[bytes, LiveSocket] = {}
        self.ah: dict[bytes, LiveSocket] = {}

    @property
    def addresses(self) -> list[bytes]:
        return list(self._by_address)

    def update(self, wanted: Iterable[bytes]) -> None:
        """Listen on these addresses, as far as this host has them, and on no others.

        LiveError when a port is busy or not allowed; what was open stays open.
        """
        wanted = list(wanted)
        for address in [address for address in self._by_address if address not in wanted]:
            self._close(address)
        for address in wanted:
            if address not in self._by_address:
                self._open(address)

    def close(self) -> None:
        for address in list(self._by_address):
            self._close(address)

    def _open(self, address: bytes) -> None:
        opened: list[LiveSocket] = []
        plans = [((address, port), False, False) for port in self._ports]
        plans += [((address, 0), True, False)] if self._esp else []
        plans += [((address, 0), False, True)] if self._ah else []
        try:
            for local, esp, ah in plans:
                sock = open_socket(local, esp=esp, ah=ah, mark=self._mark)
                if sock is not None:
                    opened.append(sock)
        finally:
            if len(opened) < len(plans):
                for sock in opened:
                    sock.close()
        if len(opened) == len(plans):
            self._by_address[address] = opened
            for sock in opened:
                self._use(sock)

    def _use(self, sock: LiveSocket) -> None:
        if sock.esp:
            self.esp[sock.local[0]] = sock
        elif sock.ah:
            self.ah[sock.local[0]] = sock
        else:
            self.udp[sock.local] = sock
        self._loop.add_reader(sock.fileno(), self._ready, sock)

    def _close(self, address: bytes) -> None:
        for sock in self._by_address.pop(address):
            self._loop.remove_reader(sock.fileno())
            self.udp.pop(sock.local, None)
            sock.close()
        self.esp.pop(address, None)
        self.ah.pop(address, None)


def listening_addresses(named: Iterable[bytes], everywhere: bool, without: str = "") -> list[bytes]:
    """Where to listen: `named` addresses, and with `everywhere` all that others can reach.

    `without` is an interface to leave out: the one that leads into our own tunnels.
    """
    found = [entry.address for entry in host_addresses() if _useful(entry, without)] if everywhere else []
    return list(dict.fromkeys([*named, *found]))


def _useful(entry: HostAddress, without: str) -> bool:
    return entry.wide and entry.interface != without
