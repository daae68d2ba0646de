"""Which addresses an IKE SA may use, on either side (RFC 4555 3.4 to 3.6).

An address that does not lead to the peer is none, nor is one inside the networks that the tunnels protect:
what is sent there is for the tunnel, which cannot carry itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.wire.selector import Selector

if TYPE_CHECKING:
    from sim.ike.config import ConnectionConfig
    from sim.ike.context import Context
    from sim.ike.sa import IkeSa


def usable(sa: IkeSa, remote: bytes = b"") -> list[bytes]:
    """This host's addresses that the IKE SA may use to an address of its peer, the preferred one first.

    Without `remote`, to where the peer is now.
    """
    remote = remote or sa.path.remote[0]
    allowed = _outside(sa)
    towards = [address for address in sa.ctx.towards(remote) if address in allowed]
    return [address for address in towards if may_use(sa.ctx, sa.connection, address, remote)]


def worth_telling(sa: IkeSa) -> list[bytes]:
    """This host's addresses at which the peer may look for us.

    Of the family in use those that lead to the peer; for the other one it may have an address as well.
    """
    remote = sa.path.remote[0]
    return [own for own in _outside(sa) if len(own) != len(remote) or sa.ctx.leads(own, remote)]


def may_use(ctx: Context, config: ConnectionConfig, local: bytes, remote: bytes) -> bool:
    """Whether an address of ours leads to one of the peer's, and the connection may use it."""
    return _allowed(config, local) and len(local) == len(remote) and ctx.leads(local, remote)


def peer_may_use(sa: IkeSa, address: bytes) -> bool:
    """Whether we go along with the peer to another address: not into the network that we reach through it."""
    nets = [selector for child in sa.connection.children for selector in child.remote_ts]
    return not _protected(address, sa.path.remote[0], nets)


def peers(sa: IkeSa) -> list[bytes]:
    """Where the peer may be found, the present address first.

    Then where its last announcement came from, the addresses in that, and those configured: a gateway behind
    a NAT cannot know by which addresses it is reached.
    """
    others = (sa.announced_from, *sa.peer_addresses, *sa.connection.remote_addrs)
    given = filter(None, others)
    known = [address for address in given if acceptable(sa, address) and peer_may_use(sa, address)]
    return list(dict.fromkeys((sa.path.remote[0], *known)))


def acceptable(sa: IkeSa, address: bytes) -> bool:
    """A peer is never at one of our own addresses, nor at none or many (RFC 4555 3.5: local policy)."""
    multicast = address[0] >= 0xE0 if len(address) == 4 else address[0] == 0xFF
    return any(address) and not multicast and address not in sa.ctx.local


def _outside(sa: IkeSa) -> list[bytes]:
    """Our addresses that the connection allows, without those in the networks that it protects."""
    nets = [selector for child in sa.connection.children for selector in child.local_ts]
    allowed = [address for address in sa.ctx.local if _allowed(sa.connection, address)]
    return [address for address in allowed if not _protected(address, sa.path.local[0], nets)]


def _allowed(config: ConnectionConfig, local: bytes) -> bool:
    return not config.local_addrs or local in config.local_addrs


def _protected(address: bytes, present: bytes, nets: Iterable[Selector]) -> bool:
    """Whether an address lies in a protected network, unlike the present one of the same side.

    A selector of one address alone is no network: a host may protect its own packets, and move.
    """
    return any(net.start != net.end and _inside(address, net) and not _inside(present, net) for net in nets)


def _inside(address: bytes, net: Selector) -> bool:
    return len(address) == len(net.start) and net.start <= address <= net.end
