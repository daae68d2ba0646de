"""What both sides of a Child SA's negotiation share: selectors, words, the result (RFC 7296 2.9, 2.17)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeGuard

from sim.ike.algorithms import KEY_EXCHANGES
from sim.ike.child import ChildSa
from sim.ike.config import ChildConfig
from sim.ike.constants import ExchangeType, NotifyType, PayloadType, ProtocolId
from sim.ike.keymat import child_keys
from sim.ike.message import Message
from sim.ike.path import is_private
from sim.ike.payloads import NotifyPayload, TsPayload
from sim.ike.proposals import Proposal, esp_suite, format_proposal
from sim.wire.esp import Mode
from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.identity import Identity
    from sim.ike.sa import IkeSa
    from sim.ike.selectors import WireSelector

ANY_ADDRESS = {4: Selector(bytes(4), b"\xff" * 4), 16: Selector(bytes(16), b"\xff" * 16)}
"""What stands for a virtual IP that is still to be assigned, by the octets of an address."""

NO_TFC = NotifyPayload(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED)
"""Padding behind an inner packet is cut off in tunnel mode only (RFC 7296 1.3.1)."""

FRAGMENTS_ALSO = NotifyPayload(NotifyType.NON_FIRST_FRAGMENTS_ALSO)

PacketSelectors = tuple[Selector, Selector]
"""The selectors of the packet that asked for a Child SA: of this side, of the other side."""


def local_selectors(sa: IkeSa, config: ChildConfig) -> tuple[Selector, ...]:
    if config.local_ts:
        return config.local_ts
    if sa.lacks_vips:
        return tuple([ANY_ADDRESS[size] for size in dict.fromkeys(map(len, sa.connection.vips))])
    configuration = sa.configuration
    if configuration is not None and configuration.ours:
        return configuration.selectors
    return (Selector.host(sa.path.local[0]),)


def remote_selectors(sa: IkeSa, config: ChildConfig) -> tuple[Selector, ...]:
    if config.remote_ts:
        return config.remote_ts
    configuration = sa.configuration
    if configuration is not None and not configuration.ours:
        return configuration.selectors
    return (Selector.host(sa.path.remote[0]),)


def natted_selectors(sa: IkeSa, config: ChildConfig, offered: Iterable[WireSelector]) -> tuple[Selector, ...]:
    """The private address that a peer behind a NAT calls its own, unless another peer does (RFC 3948 5.1)."""
    if config.remote_ts or sa.connection.pools or not sa.path.nat_remote:
        return ()
    for selector in offered:
        if is_inner_host(selector) and other_holder(sa, selector) is None:
            return (Selector.host(selector.start),)
    return ()


def is_inner_host(selector: object) -> TypeGuard[Selector]:
    """Whether it is for one private address, which another peer behind another NAT may have as well."""
    return isinstance(selector, Selector) and selector.start == selector.end and is_private(selector.start)


def other_holder(sa: IkeSa, selector: Selector) -> ChildSa | None:
    """What another peer has for the private address of a peer behind a NAT (RFC 3948 5.1)."""
    holder = sa.ctx.inner_hosts.get(selector.start) if sa.path.nat_remote else None
    return None if holder is None or _same(holder.ike.remote_id, sa.remote_id) else holder


def natted_ah(sa: IkeSa, config: ChildConfig) -> str:
    """Why a Child SA with AH cannot be on the path at hand, or nothing.

    AH protects the addresses that a NAT changes, and nothing like UDP encapsulation of ESP exists for it (RFC
    3948 1), so it is refused where NAT detection has found one, and where encapsulation is forced.
    """
    path = sa.path
    if config.protocol is not ProtocolId.AH or not path.encap:
        return ""
    if path.nat_local or path.nat_remote:
        whose = "this side" if path.nat_local else "the peer"
        return f"; {whose} is behind a NAT, which changes addresses that AH protects: only ESP passes"
    return "; encapsulation in UDP is asked for, which AH does not have: only ESP does"


def refuses_padding(message: Message) -> bool:
    """Whether the peer takes no TFC padding; it may still send some itself (RFC 7296 1.3.1)."""
    return message.notify(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED) is not None


def takes_fragments(config: ChildConfig, mode: Mode, message: Message) -> bool:
    """Whether both want later fragments in an SA whose selectors name ports (RFC 7296 1.3.1)."""
    told = message.notify(NotifyType.NON_FIRST_FRAGMENTS_ALSO) is not None
    return config.fragments and told and mode is Mode.TUNNEL


def ts_of(message: Message, role: PayloadType) -> tuple[WireSelector, ...]:
    payload = message.of_type(role)
    return payload.selectors if isinstance(payload, TsPayload) else ()


def proposals_for(exchange: ExchangeType, proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """What is on offer in this exchange: IKE_AUTH has no key exchange for the Child SA (RFC 7296 1.2)."""
    if exchange != ExchangeType.IKE_AUTH:
        return tuple(proposals)
    return tuple([p.without(*KEY_EXCHANGES) for p in proposals])


def join(items: Iterable[object]) -> str:
    return ", ".join(map(str, items)) or "nothing"


def suites(proposals: Iterable[Proposal]) -> str:
    return join(
        f"AH {format_proposal(p)}" if p.protocol == ProtocolId.AH else format_proposal(p) for p in proposals
    )


def finish(
    sa: IkeSa,
    config: ChildConfig,
    initiator: bool,
    mode: Mode,
    spis: tuple[int, int],
    chosen: Proposal,
    nonces: tuple[bytes, bytes],
    shared: bytes,
    selectors: tuple[tuple[Selector, ...], tuple[Selector, ...]],
    additional: bytes = b"",
) -> ChildSa:
    """The Child SA with its keys; `spis` and `selectors` ours first, `nonces` the initiator's first."""
    suite = esp_suite(chosen)
    keys = child_keys(sa.suite.prf, sa.keys.sk_d, suite, *nonces, shared, additional)
    to_responder, to_initiator = (keys.encr_i, keys.integ_i), (keys.encr_r, keys.integ_r)
    return ChildSa(
        ike=sa,
        config=config,
        initiator=initiator,
        mode=mode,
        spi_in=spis[0],
        spi_out=spis[1],
        suite=suite,
        keys_in=to_initiator if initiator else to_responder,
        keys_out=to_responder if initiator else to_initiator,
        local_ts=selectors[0],
        remote_ts=selectors[1],
    )


def _same(one: Identity | None, other: Identity | None) -> bool:
    return one is not None and other is not None and one.folded == other.folded
