"""What it takes to make one Child SA: the frozen order that the control plane hands to the engine."""

from __future__ import annotations

from sim.crypto.suites import Encryption, Integrity
from sim.ipsec.policy import PROTECT_PRIORITY
from sim.wire.address import Sock
from sim.wire.aggfrag import Requirement
from sim.wire.esp import Mode
from sim.wire.handling import DEFAULT, Handling
from sim.wire.ip import Protocol
from sim.wire.iptfs import DEFAULT_IPTFS, Iptfs
from sim.wire.outer_fields import DEFAULT_FIELDS, OuterFields
from sim.wire.resource import Share
from sim.wire.selector import Selector
from sim.wire.value import value


@value
class ChildSpec:
    """A pair of SAs, as negotiated.

    `keys_in` and `keys_out` are (encryption key with its salt, integrity key; empty for an AEAD).
    `local_ts` and `remote_ts` are the near and the far side of both SAs. With `encap` ESP travels in UDP
    between the ports of `local` and `remote`, which are IKE's; without, the ports mean nothing.
    `copy_df` copies the inner DF bit to an outer IPv4 header, otherwise `df` is what that header gets
    (RFC 4301 8.1: copy, set, clear). `outer_fields` is for the other fields of tunnel mode. `soft_limit` and
    `hard_limit` are how many octets and packets of inner traffic each of the SAs may carry, 0 for any number.
    `cpi_in` and `cpi_out` are what the ends inflate under with IPComp (RFC 3173), 0 without it. `share` is
    the part of this pair where there are several for the same traffic (RFC 9611). Of mode IPTFS `iptfs` are
    this side's settings, `aggfrag` what the peer demands.
    """

    connection: str
    child: str
    spi_in: int
    spi_out: int
    mode: Mode
    encryption: Encryption
    integrity: Integrity | None
    keys_in: tuple[bytes, bytes]
    keys_out: tuple[bytes, bytes]
    local: Sock
    remote: Sock
    encap: bool
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    replay_window: int = 32
    esn: bool = False
    copy_df: bool = True
    df: bool = False
    outer_fields: OuterFields = DEFAULT_FIELDS

    tracked: bool = False
    """Whether answers leave by the SA through which the question came, of all with these selectors."""
    original: tuple[bytes, bytes] | None = None
    """In transport mode through a NAT: what the peer has for its own address and for ours, if it said so."""
    soft_limit: tuple[int, int] = (0, 0)
    hard_limit: tuple[int, int] = (0, 0)
    cpi_in: int = 0
    cpi_out: int = 0
    share: Share | None = None

    protocol: Protocol = Protocol.ESP
    """ESP or AH. AH's `encryption` is NULL, its encryption keys are empty, and it knows no `encap`."""
    handling: Handling = DEFAULT

    fragments: bool = False
    """Whether later fragments, which show no ports, go where their first one goes (RFC 4301 7.3)."""
    priority: int = PROTECT_PRIORITY
    """That of its policy: see `sim.ipsec.policy`."""
    iptfs: Iptfs = DEFAULT_IPTFS
    aggfrag: Requirement = Requirement.NONE

    @property
    def is_metered(self) -> bool:
        return any((*self.soft_limit, *self.hard_limit))
