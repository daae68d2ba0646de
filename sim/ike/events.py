"""What an IKE endpoint reports: frozen values that the driver drains, applies and records.

The driver knows the time; an event carries none. Events of one input come in the order in which they must
be applied, and before the datagrams of that input leave (RFC 7296 2.8: a responder must be able to
receive on a new SA before its answer is sent).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sim.wire.address import Sock
from sim.wire.aggfrag import Requirement
from sim.wire.esp import Mode
from sim.wire.handling import DEFAULT, Handling
from sim.wire.iptfs import DEFAULT_IPTFS, Iptfs
from sim.wire.outer_fields import DEFAULT_FIELDS, OuterFields
from sim.wire.resource import Share
from sim.wire.selector import Selector
from sim.wire.value import quick, value

if TYPE_CHECKING:
    from sim.ike.proposals import EspSuite, IkeSuite


@quick
class Reason(StrEnum):
    """Why an SA ended or never came up; named as the notify where RFC 7296 3.10.1 has one.

    Some notifies hide several causes. The side that sends one keeps a closer reason: UNKNOWN_PEER is
    NO_PROPOSAL_CHOSEN on the wire, ID_NOT_ACCEPTED and WRONG_METHOD are AUTHENTICATION_FAILED.
    For TOO_MANY_HALF_OPEN nothing is sent at all. ABANDONED is a responder's: the peer went no further.
    """

    NONE = ""
    UNSUPPORTED_CRITICAL_PAYLOAD = "UNSUPPORTED_CRITICAL_PAYLOAD"
    INVALID_IKE_SPI = "INVALID_IKE_SPI"
    INVALID_MAJOR_VERSION = "INVALID_MAJOR_VERSION"
    INVALID_SYNTAX = "INVALID_SYNTAX"
    NO_PROPOSAL_CHOSEN = "NO_PROPOSAL_CHOSEN"
    INVALID_KE_PAYLOAD = "INVALID_KE_PAYLOAD"
    AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
    SINGLE_PAIR_REQUIRED = "SINGLE_PAIR_REQUIRED"
    NO_ADDITIONAL_SAS = "NO_ADDITIONAL_SAS"
    INTERNAL_ADDRESS_FAILURE = "INTERNAL_ADDRESS_FAILURE"
    FAILED_CP_REQUIRED = "FAILED_CP_REQUIRED"
    TS_UNACCEPTABLE = "TS_UNACCEPTABLE"
    TEMPORARY_FAILURE = "TEMPORARY_FAILURE"
    TS_MAX_QUEUE = "TS_MAX_QUEUE"
    CHILD_SA_NOT_FOUND = "CHILD_SA_NOT_FOUND"
    STATE_NOT_FOUND = "STATE_NOT_FOUND"
    UNACCEPTABLE_ADDRESSES = "UNACCEPTABLE_ADDRESSES"
    UNEXPECTED_NAT_DETECTED = "UNEXPECTED_NAT_DETECTED"
    PEER_ERROR = "PEER_ERROR"
    UNKNOWN_PEER = "UNKNOWN_PEER"
    ID_NOT_ACCEPTED = "ID_NOT_ACCEPTED"
    COOKIE_REFUSED = "COOKIE_REFUSED"
    TOO_MANY_HALF_OPEN = "TOO_MANY_HALF_OPEN"
    WRONG_METHOD = "WRONG_METHOD"
    WRONG_PASSWORD = "WRONG_PASSWORD"
    UNKNOWN_USER = "UNKNOWN_USER"
    EAP_METHOD_REFUSED = "EAP_METHOD_REFUSED"
    EAP_FAILURE = "EAP_FAILURE"
    TLS_FAILURE = "TLS_FAILURE"
    WRONG_SIGNATURE = "WRONG_SIGNATURE"
    SIGNATURE_NOT_ALLOWED = "SIGNATURE_NOT_ALLOWED"
    NO_COMMON_SIGNATURE = "NO_COMMON_SIGNATURE"
    NO_CERTIFICATE = "NO_CERTIFICATE"
    HASH_AND_URL = "HASH_AND_URL"
    UNREADABLE_CERTIFICATE = "UNREADABLE_CERTIFICATE"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    ID_NOT_CONFIRMED = "ID_NOT_CONFIRMED"
    NO_TRUSTED_ISSUER = "NO_TRUSTED_ISSUER"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    CERTIFICATE_NOT_YET_VALID = "CERTIFICATE_NOT_YET_VALID"
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED"
    REVOCATION_UNKNOWN = "REVOCATION_UNKNOWN"
    ISSUER_IS_NO_CA = "ISSUER_IS_NO_CA"
    PATH_TOO_LONG = "PATH_TOO_LONG"
    NAME_NOT_PERMITTED = "NAME_NOT_PERMITTED"
    WRONG_KEY_USAGE = "WRONG_KEY_USAGE"
    CRITICAL_EXTENSION = "CRITICAL_EXTENSION"
    NO_ADDRESS = "NO_ADDRESS"
    TIMEOUT = "TIMEOUT"
    ABANDONED = "ABANDONED"
    DELETED = "DELETED"
    DELETED_BY_PEER = "DELETED_BY_PEER"
    REPLACED = "REPLACED"
    MOVED = "MOVED"
    CRASHED = "CRASHED"
    REKEYED = "REKEYED"
    REDUNDANT = "REDUNDANT"
    REAUTHENTICATED = "REAUTHENTICATED"
    EXPIRED = "EXPIRED"
    CHILDLESS_UNSUPPORTED = "CHILDLESS_UNSUPPORTED"
    PPK_REQUIRED = "PPK_REQUIRED"
    COOKIE2_MISMATCH = "COOKIE2_MISMATCH"
    IKE_SA_DOWN = "IKE_SA_DOWN"
    CRASH_DETECTED = "CRASH_DETECTED"
    REDIRECTED = "REDIRECTED"
    REDIRECT_REFUSED = "REDIRECT_REFUSED"
    REDIRECT_LOOP = "REDIRECT_LOOP"


@value
class IkeSaUp:
    """Both sides are authenticated; or this is the successor of `replaces`, whose Child SAs it has now."""

    ike_id: int
    connection: str
    initiator: bool
    spi_i: bytes
    spi_r: bytes
    local: Sock
    remote: Sock
    local_id: str
    remote_id: str
    nat_local: bool
    nat_remote: bool
    encap: bool
    mobike: bool
    proposal: str
    replaces: int = 0
    ppk: bool = False
    resumed: bool = False
    """Whether it was taken up by a ticket (RFC 5723)."""


@value
class IkeKeysDerived:
    """The keys that protect the messages of an IKE SA, for logs; emitted as soon as they exist."""

    ike_id: int
    spi_i: bytes
    spi_r: bytes
    suite: IkeSuite
    sk_ei: bytes
    sk_er: bytes
    sk_ai: bytes
    sk_ar: bytes


@value
class IkeSaDown:
    """An IKE SA ended, or never came up. Its Child SAs were reported before."""

    ike_id: int
    connection: str
    initiator: bool
    reason: Reason
    text: str


@value
class ChildSaUp:
    """A pair of SAs to install; keys are (encryption key with its salt, integrity key).

    `replaces` is the inbound SPI of the pair whose rekeying made this one, or 0. The limits are octets and
    packets of inner traffic, 0 for none. `cpi_in` and `cpi_out` are those of IPComp, 0 without it.
    """

    ike_id: int
    connection: str
    child: str
    mode: Mode
    spi_in: int
    spi_out: int
    suite: EspSuite
    keys_in: tuple[bytes, bytes]
    keys_out: tuple[bytes, bytes]
    local: Sock
    remote: Sock
    encap: bool
    local_ts: tuple[Selector, ...]
    remote_ts: tuple[Selector, ...]
    replay_window: int
    esn: bool
    initiator: bool
    copy_df: bool
    replaces: int = 0
    soft_limit: tuple[int, int] = (0, 0)
    hard_limit: tuple[int, int] = (0, 0)
    fragments: bool = False
    """Later fragments travel as well where selectors name ports (RFC 7296 1.3.1)."""
    cpi_in: int = 0
    cpi_out: int = 0
    handling: Handling = DEFAULT
    share: Share | None = None

    outer: OuterFields = DEFAULT_FIELDS
    """The fields of tunnel mode's outer header."""
    tracked: bool = False
    """Whether answers leave by the SA through which the question came, of all with these selectors."""
    original: tuple[bytes, bytes] | None = None
    """In transport mode through a NAT: what the peer has for its own address and for ours, if it said so."""

    iptfs: Iptfs = DEFAULT_IPTFS
    aggfrag: Requirement = Requirement.NONE
    """Of AGGFRAG mode (RFC 9347): how this side uses it, and what the peer demands."""


