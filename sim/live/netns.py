"""Named network namespaces of Linux, as `ip netns` makes them (/run/netns/NAME)."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sim.live.errors import LiveError

T = TypeVar("T")

_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])  # Debian users lack sbin
_libc = ctypes.CDLL(None, use_errno=True)


def inside(netns: str | None, call: Callable[[], T]) -> T:
    """The result of `call`, made in a network namespace; None is that of this process.

    What it opens (a socket, a TUN device) stays in that namespace and may be used from anywhere. LiveError
    when there is no such namespace or no right to enter it; what `call` raises comes through.
    """
    if netns is None:
        return call()

    def enter() -> T:
        _set_namespace(netns)
        return call()

    with ThreadPoolExecutor(1) as thread:  # setns counts for one thread alone, and this one ends here
        return thread.submit(enter).result()


def run_ip(*words: str, netns: str | None = None) -> str:
    """The output of `ip WORDS`; LiveError with its complaint when it fails."""
    return _run(["ip", *(("-n", netns) if netns else ()), *words], "")


def run_ip_batch(lines: list[str], family: str) -> None:
    """Many commands in one call of `ip`, for one family ("-4" or "-6"); LiveError as `run_ip`."""
    _run(["ip", family, "-batch", "-"], "\n".join(lines))


def _run(command: list[str], text: str) -> str:
    env = {**os.environ, "PATH": _PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=env)
    except FileNotFoundError:
        raise LiveError("the program `ip` is missing: install iproute2") from None
    if done.returncode:
        complaint = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        if any(os.strerror(code) in complaint for code in (errno.EPERM, errno.EACCES)):
            raise LiveError(f"`{' '.join(command)}` needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN)")
        raise LiveError(f"`{' '.join(command)}` failed: {complaint}")
    return done.stdout


def _set_namespace(netns: str) -> None:
    try:
        descriptor = os.open(_FOLDER / netns, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        text = f"there is no network namespace {netns}: `ip netns add {netns}` makes it"
        raise LiveError(text) from None
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            code = ctypes.get_errno()
            if code == errno.EPERM:
                raise LiveError(f"to enter the network namespace {netns} needs root (CAP_SYS_ADMIN)")
            raise LiveError(f"cannot enter the network namespace {netns}: {os.strerror(code)}")
    finally:
        os.close(descriptor)
