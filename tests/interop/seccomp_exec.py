"""Executes a program, some of whose system calls wait for somebody else (seccomp_unotify(2)).

    python seccomp_exec.py SOCKET PROGRAM [WORD]...

Whoever listens at the Unix socket gets the file descriptor that shows them: see pfkey.py. They are those of
`socket` that ask for PF_KEY, and every `poll`. To set a socket's own policy of PF_KEY does nothing and
succeeds, as nothing would be encrypted anyway. It needs no part of this project, so that it starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

PF_KEY = 15
_CALLS = {"x86_64": (41, 7, 54, 317), "aarch64": (198, 73, 208, 277)}
KNOWN = platform.machine() in _CALLS
SOCKET, POLL, SETSOCKOPT, SECCOMP = _CALLS.get(platform.machine(), (0, 0, 0, 0))
"""Numbers of system calls on a KNOWN machine; aarch64 has no `poll`, so libc uses `ppoll` there."""

_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NUMBER, _FIRST, _SECOND, _THIRD = 0, 16, 24, 32  # struct seccomp_data; an argument's low half comes first
_IP_POLICY, _IPV6_POLICY = (socket.IPPROTO_IP, 16), (socket.IPPROTO_IPV6, 34)  # IP_IPSEC_POLICY, IPV6_...
_ALLOW, _ASK, _DONE = 0x7FFF0000, 0x7FC00000, 0x00050000  # SECCOMP_RET_ALLOW, _USER_NOTIF, _ERRNO with 0
_PROGRAM = (
    (_LOAD, 0, 0, _NUMBER),
    (_EQUAL, 13, 0, POLL),
    (_EQUAL, 0, 3, SOCKET),
    (_LOAD, 0, 0, _FIRST),
    (_EQUAL, 10, 0, PF_KEY),
    (_RETURN, 0, 0, _ALLOW),
    (_EQUAL, 0, 7, SETSOCKOPT),
    (_LOAD, 0, 0, _SECOND),
    (_EQUAL, 0, 2, _IP_POLICY[0]),
    (_LOAD, 0, 0, _THIRD),
    (_EQUAL, 5, 3, _IP_POLICY[1]),
    (_EQUAL, 0, 2, _IPV6_POLICY[0]),
    (_LOAD, 0, 0, _THIRD),
    (_EQUAL, 2, 0, _IPV6_POLICY[1]),
    (_RETURN, 0, 0, _ALLOW),
    (_RETURN, 0, 0, _ASK),
    (_RETURN, 0, 0, _DONE),
)
"""Each step: what to do, how many steps to skip when equal and when not, and with what."""


def main(path: str, *command: str) -> None:
    with socket.socket(socket.AF_UNIX) as supervisor:
        supervisor.connect(path)
        socket.send_fds(supervisor, [b"-"], [_install()])
    os.execv(command[0], command)


def _install() -> int:
    """Filter this process and its children from now on; the listener."""
    code = b"".join(struct.pack("<HBBI", *step) for step in _PROGRAM)
    held = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("<HxxxxxxQ", len(_PROGRAM), ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    listener = libc.syscall(SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.c_char_p(head))
    if listener < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
    return int(listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
