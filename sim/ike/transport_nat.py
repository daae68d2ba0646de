"""Transport mode through a NAT: each side's selectors have the addresses that it sees (RFC 7296 2.23.1).

    IP1 initiator --- NAT IPN1 ------------ IPN2 NAT --- responder IP2
    USE_TRANSPORT_MODE, TSi = IP1, TSr = IPN2  -->            looks its policies up for IPN1 === IP2
                                               <--  USE_TRANSPORT_MODE, TSi = IP1, TSr = IPN2
    protects IP1 === IPN2                                     protects IPN1 === IP2

Each side names exactly one address. Where that does not work out, or another client behind the same NAT has
such a Child SA already (RFC 3948 5.2), tunnel mode results. Checksums are the data plane's (RFC 3948 3.1.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.ike.constants import NotifyType
from sim.ike.message import Message
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


def is_taken(sa: IkeSa, remote: tuple[Selector, ...], local: tuple[Selector, ...]) -> bool:
    """Whether another peer at this address has a Child SA in transport mode for the same traffic."""
    others = sa.ctx.behind_nat.get(remote[0].start, ())
    return any(
        child.ike.remote_id != sa.remote_id
        and _overlap(child.remote_ts, remote)
        and _overlap(child.local_ts, local)
        for child in others
    )


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
