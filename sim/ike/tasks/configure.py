"""Virtual IPs: the initiator asks for addresses, the responder leases them (RFC 7296 2.19, 3.15).

    HDR, SK {IDi, [IDr,] AUTH, CP(CFG_REQUEST), SAi2, TSi, TSr}  -->
                                  <--  HDR, SK {IDr, AUTH, CP(CFG_REPLY), SAr2, TSi, TSr}

Who got no address may ask again with a later Child SA. What goes wrong concerns the Child SA alone
(RFC 7296 3.15.4); what is asked for outside of these exchanges is answered, but never with an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.configuration import (
    Configuration,
    asked_for,
    assign,
    configuration_of,
    read_reply,
    reply_with,
    request_for,
)
from sim.ike.constants import ConfigType, NotifyType
from sim.ike.errors import PeerError
from sim.ike.payloads import CpPayload, SaPayload
from sim.ike.pool import Pool
from sim.ike.tasks.base import Inbound, Outgoing, Step, Task
from sim.wire.address import format_address

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


class RequestConfiguration(Task):
    """Ask for the virtual IPs of the connection, rather those that it had before."""

    def __init__(self) -> None:
        self._wanted: list[bytes] = []

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if sa.lacks_vips:
            self._wanted = _wanted(sa)
            out.add(request_for(self._wanted))

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        reply = configuration_of(received.message, ConfigType.CFG_REPLY)
        if reply is not None and self._wanted and sa.lacks_vips:
            configuration = read_reply(reply, self._wanted, sa.ctx.local)
            if configuration.vips:
                assign(sa, configuration)
        return Step.DONE


class AssignConfiguration(Task):
    """Lease the addresses that the peer asks for; `sa.cp_problem` is why it gets no Child SA."""

    def __init__(self) -> None:
        self._request: CpPayload | None = None
        self._alone = False

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        self._request = configuration_of(received.message, ConfigType.CFG_REQUEST)
        self._alone = received.message.find(SaPayload) is None
        asked = asked_for(self._request.attributes) if self._request is not None else []
        sa.cp_problem = None
        if sa.configuration is not None:
            return Step.DONE
        if asked:
            leases = [lease for wanted in asked if (lease := _lease(sa, wanted)) is not None]
            if leases:
                assign(sa, _configuration(leases))
            else:
                sa.cp_problem = PeerError(NotifyType.INTERNAL_ADDRESS_FAILURE, _none_left(sa, asked))
        elif sa.connection.pools:
            text = f"{sa.remote_id} asked for no virtual IP, but everybody gets one here"
            sa.cp_problem = PeerError(NotifyType.FAILED_CP_REQUIRED, text)
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        if self._request is not None and sa.cp_problem is None:
            out.add(reply_with(sa.configuration, self._request.attributes))
        elif self._alone and sa.cp_problem is not None and self._request is not None:
            out.add(sa.cp_problem.payload())


class RespondConfiguration(Task):
    """In an INFORMATIONAL exchange we say who we are, and take no settings (RFC 7296 3.15.1)."""

    def __init__(self) -> None:
        self._replies: list[CpPayload] = []

    def process(self, sa: IkeSa, received: Inbound, now: int) -> Step:
        request = configuration_of(received.message, ConfigType.CFG_REQUEST)
        if request is not None:
            self._replies.append(reply_with(None, request.attributes))
        if configuration_of(received.message, ConfigType.CFG_SET) is not None:
            self._replies.append(CpPayload(ConfigType.CFG_ACK))
        return Step.DONE

    def build(self, sa: IkeSa, out: Outgoing, now: int) -> None:
        out.add(*self._replies)


def _wanted(sa: IkeSa) -> list[bytes]:
    """The configured addresses, and where any will do the one that this connection had last."""
    before = sa.ctx.remembered.get(sa.connection.name, ())
    wanted: list[bytes] = []
    for vip in sa.connection.vips:
        again = next((old for old in before if len(old) == len(vip) and old not in wanted), None)
        wanted.append(vip if any(vip) or again is None else again)
    return wanted


def _lease(sa: IkeSa, wanted: bytes) -> tuple[Pool, bytes] | None:
    assert sa.remote_id is not None  # it is authenticated
    identity, pools, names = sa.remote_id.folded, sa.ctx.pools, sa.connection.pools
    before = sa.ctx.virtual.get((sa.connection.name, wanted))
    if before is not None and before is not sa and before.path.remote == sa.path.remote:
        # Both are of one host: the new IKE SA will replace the old one (make before break).
        pool = pools.of(names, wanted)
        if pool is not None and pool.holder(wanted) == identity:
            pool.share(wanted)
            return pool, wanted
    return pools.acquire(names, identity, wanted)


def _configuration(leases: list[tuple[Pool, bytes]]) -> Configuration:
    pools, vips = zip(*leases, strict=True)
    return Configuration(False, vips, pools=pools)


def _none_left(sa: IkeSa, asked: list[bytes]) -> str:
    if not sa.connection.pools:
        return f"{sa.remote_id} asked for a virtual IP, but there are no pools"
    what = ", ".join(format_address(wanted) for wanted in asked)
    return (
        f"no virtual IP is left for {sa.remote_id} in {', '.join(sa.connection.pools)}: it asked for {what}"
    )
