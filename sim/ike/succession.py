"""One IKE SA takes the place of another: its keys, and what it inherits (RFC 7296 2.8, 2.18)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.ike.collision import Nonces
from sim.ike.configuration import inherit_configuration
from sim.ike.constants import ProtocolId
from sim.ike.exchanges import State
from sim.ike.keymat import ike_keys, rekey_skeyseed
from sim.ike.message import Message
from sim.ike.payloads import DeletePayload
from sim.ike.proposals import Proposal, ike_suite
from sim.ike.reports import ike_up

if TYPE_CHECKING:
    from sim.ike.sa import IkeSa


def succeed(
    old: IkeSa,
    initiator: bool,
    spis: tuple[bytes, bytes],
    chosen: Proposal,
    nonces: Nonces,
    shared: bytes,
    now: int,
    additional: bytes = b"",
) -> IkeSa:
    """A new IKE SA with keys from the old one's SK_d; `spis` and `nonces` the initiator's first.

    It stands by, without Child SAs, until it inherits. If nothing comes of it, it vanishes after the time
    that a half-open IKE SA is given.
    """
    suite = ike_suite(chosen)
    seed = rekey_skeyseed(old.suite.prf, old.keys.sk_d, shared, *nonces, additional)
    new = old.make_successor(initiator, spis, now)
    new.nonce_i, new.nonce_r = nonces
    new.derive(chosen, suite, ike_keys(suite, seed, *nonces, *spis))
    new.predecessor = old
    new.stand_by(now)
    return new


def inherit(new: IkeSa, old: IkeSa, now: int) -> None:
    """The new IKE SA takes over Child SAs, virtual IPs, waiting requests, and the peer's part of the path."""
    if not new.standby or new.state is not State.ESTABLISHED or old.state is not State.ESTABLISHED:
        return
    for child in [*old.children.values(), *(child for child, _, _ in old.retired.values())]:
        child.ike = new
    new.children.update(old.children)
    new.retired.update(old.retired)
    new.wanted.extend(old.wanted)
    old.heir, new.predecessor = new, None
    old.children.clear()
    old.retired.clear()
    old.wanted.clear()
    inherit_configuration(new, old)
    new.take_over(now)
    new.ctx.emit(ike_up(new, replaces=old.ike_id))
    old.hand_over(now)
    new.requests.adopt(old.requests, now)


def promote(new: IkeSa, received: Message, now: int) -> None:
    """The peer uses an IKE SA that stands by, for more than deleting it: it has decided, and knows why."""
    deletes = any(delete.protocol == ProtocolId.IKE for delete in received.find_all(DeletePayload))
    if new.predecessor is not None and not deletes:
        inherit(new, new.predecessor, now)


def concede(sa: IkeSa, now: int) -> None:
    """The peer deletes an IKE SA that both sides are rekeying: its successor is the one that stays."""
    if sa.rekeying_ike is not None and sa.rekeying_ike.rival is not None:
        successor = sa.rekeying_ike.rival.sa
        if successor is not None:
            inherit(successor, sa, now)
