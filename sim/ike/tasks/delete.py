"""Deleting IKE and Child SAs (RFC 7296 1.4.1, 3.11, and 2.25 where deletions cross).

HDR, SK {D}  -->
             <--  HDR, SK {[D]}     the other half of each pair, unless our own Delete is on its way
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.child import ChildSa, spi_octets
from sim.ike.config import ChildConfig
from sim.ike.constants import NotifyType, ProtocolId, name_of
from sim.ike.credentials import CLAIMS
from sim.ike.errors import reason_of
from sim.ike.events import Reason
from sim.ike.exchanges import REFUSALS, first_error
from sim.ike.payloads import DeletePayload, NotifyPayload
from sim.ike.recovery import restart_children
from sim.ike.succession import concede
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.ike.tasks.child_initiate import InitiateChild
from sim.wire.address import format_sock

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


_ENDINGS = (NotifyType.UNACCEPTABLE_ADDRESSES, NotifyType.UNEXPECTED_NAT_DETECTED)
"""Why a peer may delete an IKE SA, though the error alone does not end one."""


class DeleteIke(Task):
    """The last request of an IKE SA that is down already; notifications say why."""

    alone = True

    def __init__(self, notifies: tuple[NotifyPayload, ...] = ()) -> None:
        self._notifies = notifies

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(*self._notifies, DeletePayload(ProtocolId.IKE))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        sa.end(sa.reason, sa.text, now)
        return Step.DONE


class DeleteChild(Task):
    """Delete one Child SA, which receives until the peer has confirmed."""

    def __init__(self, child: ChildSa, reason: Reason, text: str) -> None:
        self._child, self._reason, self._text = child, reason, text
        child.deleting = True

    def needed(self, sa: IkeSa) -> bool:
        return self._child.up

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        self._child.delete_sent = True
        out.add(DeletePayload(self._child.protocol, (spi_octets(self._child.spi_in),)))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        # The answer names the other half, or nothing if deletions crossed; both mean that it is gone.
        sa.retire_child(self._child, self._reason, self._text, now)
        return Step.DONE


class RespondDelete(Task):
    """Delete what the peer has deleted; an error notification says why."""

    def __init__(self) -> None:
        self._halves: dict[ProtocolId, list[bytes]] = {}
        self._closed: list[ChildConfig] = []

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        reason, text = _cause(sa, received)
        self._ends = reason is not Reason.DELETED_BY_PEER
        for delete in received.message.find_all(DeletePayload):
            if delete.protocol == ProtocolId.IKE:
                self._ends = True
            elif delete.protocol in (ProtocolId.AH, ProtocolId.ESP):
                self._delete_children(sa, delete, reason, text, now)
        self._reason, self._text = reason, text
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._ends:
            concede(sa, now)
            out.then.append(lambda then: sa.end(self._reason, self._text, then))
        else:
            out.add(*[DeletePayload(protocol, tuple(spis)) for protocol, spis in self._halves.items()])
        if self._closed and not self._ends:
            out.then.append(lambda then: restart_children(sa, self._closed, self._reason, then))

    def _delete_children(self, sa: IkeSa, delete: DeletePayload, reason: Reason, text: str, now: int) -> None:
        gone = {int.from_bytes(spi, "big") for spi in delete.spis}
        for task in sa.requests.tasks(InitiateChild):
            task.deleted |= gone
        of_protocol = [c for c in sa.children.values() if c.protocol == delete.protocol]
        for child in [c for c in of_protocol if c.spi_out in gone]:
            if not child.delete_sent:
                self._halves.setdefault(child.protocol, []).append(spi_octets(child.spi_in))
            if child.replaced and reason is Reason.DELETED_BY_PEER:
                sa.retire_child(child, Reason.REKEYED, "rekeyed by the peer", now)
            else:
                sa.remove_child(child, reason, text)
                if not child.is_bound:
                    self._closed.append(child.config)


def _cause(sa: IkeSa, received: Inbound) -> tuple[Reason, str]:
    if sa.refusal is not None:
        return sa.refusal  # the peer only takes note of it
    error = first_error(received.message)
    peer = format_sock(sa.path.remote)
    if error is not None and error.type in _ENDINGS and received.message.find(DeletePayload) is not None:
        return reason_of(error.type), f"{peer} deleted it: {name_of(NotifyType, error.type)}"
    if error is None or error.type not in REFUSALS:
        return Reason.DELETED_BY_PEER, f"{peer} deleted it"
    name = name_of(NotifyType, error.type)
    if error.type == NotifyType.AUTHENTICATION_FAILED:
        claim = CLAIMS[sa.connection.local.method]
        return reason_of(error.type), f"{peer} rejected {claim} {sa.local_id}: {name}"
    return reason_of(error.type), f"{peer} closed the IKE SA: {name}"