@value
class ChildSaRetired:
    """A pair that was replaced: it sends no more, and receives until ChildSaDown (RFC 7296 2.8)."""

    ike_id: int
    connection: str
    child: str
    spi_in: int
    spi_out: int


@value
class ChildSaDown:
    """A pair of SAs to remove."""

    ike_id: int
    connection: str
    child: str
    spi_in: int
    spi_out: int
    reason: Reason
    text: str


@value
class ChildFailed:
    """A Child SA could not be made; the IKE SA, if there is one (`ike_id` is not 0), is not affected.

    `initiator` is that this side had asked for it; else `child` is only the first that might have been meant.
    """

    ike_id: int
    connection: str
    child: str
    reason: Reason
    text: str
    initiator: bool


@value
class ResourceRefused:
    """One more Child SA with the same selectors was not made (RFC 9611); those that there are go on.

    `initiator` is that this side had asked for it, for `cpu`; else that is ALL.
    """

    ike_id: int
    connection: str
    child: str
    cpu: int
    initiator: bool
    reason: Reason
    text: str


@value
class RekeyFailed:
    """The peer did not rekey a Child SA, or the IKE SA (`child` is ""); what there is goes on meanwhile."""

    ike_id: int
    connection: str
    child: str
    reason: Reason
    text: str


