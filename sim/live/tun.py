"""A TUN device of Linux: the kernel's IP packets on one side, our octets on the other.

One packet a read and a write, without any header in front (IFF_NO_PI). The device lives as long as the
object, unless somebody made it persistent before (`ip tuntap add`).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from struct import Struct

from sim.live.errors import DeviceGoneError, LiveError
from sim.live.netns import inside, run_ip
from sim.wire.ip import MAX_PACKET_BYTES

_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_REQUEST = Struct("16sH22x")  # struct ifreq: name, flags
_MAX_NAME_BYTES = 15
_DROPPED = frozenset({errno.EAGAIN, errno.EINVAL, errno.EIO, errno.ENOBUFS, errno.ENOMEM})


class Tun:
    """An open device, non-blocking; watch `fileno()` for reading.

    `name` "" lets the kernel choose; `self.name` is what it became. `netns` is the network namespace where
    the device lives, None that of this process. LiveError says what is missing: /dev/net/tun, privileges,
    a free name, the namespace.
    """

    def __init__(self, name: str = "", netns: str | None = None) -> None:
        _check_name(name)
        self.netns = netns
        self._fd, self.name = inside(netns, lambda: _open(name))
        self._buffer = bytearray(MAX_PACKET_BYTES)
        self.dropped = 0
        """Packets that the kernel did not take: no IP packets, the device not up, no memory."""
        with suppress(LiveError):  # not where IPv6 is switched off, nor for a user whose device this is not
            self._ip("link", "set", "dev", self.name, "addrgenmode", "none")  # no solicitations of its own

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bytearray | None:
        """The next packet that the kernel sends, the caller's to keep; None when none waits.

        DeviceGoneError when the device is no longer there.
        """
        try:
            size = os.readv(self._fd, (self._buffer,))
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:  # the device is down
                return None
            raise self._error(error) from None
        return self._buffer[:size]

    def write(self, packet: bytes | bytearray | memoryview) -> bool:
        """Give the kernel one packet, as received from the device; False (and `dropped`) if it refuses.

        DeviceGoneError when the device is no longer there.
        """
        try:
            os.write(self._fd, packet)
        except OSError as error:
            if error.errno not in _DROPPED:
                raise self._error(error) from None
            self.dropped += 1
            return False
        return True

    def close(self) -> None:
        """Remove the device with its addresses and routes; harmless when that is done already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def configure(self, addresses: Iterable[str] = (), mtu: int | None = None) -> None:
        """Give it addresses ("10.0.0.1/24"), an MTU (octets), and set it up."""
        if mtu is not None:
            self._ip("link", "set", "dev", self.name, "mtu", str(mtu))
        for address in addresses:
            self.add_address(address)
        self._ip("link", "set", "dev", self.name, "up")

    def add_address(self, address: str) -> None:
        """An address with its prefix length; nothing changes when it is there already.

        One of IPv6 can be used at once: there is nobody on the device to ask whether he has it, too.
        """
        at_once = ("nodad",) if ":" in address else ()
        self._ip("address", "replace", address, "dev", self.name, *at_once)

    def remove_address(self, address: str) -> None:
        self._ip("address", "del", address, "dev", self.name)

    def add_route(self, prefix: str, source: str | None = None) -> None:
        """Lead what goes to `prefix` ("10.0.0.0/8", "default") into the device, preferably from `source`."""
        hint = ("src", source) if source else ()
        self._ip(*_family(prefix, source), "route", "replace", prefix, "dev", self.name, *hint)

    def remove_route(self, prefix: str) -> None:
        self._ip(*_family(prefix, None), "route", "del", prefix, "dev", self.name)

    def _error(self, error: OSError) -> Exception:
        if error.errno != errno.EBADFD:
            return error
        where = f" in namespace {self.netns}" if self.netns else ""
        return DeviceGoneError(f"the TUN device {self.name}{where} was removed while it was in use")

    def _ip(self, *words: str) -> None:
        run_ip(*words, netns=self.netns)


def _family(prefix: str, source: str | None) -> tuple[str, ...]:
    return ("-6",) if ":" in f"{prefix}{source or ''}" else ()


def _check_name(name: str) -> None:
    if len(name.encode()) > _MAX_NAME_BYTES or any(c in "/:%" or c.isspace() for c in name):
        raise LiveError(f"{name!r} is no name for a TUN device: at most 15 octets, no spaces, no / : %")


def _open(name: str) -> tuple[int, str]:
    try:
        descriptor = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LiveError(_why_no_device(error)) from None
    try:
        answer = fcntl.ioctl(descriptor, _TUNSETIFF, _REQUEST.pack(name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        os.close(descriptor)
        raise LiveError(_why_no_interface(error, name)) from None
    return descriptor, _REQUEST.unpack(answer)[0].rstrip(b"\0").decode()


def _why_no_device(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"there is no {_DEVICE}: load the kernel module (`modprobe tun`), or give the container it"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no right to open {_DEVICE}: a TUN device needs root (CAP_NET_ADMIN)"
    return f"cannot open {_DEVICE}: {error.strerror}"


def _why_no_interface(error: OSError, name: str) -> str:
    what = f"the TUN device {name}" if name else "a TUN device"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no right to make {what}: it needs root (CAP_NET_ADMIN)"
    if error.errno == errno.EBUSY:
        return f"{what} is in use by another program: choose another name"
    if error.errno in (errno.EINVAL, errno.EEXIST):
        return f"there is an interface {name} already, and it is no TUN device: choose another name"
    return f"cannot make {what}: {error.strerror}"
