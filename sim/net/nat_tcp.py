"""The TCP connections that pass a NAT: open, or opening and closing (RFC 5382 5, RFC 7857 2)."""

from __future__ import annotations

from sim.net.nat_profile import NatProfile

FIN, SYN, RST, ACK = 1, 2, 4, 16
OUT, IN = 1, 2
_BOTH = OUT | IN


class TcpSession:
    """One connection, between a mapping and a remote endpoint.

    It counts as established from the acknowledgment on that follows segments of both sides, and until both
    have sent FIN or one has sent RST. A connection that the NAT meets in the middle is treated alike.
    """

    __slots__ = ("_closed", "_open", "_seen", "expires_at")

    def __init__(self) -> None:
        self.expires_at = 0
        self._seen = self._closed = 0
        self._open = False

    def saw(self, side: int, flags: int) -> None:
        """A segment passed; `side` is OUT for one from inside."""
        if flags & SYN and self._closed:
            self._seen, self._closed, self._open = 0, 0, False
        if flags & RST:
            self._closed = _BOTH
        elif flags & FIN:
            self._closed |= side
        self._seen |= side
        if self._seen == _BOTH and flags & ACK and not flags & SYN:
            self._open = True

    @property
    def established(self) -> bool:
        return self._open and self._closed != _BOTH

    def timeout(self, profile: NatProfile) -> int:
        return profile.tcp_timeout if self.established else profile.tcp_transitory_timeout
