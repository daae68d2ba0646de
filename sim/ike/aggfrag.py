"""Agreeing on AGGFRAG mode with a Child SA (RFC 9347 5.1), much as on transport mode.

    HDR, SK {N(USE_AGGFRAG), SA, ...}  -->
                                <--  HDR, SK {N(USE_AGGFRAG), SA, ...}

Each notify says what its sender demands of what it receives. An answer without it means tunnel mode; so does
a request with a demand that is not understood, or beside one for transport mode.
"""

from __future__ import annotations

from sim.ike.config import ChildConfig
from sim.ike.constants import NotifyType
from sim.ike.message import Message
from sim.ike.payloads import NotifyPayload
from sim.wire.aggfrag import Requirement, parse_requirements
from sim.wire.buffer import WireError
from sim.wire.esp import Mode


def notify(config: ChildConfig) -> NotifyPayload:
    """What says that we use AGGFRAG mode, and what we demand."""
    return NotifyPayload(NotifyType.USE_AGGFRAG, bytes((config.iptfs.requirements,)))


def has_any(message: Message) -> bool:
    return message.notify(NotifyType.USE_AGGFRAG) is not None


def demanded(message: Message) -> Requirement | None:
    """What the peer demands; None where AGGFRAG mode is not asked for in a way that we can follow."""
    found = message.notify(NotifyType.USE_AGGFRAG)
    if found is None or message.notify(NotifyType.USE_TRANSPORT_MODE) is not None:
        return None
    try:
        return parse_requirements(found.data)
    except WireError:
        return None


def agreed_mode(mode: Mode, config: ChildConfig, message: Message) -> Mode:
    """IPTFS in place of tunnel mode, where both sides want it."""
    wanted = config.mode is Mode.IPTFS and demanded(message) is not None
    return Mode.IPTFS if wanted and mode is Mode.TUNNEL else mode
