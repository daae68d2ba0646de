"""PF_KEY for a program on a kernel that has none: a table of SAs, and answers as from a kernel (RFC 2367).

Linux without CONFIG_NET_KEY refuses `socket(PF_KEY)`, and a daemon that cannot load its SAs does not start.
So its call waits for us (seccomp_unotify(2)), gets a Unix socket instead, and here is the other end. ESP is
nowhere: what was negotiated can be read in the table, keys included, but no packet is sealed with it.

A kernel answers before `writev` returns, and programs have little patience after it (iked 1 ms). So `poll`
waits as well, until everything that was asked is answered.

Numbers in PF_KEY are in the machine's order; those here are little-endian, but for ports and SPIs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import select
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from tests.interop import seccomp_exec

_HEADER = struct.Struct("<BBBBHHII")  # version, type, errno, satype, length / 8, reserved, seq, pid
_EXTENSION = struct.Struct("<HH")  # length / 8, type
_SA = struct.Struct(">IBBBB")  # spi, replay, state, auth, encrypt; flags follow
_LIFETIME = struct.Struct("<IQQQ")  # allocations, bytes, addtime, usetime
_VERSION, _ESP, _MATURE = 2, 3, 1
_FIRST_SPI = 0x100

# seccomp_unotify(2): the sizes are those of struct seccomp_notif, _resp and _addfd.
_NOTIFICATION_BYTES = 80
_RECEIVE, _ANSWER, _HAND_OVER = 0xC0502100, 0xC0182101, 0x40182103
_CONTINUE, _AS_RESULT = 1, 2


class Message(IntEnum):
    """RFC 2367 3.1; those from 13 on are of KAME and Linux."""

    GETSPI = 1
    UPDATE = 2
    ADD = 3
    DELETE = 4
    GET = 5
    REGISTER = 7
    EXPIRE = 8
    FLUSH = 9
    SPD_UPDATE = 13
    SPD_ADD = 14
    SPD_DELETE = 15
    SPD_FLUSH = 19


class Extension(IntEnum):
    """RFC 2367 3; those from 18 on are of KAME and Linux."""

    SA = 1
    LIFETIME_HARD = 3
    LIFETIME_SOFT = 4
    SOURCE = 5
    DESTINATION = 6
    KEY_AUTH = 8
    KEY_ENCRYPT = 9
    NAT_T_TYPE = 20
    NAT_T_SOURCE_PORT = 21
    NAT_T_DESTINATION_PORT = 22


Extensions = dict[int, bytes]


@dataclass(frozen=True)
class LoadedSa:
    """An SA of ESP as the program loaded it; addresses are packed, `ports` None unless ESP is in UDP."""

    spi: int
    encryption: int
    integrity: int
    keys: tuple[bytes, bytes]
    source: bytes
    destination: bytes
    ports: tuple[int, int] | None


class PfKey:
    """Answers whoever connects to `path` by seccomp_exec.py, in a thread of its own, until that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[str] = []
        self._sas: dict[int, LoadedSa] = {}
        self._here, self._there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._here.setblocking(False)
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(1)
        self._thread = threading.Thread(target=self._serve, name="pf_key", daemon=True)
        self._thread.start()

    def command(self, *command: str) -> list[str]:
        """The words that start a program with this as its PF_KEY."""
        return [sys.executable, seccomp_exec.__file__, str(self.path), *command]

    def sas(self) -> dict[int, LoadedSa]:
        """The SAs that are loaded now, by SPI; one that has no keys yet is not among them."""
        return {spi: sa for spi, sa in list(self._sas.items()) if sa.keys[0]}

    def expire(self, spi: int, *, hard: bool = False) -> None:
        """Tell the program that a lifetime of this SA has run out (RFC 2367 3.1.8)."""
        kind = Extension.LIFETIME_HARD if hard else Extension.LIFETIME_SOFT
        body = _sa_of(spi) + _extension(kind, _LIFETIME.pack(0, 0, 0, 0))
        self._here.send(_message(Message.EXPIRE, 0, _ESP, 0, 0, body))

    def close(self) -> None:
        """Wait until its thread has ended, as the program must have done."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._door.close()
        self._here.close()
        self._there.close()

    def _serve(self) -> None:
        try:
            door, _ = self._door.accept()
        except OSError:
            return  # closed before anybody came
        with door:
            _, (listener, *_), _, _ = socket.recv_fds(door, 1, 1)
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        waiting.register(self._here, select.POLLIN)
        try:
            while True:
                ready = dict(waiting.poll())
                self._answer_all()
                if ready.get(listener, 0) & select.POLLHUP:
                    return  # nobody is left whose calls would wait
                if listener in ready:
                    self._system_call(listener)
        finally:
            os.close(listener)

    def _system_call(self, listener: int) -> None:
        call = bytearray(_NOTIFICATION_BYTES)
        try:
            fcntl.ioctl(listener, _RECEIVE, call)
            ident, number = int.from_bytes(call[:8], "little"), int.from_bytes(call[16:20], "little")
            if number == seccomp_exec.SOCKET:
                given = struct.pack("<QIIII", ident, _AS_RESULT, self._there.fileno(), 0, 0)
                fcntl.ioctl(listener, _HAND_OVER, given)
            else:
                self._answer_all()  # what was asked before it waits for the answer
                fcntl.ioctl(listener, _ANSWER, struct.pack("<QqiI", ident, 0, 0, _CONTINUE))
        except OSError as error:
            if error.errno != errno.ENOENT:  # the caller was interrupted or has ended
                raise

    def _answer_all(self) -> None:
        while True:
            try:
                asked = self._here.recv(65535)
            except BlockingIOError:
                return
            self._here.send(self._answer(asked))

    def _answer(self, asked: bytes) -> bytes:
        _, kind, _, satype, _, _, seq, pid = _HEADER.unpack_from(asked)
        found = dict(_extensions(asked))
        self.asked.append(Message(kind).name)
        error, body = 0, b""
        if kind == Message.GETSPI:
            body = _sa_of(self._reserve())
        elif kind in (Message.UPDATE, Message.ADD):
            error = self._load(kind, found)
        elif kind in (Message.DELETE, Message.GET):
            error, body = self._look_up(kind, found)
        elif kind == Message.FLUSH:
            self._sas.clear()
        return _message(kind, error, satype, seq, pid, body)

    def _reserve(self) -> int:
        spi = _FIRST_SPI + secrets.randbelow((1 << 32) - _FIRST_SPI)
        self._sas[spi] = LoadedSa(spi, 0, 0, (b"", b""), b"", b"", None)
        return spi

    def _load(self, kind: int, found: Extensions) -> int:
        """Zero or errno; UPDATE may change addresses alone and then brings no keys."""
        new = _loaded(found)
        old = self._sas.get(new.spi)
        if (old is None) == (kind == Message.UPDATE):
            return errno.ESRCH if old is None else errno.EEXIST
        if old is not None and not new.keys[0]:
            new = LoadedSa(
                new.spi, old.encryption, old.integrity, old.keys, new.source, new.destination, new.ports
            )
        self._sas[new.spi] = new
        return 0

    def _look_up(self, kind: int, found: Extensions) -> tuple[int, bytes]:
        spi = _spi(found)
        if spi not in self._sas:
            return errno.ESRCH, b""
        if kind == Message.DELETE:
            del self._sas[spi]
        return 0, _sa_of(spi)


def _loaded(found: Extensions) -> LoadedSa:
    spi, _, _, integrity, encryption = _SA.unpack_from(found[Extension.SA])
    ports = None
    if Extension.NAT_T_TYPE in found:
        ports = (
            int.from_bytes(found[Extension.NAT_T_SOURCE_PORT][:2], "big"),
            int.from_bytes(found[Extension.NAT_T_DESTINATION_PORT][:2], "big"),
        )
    return LoadedSa(
        spi,
        encryption,
        integrity,
        (_key(found.get(Extension.KEY_ENCRYPT)), _key(found.get(Extension.KEY_AUTH))),
        _address(found[Extension.SOURCE]),
        _address(found[Extension.DESTINATION]),
        ports,
    )


def _spi(found: Extensions) -> int:
    return int.from_bytes(found[Extension.SA][:4], "big")


def _key(body: bytes | None) -> bytes:
    """RFC 2367 2.3.4: how many bits, and two reserved octets."""
    return b"" if body is None else body[4 : 4 + int.from_bytes(body[:2], "little") // 8]


def _address(body: bytes) -> bytes:
    """RFC 2367 2.3.3: protocol, prefix length, two reserved octets, and a sockaddr."""
    family = int.from_bytes(body[4:6], "little")
    return body[8:12] if family == socket.AF_INET else body[12:28]


def _extensions(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = _HEADER.size
    while at < len(message):
        size, kind = _EXTENSION.unpack_from(message, at)
        yield kind, message[at + _EXTENSION.size : at + 8 * size]
        at += 8 * size


def _sa_of(spi: int) -> bytes:
    return _extension(Extension.SA, _SA.pack(spi, 0, _MATURE, 0, 0) + bytes(4))


def _extension(kind: int, body: bytes) -> bytes:
    return _EXTENSION.pack((_EXTENSION.size + len(body)) // 8, kind) + body


def _message(kind: int, error: int, satype: int, seq: int, pid: int, body: bytes) -> bytes:
    size = (_HEADER.size + len(body)) // 8
    return _HEADER.pack(_VERSION, kind, error, satype, size, 0, seq, pid) + body
