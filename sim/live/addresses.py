"""The addresses of this host, and word of changes, and ways out, from Linux's routing socket (rtnetlink(7)).

nlmsghdr   0 length | 4 type | 6 flags | 8 sequence | 12 port
ifaddrmsg  0 family | 1 prefix length | 2 flags | 3 scope | 4 index
ifinfomsg  0 family | 2 type | 4 index | 8 flags | 12 change
rtmsg      0 family | 1, 2 prefix lengths | 3 TOS | 4 table | 5 protocol | 6 scope | 7 type | 8 flags
rtattr     0 length | 2 type | value, padded to 4
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

_HEADER = Struct("=IHHII")
_ADDRESS = Struct("=BBBBI")
_LINK = Struct("=BxHiII")
_ROUTE = Struct("=BBBBBBBBI")
_ATTRIBUTE = Struct("=HH")
_UINT = Struct("=I")
_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 18, 20, 22
_NEW_ROUTE, _GET_ROUTE = 24, 26
_ERROR, _DONE = 2, 3
_REQUEST, _REQUEST_DUMP = 0x001, 0x301
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFLA_NAME = 1, 2, 8, 3
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_MARK = 1, 2, 4, 16
_TO_ITSELF = 2  # the type of a route to one of our own addresses
_UNUSABLE = 0x40 | 0x08  # tentative, duplicate
_UP = 1
_SCOPE_LINK = 253
_GROUPS = 0x001 | 0x010 | 0x040 | 0x100 | 0x400  # links; IPv4 addresses, routes; IPv6 addresses, routes
_BUFFER_BYTES = 1 << 16


class HostAddress(NamedTuple):
    """An address of an interface that is up; `wide` if others than this host and its link can use it."""

    address: bytes
    interface: str
    wide: bool


class AddressWatch:
    """Becomes readable when addresses, links or routes may have changed; then call `drain`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        self._socket.bind((0, _GROUPS))

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        """Take what there is; what it says is best asked anew, with `host_addresses`."""
        try:
            while self._socket.recv(_BUFFER_BYTES):
                pass
        except OSError:  # nothing left, or more than the socket could hold
            return

    def close(self) -> None:
        self._socket.close()


def host_addresses() -> list[HostAddress]:
    """All usable addresses of interfaces that are up, in the kernel's order."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        sock.bind((0, 0))
        links = dict(_links(_dump(sock, _GET_LINK)))
        return list(_addresses(_dump(sock, _GET_ADDRESS), links))


def way_out(local: bytes, remote: bytes, mark: int = 0) -> str | None:
    """The interface by which packets leave; "" if both addresses are ours, None if there is no route."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        sock.bind((0, 0))
        found = _route(sock, local, remote, mark)
        if found is None:
            return None
        kind, index = found
        names = dict(_links(_dump(sock, _GET_LINK)))
        return "" if kind == _TO_ITSELF else names.get(index)


def _route(sock: socket.socket, local: bytes, remote: bytes, mark: int) -> tuple[int, int] | None:
    """The type of the route that the kernel would take, and the number of its interface."""
    bits = 8 * len(remote)
    family = socket.AF_INET if len(remote) == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, bits, bits, 0, 0, 0, 0, 0, 0)
    body += _attribute(_RTA_DST, remote) + _attribute(_RTA_SRC, local)
    if mark:
        body += _attribute(_RTA_MARK, _UINT.pack(mark))
    sock.send(_HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, 1, 0) + body)
    for answer, data in _messages(sock.recv(_BUFFER_BYTES)):
        if answer == _NEW_ROUTE:
            interface = _attributes(data[_ROUTE.size :]).get(_RTA_OIF)
            return _ROUTE.unpack_from(data)[7], _UINT.unpack(interface)[0] if interface else 0
    return None


def _attribute(kind: int, value: bytes) -> bytes:
    """Of a length that needs no padding."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _dump(sock: socket.socket, kind: int) -> list[tuple[int, bytes]]:
    """(type, body) of every message of the answer."""
    body = bytes(_LINK.size)
    sock.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_DUMP, 1, 0) + body)
    messages: list[tuple[int, bytes]] = []
    while True:
        for answer, data in _messages(sock.recv(_BUFFER_BYTES)):
            if answer in (_DONE, _ERROR):
                return messages
            messages.append((answer, data))


def _messages(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(octets):
        length, kind, _, _, _ = _HEADER.unpack_from(octets, at)
        yield kind, octets[at + _HEADER.size : at + length]
        at += max((length + 3) & ~3, _HEADER.size)


def _attributes(octets: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(octets):
        length, kind = _ATTRIBUTE.unpack_from(octets, at)
        found[kind] = octets[at + _ATTRIBUTE.size : at + length]
        at += max((length + 3) & ~3, _ATTRIBUTE.size)
    return found


def _links(messages: list[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    """(index, name) of the interfaces that are up."""
    for kind, body in messages:
        if kind == _NEW_LINK:
            _, _, index, flags, _ = _LINK.unpack_from(body)
            if flags & _UP:
                yield index, _attributes(body[_LINK.size :])[_IFLA_NAME].rstrip(b"\0").decode()


def _addresses(messages: list[tuple[int, bytes]], links: dict[int, str]) -> Iterator[HostAddress]:
    for kind, body in messages:
        if kind != _NEW_ADDRESS:
            continue
        _, _, short_flags, scope, index = _ADDRESS.unpack_from(body)
        attributes = _attributes(body[_ADDRESS.size :])
        flags = int.from_bytes(attributes.get(_IFA_FLAGS, bytes([short_flags])), "little")
        address = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
        if address and index in links and not flags & _UNUSABLE:
            yield HostAddress(address, links[index], scope < _SCOPE_LINK)
