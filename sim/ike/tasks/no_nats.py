"""NO_NATS_ALLOWED: without NAT traversal nobody may change the addresses on the way (RFC 4555 3.9, 4.2.6).

    HDR, SK {..., N(NO_NATS_ALLOWED)}  -->            the first IKE_AUTH, and all that can change addresses
                                       <--  HDR, SK {N(UNEXPECTED_NAT_DETECTED)}    to where it came from

The notification holds the addresses of the IP header as they were sent; whoever receives other ones refuses.
The sender tries again, in case that somebody has changed a single packet: an INFORMATIONAL exchange at once,
the set-up from a new IKE_SA_INIT after the waits between retransmissions; each as often as a request leaves.

     0                   1                   2                   3
    +---------------------------------------------------------------+
    |              source IP address (4 or 16 octets)               |
    |           destination IP address (4 or 16 octets)             |
    |     source port (2 octets)    |   destination port (2)        |
    +---------------------------------------------------------------+
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.constants import NotifyType
from sim.ike.errors import PeerError, RefusedError
from sim.ike.events import Reason
from sim.ike.message import Message
from sim.ike.payloads import NotifyPayload
from sim.ike.tasks.base import Inbound, Step, Task
from sim.wire.address import Sock, format_sock

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa

_ADDRESSES = frozenset(
    {
        NotifyType.UPDATE_SA_ADDRESSES,
        NotifyType.ADDITIONAL_IP4_ADDRESS,
        NotifyType.ADDITIONAL_IP6_ADDRESS,
        NotifyType.NO_ADDITIONAL_ADDRESSES,
    }
)


class RefuseNats(Task):
    """The responder's part in IKE_AUTH, behind whatever authenticates: PeerError where there is a NAT."""

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        announced = received.message.notify(NotifyType.MOBIKE_SUPPORTED) is not None
        problem = unexpected_nat(received) if sa.connection.mobike and announced else ""
        if problem:
            raise PeerError(NotifyType.UNEXPECTED_NAT_DETECTED, problem)
        return Step.DONE


def prohibition(sa: IkeSa) -> list[NotifyPayload]:
    """What goes with everything that can change addresses, unless both sides do NAT traversal."""
    if sa.path.natt:
        return []
    return [NotifyPayload(NotifyType.NO_NATS_ALLOWED, addresses_octets(sa.path.local, sa.path.remote))]


def addresses_octets(src: Sock, dst: Sock) -> bytes:
    """The notification's data: 12 octets for IPv4, 36 for IPv6."""
    return src[0] + dst[0] + src[1].to_bytes(2, "big") + dst[1].to_bytes(2, "big")


def unexpected_nat(received: Inbound) -> str:
    """How the sender's addresses differ from those that the packet came with; "" if there is no NAT."""
    notify = received.message.notify(NotifyType.NO_NATS_ALLOWED)
    if notify is None or notify.data == addresses_octets(received.src, received.dst):
        return ""
    seen = f"from {format_sock(received.src)} to {format_sock(received.dst)}"
    return (
        f"the peer allows no NAT, and there is one: a message came {seen}, "
        f"but was sent {_told(notify.data)} (UNEXPECTED_NAT_DETECTED)"
    )


def _told(data: bytes) -> str:
    size = {12: 4, 36: 16}.get(len(data))
    if size is None:
        return f"with {len(data)} octets about its addresses"
    ports = [int.from_bytes(data[at : at + 2], "big") for at in (2 * size, 2 * size + 2)]
    src, dst = (data[:size], ports[0]), (data[size : 2 * size], ports[1])
    return f"from {format_sock(src)} to {format_sock(dst)}"


def names_addresses(message: Message) -> bool:
    """Whether a request is of those that can change addresses, and must hold NO_NATS_ALLOWED."""
    return any(message.notify(kind) is not None for kind in _ADDRESSES)


def refused(received: Inbound) -> bool:
    """Whether the peer's response says that it sees a NAT."""
    return received.message.notify(NotifyType.UNEXPECTED_NAT_DETECTED) is not None


def may_try_again(sa: IkeSa, tries: int) -> bool:
    """Whether to repeat what the peer has refused `tries` times."""
    return tries < len(sa.connection.retransmit.delays)


def wait_for_set_up(sa: IkeSa, error: RefusedError) -> int | None:
    """When to set up anew what the peer has refused because of a NAT, in ns from now; None for not at all."""
    if error.reason is not Reason.UNEXPECTED_NAT_DETECTED or not may_try_again(sa, sa.nat_refusals + 1):
        return None
    return sa.connection.retransmit.delays[sa.nat_refusals]
