"""Sockets of one local address: UDP for IKE and encapsulated ESP (RFC 3948), raw IP for plain ESP and AH.

A socket is bound to one address and one port, so every datagram has its real local address, and the kernel
sends from it. The kernel fragments and reassembles; DF is set only when a packet asks for it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from enum import Enum
from struct import Struct

from sim.live.errors import LiveError
from sim.wire.address import Sock, format_address
from sim.wire.ip import MAX_PACKET_BYTES, Protocol

RECEIVE_BUFFER_BYTES = 4 << 20
"""What we ask the kernel for, so that a burst does not push out what matters; it may give less."""

_IP_MTU_DISCOVER, _PMTUDISC_DONT, _PMTUDISC_PROBE, _IP_MTU = 10, 0, 3, 14
_IPV6_MTU_DISCOVER, _IPV6_MTU = 23, 24
_IP_HDRINCL = 3
_INT = Struct("i")
_ANCILLARY_BYTES = 64

Received = tuple[bytes, Sock, int]
"""Payload, where it came from (port 0 for ESP), and the TOS octet or traffic class."""


class Sent(Enum):
    """What became of a datagram."""

    YES = "sent"
    TOO_BIG = "too big for the path"
    NO = "refused by the kernel"


class LiveSocket:
    """One non-blocking socket; `local` has port 0 for ESP and AH.

    One for AH gives and takes whole IPv4 packets, because AH covers their headers; of IPv6 it is what follows
    the header, all of which is known to both sides or may change on the way.
    OSError when it cannot be bound. With a `mark` its packets are told from those of other programs by
    routing rules (that needs root).
    """

    def __init__(self, local: Sock, *, esp: bool = False, ah: bool = False, mark: int = 0) -> None:
        self.local = local
        self.esp = esp
        self.ah = ah
        v6 = len(local[0]) == 16
        self._family = socket.AF_INET6 if v6 else socket.AF_INET
        self._strip = esp and not v6  # raw IPv4 sockets show the IP header
        self._level, self._tos, self._ttl, self._discover = (
            (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_HOPLIMIT, _IPV6_MTU_DISCOVER)
            if v6
            else (socket.IPPROTO_IP, socket.IP_TOS, socket.IP_TTL, _IP_MTU_DISCOVER)
        )
        kind, protocol = (socket.SOCK_RAW, int(Protocol.ESP)) if esp else (socket.SOCK_DGRAM, 0)
        if ah:
            kind, protocol = socket.SOCK_RAW, int(Protocol.AH)
        self._socket = socket.socket(self._family, kind, protocol)
        try:
            self._prepare(v6, mark)
            self._socket.bind((format_address(local[0]), local[1]))
        except OSError:
            self._socket.close()
            raise
        self._df = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> Received | None:
        """The next datagram, or None when none waits."""
        try:
            data, ancillary, _, source = self._socket.recvmsg(MAX_PACKET_BYTES, _ANCILLARY_BYTES)
        except OSError:  # nothing there, or an ICMP error about a datagram of ours
            return None
        if self._strip:
            data = data[(data[0] & 15) * 4 :]
        address = socket.inet_pton(self._family, source[0].partition("%")[0])
        return data, (address, 0 if self.esp or self.ah else source[1]), _tos_of(ancillary)

    def send(
        self, payload: bytes | memoryview, dst: Sock, *, tos: int = 0, df: bool = False, ttl: int = 0
    ) -> Sent:
        """Send one datagram; `df` forbids fragments, here and on the way; a `ttl` of 0 is this host's own."""
        if df is not self._df:
            self._set_df(df)
        ancillary = [(self._level, self._tos, _INT.pack(tos))] if tos else []
        if ttl:
            ancillary.append((self._level, self._ttl, _INT.pack(ttl)))
        try:
            self._socket.sendmsg([payload], ancillary, 0, (format_address(dst[0]), dst[1]))
        except OSError as error:
            return Sent.TOO_BIG if error.errno == errno.EMSGSIZE else Sent.NO
        return Sent.YES

    def _prepare(self, v6: bool, mark: int) -> None:
        sock = self._socket
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if v6:
            if not (self.esp or self.ah):  # a raw socket is of one IP version anyway, and refuses the option
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            if self.ah:
                sock.setsockopt(socket.IPPROTO_IP, _IP_HDRINCL, 1)
        sock.setsockopt(self._level, self._discover, _PMTUDISC_DONT)

    def _set_df(self, df: bool) -> None:
        self._socket.setsockopt(self._level, self._discover, _PMTUDISC_PROBE if df else _PMTUDISC_DONT)
        self._df = df


def open_socket(local: Sock, *, esp: bool = False, ah: bool = False, mark: int = 0) -> LiveSocket | None:
    """A bound socket, or None when this host lacks the address; LiveError when it must not be ours."""
    try:
        return LiveSocket(local, esp=esp, ah=ah, mark=mark)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise LiveError(_why(error, local, esp or ah)) from None


def source_and_mtu(dst: bytes, mark: int = 0) -> tuple[bytes, int] | None:
    """The address from which this host reaches `dst`, and the MTU there (octets); None without a route."""
    family = socket.AF_INET if len(dst) == 4 else socket.AF_INET6
    level, option = (socket.IPPROTO_IP, _IP_MTU) if len(dst) == 4 else (socket.IPPROTO_IPV6, _IPV6_MTU)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if mark:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            probe.connect((format_address(dst), 9))  # sends nothing
            source = socket.inet_pton(family, probe.getsockname()[0])
            return source, probe.getsockopt(level, option)
    except OSError:
        return None


def may_send_plain_esp() -> bool:
    """Whether this process may have raw sockets, which ESP without UDP needs."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, int(Protocol.ESP)).close()
    except OSError:
        return False
    return True


def _tos_of(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) in _TOS:
            return data[0] if len(data) < _INT.size else int(_INT.unpack_from(data)[0]) & 0xFF
    return 0


_TOS = {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}


def _why(error: OSError, local: Sock, esp: bool) -> str:
    if esp:
        return f"no raw socket for ESP or AH at {format_address(local[0])}: {error.strerror}"
    what = f"UDP port {local[1]} of {format_address(local[0])}"
    if error.errno == errno.EADDRINUSE:
        return f"{what} is in use by another program: stop it, or choose ports with --port and --natt-port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{what} needs root: choose ports above 1023 with --port and --natt-port"
    return f"cannot listen on {what}: {error.strerror}"
