"""What both SAs of a pair know of the path between them, and say in AGGFRAG headers (RFC 9347 3).

we      TVal  ---------------------------------->  peer: remembers TVal and when it came
        TEcho = TVal, Echo Delay, Transmit Delay, LossEventRate  <----------
RTT = max(now - TEcho - Echo Delay, Transmit Delay + our own)
"""

from __future__ import annotations

from sim.ipsec.iptfs.losses import LossHistory
from sim.ipsec.iptfs.tfrc import RateControl
from sim.units import NS_PER_US
from sim.wire.aggfrag import CongestionInfo

_CLOCK = 1 << 32


class TunnelPath:
    """`says` is whether our headers tell of the path: either side has asked for congestion control.

    `control` is there when we do it.
    """

    __slots__ = (
        "_peer_t_val",
        "_peer_t_val_at",
        "_reported",
        "control",
        "losses",
        "peer_rtt",
        "says",
        "spacing",
    )

    def __init__(self, *, says: bool, control: RateControl | None = None) -> None:
        self.says = says
        self.control = control
        self.losses = LossHistory()
        self.spacing = 0
        """Our transmit delay: from one packet that we send to the next, ns."""
        self.peer_rtt = 0
        """The peer's estimate of the round trip, ns; 0 when it has none."""
        self._peer_t_val = 0
        self._peer_t_val_at = -1
        self._reported: tuple[int, int] | None = None  # the last answer that counted

    def info(self, now: int) -> CongestionInfo | None:
        """What the next header says."""
        if not self.says:
            return None
        echo = now - self._peer_t_val_at if self._peer_t_val else 0
        return CongestionInfo(
            loss_interval=self.losses.loss_interval,
            rtt=self.control.rtt // NS_PER_US if self.control else 0,
            echo_delay=echo // NS_PER_US,
            transmit_delay=self.spacing // NS_PER_US,
            t_val=_clock(now),
            t_echo=self._peer_t_val,
            ecn=self.losses.by_marks,
        )

    def heard(self, info: CongestionInfo, now: int) -> None:
        """A header of the peer's, in its order, that came at `now`."""
        self.peer_rtt = info.rtt * NS_PER_US
        if info.t_val != self._peer_t_val:
            self._peer_t_val, self._peer_t_val_at = info.t_val, now
        answer = info.t_echo, info.loss_interval
        if self.control is None or not info.t_echo or answer == self._reported:
            return
        self._reported = answer
        actual = ((_clock(now) - info.t_echo) % _CLOCK - info.echo_delay) * NS_PER_US
        least = self.spacing + info.transmit_delay * NS_PER_US
        self.control.heard(actual, info.loss_interval, now, least)

    def inherit(self, before: TunnelPath) -> None:
        """A rekeying changes the SA, and nothing on the path."""
        if self.control is not None and before.control is not None:
            self.control.inherit(before.control)


def _clock(now: int) -> int:
    """Microseconds in 32 bits, never 0, which says that there is none."""
    return now // NS_PER_US % _CLOCK or 1
