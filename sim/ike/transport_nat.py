"""Transport mode through a NAT: each side's selectors have the addresses that it sees (RFC 7296 2.23.1).

    IP1 initiator --- NAT IPN1 ------------ IPN2 NAT --- responder IP2
    USE_TRANSPORT_MODE, TSi = IP1, TSr = IPN2  -->            looks its policies up for IPN1 === IP2
                                               <--  USE_TRANSPORT_MODE, TSi = IP1, TSr = IPN2
    protects IP1 === IPN2                                     protects IPN1 === IP2

Each side names exactly one address; where that does not work out, tunnel mode results. What another client
behind the same NAT gets that wants the same (RFC 3948 5.2), `shared_nat` says. Checksums are the data plane's
(RFC 3948 3.1.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.ike.config import ChildConfig, SharedNat
from sim.ike.constants import NotifyType
from sim.ike.errors import PeerError
from sim.ike.events import NatShared
from sim.ike.message import Message
from sim.wire.address import format_address
from sim.wire.esp import Mode
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.child import ChildSa
    from sim.ike.sa import IkeSa


def one_host(selectors: Iterable[object]) -> bool:
    """Whether all of them, and there are some, are for one and the same address."""
    found = list(selectors)
    return bool(found) and all(
        isinstance(selector, Selector) and selector.start == selector.end == _start(found[0])
        for selector in found
    )


def with_address(selectors: Iterable[object], address: bytes) -> tuple[Selector, ...]:
    """The same protocols and ports at another address."""
    return tuple(
        Selector.host(address, selector.protocol, selector.ports)
        for selector in selectors
        if isinstance(selector, Selector)
    )


def asks_through_nat(sa: IkeSa, message: Message) -> bool:
    """Whether the peer asks for transport mode where a NAT is in the way."""
    return sa.path.encap and message.notify(NotifyType.USE_TRANSPORT_MODE) is not None


def admits(sa: IkeSa, config: ChildConfig, remote: tuple[Selector, ...], local: tuple[Selector, ...]) -> bool:
    """Whether a peer may have transport mode, though another one may have it for the same traffic.

    PeerError if it may have nothing at all.
    """
    rival = _rival(sa, remote, local)
    if rival is None:
        return True
    both = f"{sa.remote_id} and {rival.ike.remote_id} are behind one NAT, {format_address(remote[0].start)}"
    if config.shared_nat is SharedNat.REFUSE:
        text = f"{both}, and answers to them could not be told apart (RFC 3948 5.2; shared_nat: refuse)"
        raise PeerError(NotifyType.TS_UNACCEPTABLE, text)
    stolen = config.shared_nat is SharedNat.NEWEST
    name = sa.remote_id if config.shared_nat is SharedNat.TUNNEL else rival.ike.remote_id
    text = f"{both}: {_OUTCOMES[config.shared_nat].format(name)}"
    sa.ctx.emit(NatShared((rival.ike if stolen else sa).connection.name, text, stolen))
    return config.shared_nat is not SharedNat.TUNNEL


_OUTCOMES = {
    SharedNat.TUNNEL: "{} gets tunnel mode, in which its private address tells it from the other",
    SharedNat.NEWEST: "both have the same traffic selectors, so all that leaves takes the newer SA, "
    "and {} hears nothing any more (RFC 3948 5.2)",
    SharedNat.TRACK: "answers leave by the SA through which the question came; what has the same ports as "
    "something of {} is dropped",
}


def is_tracked(child: ChildSa) -> bool:
    """Whether answers are told apart by who asked."""
    natted = child.mode is Mode.TRANSPORT and child.ike.path.encap and not child.initiator
    return natted and child.config.shared_nat is SharedNat.TRACK


def _rival(sa: IkeSa, remote: tuple[Selector, ...], local: tuple[Selector, ...]) -> ChildSa | None:
    """What another peer at this address has in transport mode for the same traffic."""
    for child in sa.ctx.behind_nat.get(remote[0].start, ()):
        same = _overlap(child.remote_ts, remote) and _overlap(child.local_ts, local)
        if same and child.ike.remote_id != sa.remote_id:
            return child
    return None


def original(
    child: ChildSa, remote: tuple[Selector, ...], local: tuple[Selector, ...]
) -> tuple[bytes, bytes] | None:
    """What the peer had for its address and for ours, by the selectors that it gave; None without a NAT."""
    if child.mode is not Mode.TRANSPORT or not child.ike.path.encap:
        return None
    return remote[0].start, local[0].start


def inherit(child: ChildSa, replaced: ChildSa | None) -> None:
    """Who rekeys is not told the peer's addresses again."""
    if child.original is None and replaced is not None and child.mode is Mode.TRANSPORT:
        child.original = replaced.original


def note(child: ChildSa) -> None:
    """Remember who has transport mode at the address of a NAT."""
    if child.mode is Mode.TRANSPORT and child.ike.path.encap:
        child.ike.ctx.behind_nat.setdefault(child.remote_ts[0].start, []).append(child)


def forget(child: ChildSa) -> None:
    children = child.ike.ctx.behind_nat.get(child.remote_ts[0].start, [])
    if child in children:
        children.remove(child)
        if not children:
            del child.ike.ctx.behind_nat[child.remote_ts[0].start]


def _start(selector: object) -> bytes:
    return selector.start if isinstance(selector, Selector) else b""


def _overlap(some: Iterable[Selector], others: Iterable[Selector]) -> bool:
    return any(one.intersect(other) is not None for one in some for other in others)