@value
class VirtualIpAssigned:
    """An address belongs to this host from now on (`ours`), or to the peer, until its IKE SA ends.

    `dns` are the servers that the responder names to the host. Word of an address that is there already means
    that another IKE SA has it as well.
    """

    ike_id: int
    connection: str
    ours: bool
    address: bytes
    peer: str
    dns: tuple[bytes, ...] = ()


@value
class VirtualIpReleased:
    """No IKE SA of the connection has the address any more; its Child SAs were reported before."""

    ike_id: int
    connection: str
    ours: bool
    address: bytes
    peer: str


@value
class PathChanged:
    """The Child SAs `spis_in` move to these addresses; SPIs, keys and counters stay (RFC 4555 3.5).

    `ike_remote` is where IKE goes on, if that is another address than ESP's (RFC 4555 3.8).
    """

    ike_id: int
    connection: str
    local: Sock
    remote: Sock
    encap: bool
    nat_local: bool
    nat_remote: bool
    spis_in: tuple[int, ...]
    ike_remote: Sock | None = None


@value
class Rejected:
    """A datagram that had no effect; `reason` is also the key of the endpoint's counter.

    `why` is set when that refuses the IKE SA of `spi_i`, of which the endpoint keeps nothing else.
    """

    reason: str
    src: Sock
    text: str
    spi_i: bytes = b""
    why: Reason = Reason.NONE


@value
class NatShared:
    """A second client behind one NAT wants what another has, and what becomes of it (RFC 3948 5.2).

    `stolen` is that the client of `connection` hears nothing any more.
    """

    connection: str
    text: str
    stolen: bool = False


@value
class FaultApplied:
    """A fault that was asked for has happened (`sim.ike.faults`)."""

    connection: str
    text: str


@value
class KeepaliveSent:
    """A NAT keepalive left, or a `probe` of the mapping was answered; `size` is octets of IP packets.

    `woke` is that the host had been quiet for longer than a radio stays awake.
    """

    ike_id: int
    connection: str
    size: int
    woke: bool
    probe: bool = False


@value
class MessageSent:
    """One message left; `payloads` is RFC 7296 1.2 notation, `retransmission` counts from 0.

    `size` are the octets of all its `fragments` (RFC 7383), of which it has 1 if it travels whole.
    `ike_id` is 0 for an answer without state, which belongs to no IKE SA of ours.
    """

    ike_id: int
    exchange: str
    message_id: int
    response: bool
    payloads: str
    size: int
    src: Sock
    dst: Sock
    retransmission: int
    fragments: int = 1
    spi_i: bytes = b""


@value
class MessageReceived:
    """One message was accepted; `size` counts the octets from the IKE header on, of all its `fragments`."""

    ike_id: int
    exchange: str
    message_id: int
    response: bool
    payloads: str
    size: int
    src: Sock
    dst: Sock
    retransmission: int
    fragments: int = 1
    spi_i: bytes = b""


Event = (
    IkeSaUp
    | IkeKeysDerived
    | IkeSaDown
    | ChildSaUp
    | ChildSaRetired
    | ChildSaDown
    | ChildFailed
    | RekeyFailed
    | ResourceRefused
    | VirtualIpAssigned
    | VirtualIpReleased
    | PathChanged
    | Rejected
    | NatShared
    | FaultApplied
    | KeepaliveSent
    | MessageSent
    | MessageReceived
)
