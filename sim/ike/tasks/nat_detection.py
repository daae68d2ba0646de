"""NAT detection as every exchange with addresses uses it (RFC 7296 2.23).

The sender hashes the addresses that it sees; whoever receives other ones is behind a NAT, or its peer is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import NotifyType
from sim.ike.message import Message
from sim.ike.natd import HASH_BYTES, nat_detection_hash
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks.base import Inbound

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa
    from sim.wire.address import Sock

_SOURCE = NotifyType.NAT_DETECTION_SOURCE_IP
_DESTINATION = NotifyType.NAT_DETECTION_DESTINATION_IP


def natd_payloads(
    sa: IkeSa, spi_i: bytes, spi_r: bytes, local: Sock | None = None, remote: Sock | None = None
) -> tuple[NotifyPayload, NotifyPayload]:
    """Both hashes for a message of ours, by default for the addresses of the SA.

    A forced encapsulation announces a source that cannot be, so that the peer sees a NAT.
    """
    src, dst = local or sa.path.local, remote or sa.path.remote
    source = sa.ctx.rand(HASH_BYTES) if sa.connection.encap else nat_detection_hash(spi_i, spi_r, *src)
    return (
        NotifyPayload(_SOURCE, source),
        NotifyPayload(_DESTINATION, nat_detection_hash(spi_i, spi_r, *dst)),
    )


def has_natd(received: Inbound) -> bool:
    sources, destinations = _hashes(received.message)
    return bool(sources and destinations)


def detect_nat(sa: IkeSa, received: Inbound) -> bool:
    """Learn from a message whether either side is behind a NAT; True when that changes anything.

    Without both hashes the peer does not do NAT traversal, and nothing is learnt; nor if we do not.
    """
    path, header = sa.path, received.message.header
    sources, destinations = _hashes(received.message)
    if not sources or not destinations or not sa.connection.nat_traversal:
        return False
    before = (path.nat_local, path.nat_remote, path.encap)
    path.natt, path.suspected, path.faked = True, False, sa.connection.encap
    path.nat_local = nat_detection_hash(header.spi_i, header.spi_r, *received.dst) not in destinations
    # A sender that does not know its own address gives several; one that fits is enough.
    path.nat_remote = nat_detection_hash(header.spi_i, header.spi_r, *received.src) not in sources
    return before != (path.nat_local, path.nat_remote, path.encap)


def seen_as(received: Inbound) -> bytes | None:
    """The hash of the address that the peer sends to: it changes when a NAT's mapping does (RFC 4555 3.8)."""
    notify = received.message.notify(_DESTINATION)
    return None if notify is None else notify.data


def _hashes(message: Message) -> tuple[list[bytes], list[bytes]]:
    """Those of the sources and those of the destination."""
    return (
        [notify.data for notify in message.notifies(_SOURCE)],
        [notify.data for notify in message.notifies(_DESTINATION)],
    )
