"""What an IKE endpoint is told: frozen values, durations in ns, names as in strongSwan's swanctl.conf.

RFC 7296 2.4 (retransmission, liveness), 2.6 (cookies), 2.23 (NAT traversal), RFC 4555 (mobility).
Who proves what and how is in `credentials`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from sim.ike.constants import ProtocolId
from sim.ike.credentials import LOCAL_PSK, REMOTE_PSK, LocalAuth, Method, RemoteAuth
from sim.units import NS_PER_S
from sim.wire.esp import Mode
from sim.wire.handling import DEFAULT, Handling
from sim.wire.iptfs import DEFAULT_IPTFS, Iptfs
from sim.wire.outer_fields import DEFAULT_FIELDS, OuterFields
from sim.wire.selector import Selector
from sim.wire.value import quick

if TYPE_CHECKING:
    from sim.ike.identity import Identity
    from sim.ike.pool import PoolConfig
    from sim.ike.proposals import Proposal


IKE_PORT = 500
DEFAULT_EPOCH = 1_767_225_600 * NS_PER_S
"""2026-01-01: simulations have a date of their own."""


@quick
class StartAction(Enum):
    """What happens to a Child SA when its connection is loaded, when the peer closes it, or is dead.

    The driver acts on what is loaded and on traps, the endpoint sets up again.
    """

    NONE = "none"
    TRAP = "trap"
    START = "start"


@quick
class Unique(Enum):
    """What a responder does with the IKE SAs that it has with a peer which sets up another one.

    All but NEVER end them silently if the peer says INITIAL_CONTACT (RFC 7296 2.4). Without it NO keeps
    them, REPLACE deletes them, and KEEP refuses the new one.
    """

    NO = "no"
    NEVER = "never"
    KEEP = "keep"
    REPLACE = "replace"


@quick
class Childless(Enum):
    """Whether IKE_AUTH may, or should, do without a Child SA (RFC 6023)."""

    NEVER = "never"
    ALLOW = "allow"
    PREFER = "prefer"
    FORCE = "force"


@quick
class RedirectWhen(Enum):
    """At which point a gateway sends those who call it elsewhere (RFC 5685 3, 4)."""

    INIT = "init"
    AUTH = "auth"


@quick
class ReturnRoutability(Enum):
    """When a responder proves that the initiator answers at a new address (RFC 4555 3.7).

    BEFORE its Child SAs move there, or AFTER, so that no packet waits for the proof.
    """

    BEFORE = "before"
    AFTER = "after"
    NONE = "none"


@quick
class Fragmentation(Enum):
    """What is done with messages that are too large (RFC 7383), in the words of swanctl.conf.

    FORCE is YES here: what it adds, a first message in fragments, is IKEv1's. IKE_SA_INIT never is.
    """

    YES = "yes"
    ACCEPT = "accept"
    FORCE = "force"
    NO = "no"

    @property
    def sends(self) -> bool:
        """Whether own messages are cut; ACCEPT only takes those of the peer."""
        return self in (Fragmentation.YES, Fragmentation.FORCE)


@quick
class PerCpuSas(Enum):
    """Whether there is a Child SA for each CPU besides the one for all (RFC 9611).

    With ENCAP, ESP in UDP leaves from a port of its own for each of them.
    """

    NO = "no"
    YES = "yes"
    ENCAP = "encap"


MIN_FRAGMENT_SIZE = 200
"""Enough for headers, IV, ICV and one block of every suite, over IPv6 and UDP."""
MAX_FRAGMENT_SIZE = 65535


@dataclass(frozen=True, slots=True)
class RetransmitPolicy:
    """When a request is sent again: the waits after the first sending and after each further one.

    The last wait ends with giving up, so `len(delays)` is the number of times that a request leaves.
    A responder with MOBIKE repeats the last one until `patience` has passed (RFC 4555 3.11).
    """

    delays: tuple[int, ...]
    patience: int = 300 * NS_PER_S

    def __post_init__(self) -> None:
        if not self.delays or min(self.delays) <= 0:
            raise ValueError("a retransmission policy needs at least one wait, each longer than 0")

    @property
    def patient(self) -> tuple[int, ...]:
        """The waits of whoever has to leave its peer time to find another path."""
        last = self.delays[-1]
        return self.delays + (last,) * max(0, -(-(self.patience - sum(self.delays)) // last))

    @classmethod
    def exponential(cls, first: int, tenths: int, tries: int) -> RetransmitPolicy:
        """`first` ns, growing by `tenths`/10 each time, for `tries` retransmissions."""
        return cls(tuple(first * tenths**n // 10**n for n in range(tries + 1)))


RETRANSMIT = {
    "strongswan": RetransmitPolicy.exponential(4 * NS_PER_S, 18, 5),
    "libreswan": RetransmitPolicy(tuple(half * NS_PER_S // 2 for half in (1, 1, 2, 4, 8, 16, 32))),
    "iked": RetransmitPolicy.exponential(2 * NS_PER_S, 20, 5),
}
"""The default timers of three implementations, by the name of the implementation."""


class SharedNat(Enum):
    """What a responder does with a second client behind one NAT, in transport mode (RFC 3948 5.2)."""

    TUNNEL = "tunnel"
    """Tunnel mode, in which its private address tells it from the first."""
    REFUSE = "refuse"
    NEWEST = "newest"
    """The newest SA gets all that leaves: the first client hears nothing any more."""
    TRACK = "track"
    """Answers go where the question came from."""


@dataclass(frozen=True, slots=True)
class Shunt:
    """A policy that bypasses or discards, which nobody negotiates (RFC 4301 4.4.1); the driver installs it.

    strongSwan has it as a child whose mode is pass or drop. `priority` 0 is the default of its kind.
    """

    name: str
    bypass: bool
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """One Child SA of a connection.

    Empty selectors mean "dynamic": the IKE address of that side (RFC 7296 2.9 leaves the choice to policy).
    For a peer behind a NAT that is also the one private address that the peer names for itself, if no
    other peer holds it already (RFC 3948 5.1).
    """

    name: str
    esp_proposals: tuple[Proposal, ...] = ()
    mode: Mode = Mode.TUNNEL
    local_ts: tuple[Selector, ...] = ()
    remote_ts: tuple[Selector, ...] = ()
    start: StartAction = StartAction.NONE
    close_action: StartAction = StartAction.NONE
    dpd_action: StartAction = StartAction.NONE
    replay_window: int = 32
    copy_df: bool = True
    rekey_bytes: int = 0
    life_bytes: int = 0
    rand_bytes: int = 0
    rekey_packets: int = 0
    life_packets: int = 0
    rand_packets: int = 0
    rekey_time: int = 3600 * NS_PER_S
    life_time: int = 3960 * NS_PER_S
    rand_time: int = 360 * NS_PER_S
    ipcomp: bool = False
    handling: Handling = DEFAULT
    per_cpu_sas: PerCpuSas = PerCpuSas.NO
    iptfs: Iptfs = DEFAULT_IPTFS

    shared_nat: SharedNat = SharedNat.TUNNEL
    """What a second client behind one NAT gets that wants the same traffic in transport mode."""
    outer: OuterFields = DEFAULT_FIELDS
    """The fields of tunnel mode's outer header."""

    ah_proposals: tuple[Proposal, ...] = ()
    """Instead of those for ESP."""

    def __post_init__(self) -> None:
        if self.esp_proposals and self.ah_proposals:
            raise ValueError("a Child SA is protected by ESP or by AH: proposals for one of them")

    @property
    def protocol(self) -> ProtocolId:
        return ProtocolId.AH if self.ah_proposals else ProtocolId.ESP

    @property
    def suites(self) -> tuple[Proposal, ...]:
        """The proposals for the protocol that it has."""
        return self.ah_proposals or self.esp_proposals

    priority: int = 0
    """Where its policies stand among all others, the lowest first; 0 is the default of their kind."""
    fragments: bool = False
    """Whether its SAs carry later fragments of what they are for, checked by the first (RFC 4301 7.3)."""
    populate: tuple[str, ...] = ()
    """Which fields an SA has from the packet that asks for it: see `sim.ike.populate`."""


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """One peer, or one kind of peer: its addresses, identities, secret, suites and Child SAs.

    `local_addrs` () is any address that the host has, `remote_addrs` () any peer (which only a responder
    can serve). With `remote_port` 500 the peer's ports are as ours; any other one is where it does NAT
    traversal, and all messages go there from our own such port, with the non-ESP marker.
    `local_id` None is the own address or the certificate's subject, `remote_id` None any identity that is
    proved. `psk` is for the sides that authenticate by it, `eap_secrets` the passwords by EAP identity.
    `dpd_delay` 0 sends no liveness checks; `keepalive` 0 no NAT keepalives; `keyingtries` 0 never gives up.
    `encap` forces UDP encapsulation by a NAT detection hash that cannot match. `window` is how many requests
    of the peer's we take at once (RFC 7296 2.3). `reauth_time` 0 never authenticates again. `fragment_size`
    is that of a whole IP packet, from MIN_FRAGMENT_SIZE on, or 0 for what every host must take: 576 of IPv4,
    1280 of IPv6 (RFC 7383 2.5.1).
    `vips` are the addresses that an initiator asks for, unspecified where any of that family will do; `pools`
    are the names of those from which a responder leases one to each peer (RFC 7296 2.19).
    """

    name: str
    psk: bytes
    proposals: tuple[Proposal, ...]
    children: tuple[ChildConfig, ...] = ()
    local_addrs: tuple[bytes, ...] = ()
    remote_addrs: tuple[bytes, ...] = ()
    remote_port: int = IKE_PORT
    local_id: Identity | None = None
    remote_id: Identity | None = None
    mobike: bool = True
    encap: bool = False
    dpd_delay: int = 0
    keepalive: int = 20 * NS_PER_S
    retransmit: RetransmitPolicy = RETRANSMIT["strongswan"]
    return_routability: ReturnRoutability = ReturnRoutability.BEFORE
    unique: Unique = Unique.NO
    childless: Childless = Childless.ALLOW
    keyingtries: int = 1
    window: int = 1
    reauth_time: int = 0
    make_before_break: bool = False
    fragmentation: Fragmentation = Fragmentation.YES
    fragment_size: int = 1280
    ppk: bytes = b""
    ppk_id: bytes = b""
    ppk_required: bool = False
    rekey_time: int = 14400 * NS_PER_S
    over_time: int = 1440 * NS_PER_S
    rand_time: int = 1440 * NS_PER_S
    vips: tuple[bytes, ...] = ()
    pools: tuple[str, ...] = ()
    local: LocalAuth = LOCAL_PSK
    remote: RemoteAuth = REMOTE_PSK
    eap_secrets: Mapping[bytes, bytes] = field(default_factory=dict, hash=False)

    dscp: int = 0
    """The code point of IKE's own packets."""
    nat_traversal: bool = True
    """Whether NATs are looked for and crossed; if not, MOBIKE refuses them (RFC 7296 2.23, RFC 4555 3.9)."""

    follow_redirects: bool = False
    """Whether we go to another gateway if ours sends us there (RFC 5685)."""
    redirect_to: bytes = b""
    """Where we send those who call us, if they can be sent; empty: they are served here."""
    redirect_when: RedirectWhen = RedirectWhen.AUTH
    keepalive_adaptive: bool = False
    """Whether `keepalive` is only where the search for the longest safe interval begins."""
    keepalive_max: int = 110 * NS_PER_S
    """No longer one is tried: RFC 4787 REQ-5 has every NAT keep a mapping for two minutes."""
    radio_tail: int = 10 * NS_PER_S
    """How long a radio stays awake after a packet: a keepalive after a longer pause wakes it up."""
    resumption: bool = False
    """Whether to take up a lost IKE SA by a ticket, and to give such tickets (RFC 5723)."""
    qcd: bool = False
    """Whether to give the peer a token that will prove a crash of ours, and to heed the peer's (RFC 6290)."""

    @property
    def signs(self) -> bool:
        """Whether a signature is made or expected."""
        return Method.PUBKEY in (self.local.method, self.remote.method)

    def __post_init__(self) -> None:
        if 0 != self.fragment_size < MIN_FRAGMENT_SIZE:
            raise ValueError(f"a fragment size of {self.fragment_size}, below {MIN_FRAGMENT_SIZE}")
        if self.encap and not self.nat_traversal:
            raise ValueError("UDP encapsulation is forced by NAT traversal, which is switched off")
        if bool(self.ppk) is not bool(self.ppk_id) or (self.ppk_required and not self.uses_ppk):
            raise ValueError("a PPK needs a name, the name a PPK, and there is none with EAP")
        if self.local.second is not None and not self.remote_addrs:
            raise ValueError("a second round of our own needs somebody to call: only initiators have one")
        if self.remote.second is not None and self.remote_addrs:
            raise ValueError("whom we call proves itself once: a second round is for those who call us")

    @property
    def uses_ppk(self) -> bool:
        """Whether we have a post-quantum preshared key for this peer (RFC 8784)."""
        eap = Method.EAP in (self.local.method, self.remote.method)
        return bool(self.ppk) and not eap and not (self.local.second or self.remote.second)

    def child(self, name: str) -> ChildConfig | None:
        return next((child for child in self.children if child.name == name), None)


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """All connections of a host, and the limits that protect it (names as in strongSwan's strongswan.conf).

    From `cookie_threshold` half-open SAs on, or `cookie_threshold_ip` from one address, an initiator must
    prove its address with a cookie; at `block_threshold` from one address it is ignored (0 switches a limit
    off). `error_patience` is how long an initiator goes on after an unauthenticated error (RFC 7296 2.21.1),
    `fragments_timeout` how long the fragments of an incomplete message are kept, `followup_timeout` how long
    a responder waits for each further key exchange (RFC 9370 2.2.4). `epoch` is which time it is when `now`
    is 0, in ns since 1970: certificates have calendar dates. `cpus` is how many share the traffic of a Child
    SA with `per_cpu_sas`.
    """

    connections: tuple[ConnectionConfig, ...] = ()
    ike_port: int = IKE_PORT
    natt_port: int = 4500
    cookie_threshold: int = 30
    cookie_threshold_ip: int = 3
    block_threshold: int = 5
    half_open_timeout: int = 30 * NS_PER_S
    cookie_lifetime: int = 10 * NS_PER_S
    cookie_secret_lifetime: int = 120 * NS_PER_S
    error_patience: int = 10 * NS_PER_S
    delete_rekeyed_delay: int = 5 * NS_PER_S
    retry_wait: int = 10 * NS_PER_S
    retry_for: int = 180 * NS_PER_S
    fragments_timeout: int = 30 * NS_PER_S
    epoch: int = DEFAULT_EPOCH
    followup_timeout: int = 20 * NS_PER_S
    pools: tuple[PoolConfig, ...] = ()
    shunts: tuple[Shunt, ...] = ()
    discard_by_default: bool = False
    """What the driver does with packets that no policy matches: bypass, or discard."""
    cpus: int = 1

    def __post_init__(self) -> None:
        names = [connection.name for connection in self.connections]
        if len(set(names)) != len(names):
            raise ValueError("two connections have the same name")
        known = {pool.name for pool in self.pools}
        missing = {name for connection in self.connections for name in connection.pools} - known
        if missing:
            raise ValueError(f"there is no pool {', '.join(sorted(missing))}")
