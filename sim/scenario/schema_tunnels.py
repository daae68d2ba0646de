"""Tunnels, the shorthand for both ends, and connections, what strongSwan's swanctl.conf has at one end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from sim.ike.config import MAX_FRAGMENT_SIZE, MIN_FRAGMENT_SIZE
from sim.ike.configuration import MAX_ADDRESSES
from sim.ike.eap.names import METHODS, PASSWORD_METHODS, eap_problem
from sim.ike.populate import FLAGS, LOCAL_PORT, PROTOCOL, REMOTE_PORT
from sim.scenario.schema_iptfs import IptfsSettings
from sim.scenario.schema_types import (
    MAX_PROPOSALS,
    Address,
    AhProposalText,
    AuthText,
    CodePoint,
    DscpMap,
    Duration,
    EspProposalText,
    FrozenDict,
    IdentityText,
    IkeProposalText,
    Many,
    Model,
    Name,
    OwnIdentityText,
    PasswordAuthText,
    Passwords,
    Secret,
    Selectors,
    Size,
    Table,
)
from sim.units import NS_PER_MS, NS_PER_S, format_size, parse_size
from sim.wire.handling import AUTO, TO_MTU


def _not_too_often(interval: int) -> int:
    if 0 < interval < NS_PER_MS:
        raise ValueError("must be 0 s, which is never, or at least 1 ms")
    return interval


def _not_too_small(size: int) -> int:
    if size and not MIN_FRAGMENT_SIZE <= size <= MAX_FRAGMENT_SIZE:
        raise ValueError(f"must be 0 B or from {MIN_FRAGMENT_SIZE} B to {MAX_FRAGMENT_SIZE} B")
    return size


def _mss(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f'{value} is no MSS: write "auto", "off" or a size such as "1360 B"')
    if value in _MSS_WORDS:
        return _MSS_WORDS[value]
    mss = parse_size(value)
    if not MIN_MSS <= mss <= MAX_MSS:
        raise ValueError(f"an MSS is from {MIN_MSS} B to {MAX_MSS} B")
    return mss


def _format_mss(mss: int) -> str:
    return _MSS_TEXTS.get(mss) or format_size(mss)


_MSS_WORDS = {"auto": AUTO, "off": 0}
_MSS_TEXTS = {mss: word for word, mss in _MSS_WORDS.items()}
MIN_MSS, MAX_MSS = 88, 65495
"""From what Linux lets a user set to what an IPv4 packet can hold."""
MssClamp = Annotated[
    int, BeforeValidator(_mss), PlainSerializer(_format_mss),
    WithJsonSchema({"type": "string", "examples": ["auto", "1360 B", "off"]}),
]  # fmt: skip


def _tfc(value: object) -> int:
    if value == "mtu":
        return TO_MTU
    if not isinstance(value, str):
        raise ValueError(f'{value} is no padding: write "mtu" or a size such as "1000 B"')
    size = parse_size(value)
    if not 0 <= size <= MAX_TFC:
        raise ValueError(f"padding is up to {MAX_TFC} B, or mtu")
    return size


def _format_tfc(size: int) -> str:
    return "mtu" if size == TO_MTU else format_size(size)


MAX_TFC = 65_000
TfcPadding = Annotated[
    int, BeforeValidator(_tfc), PlainSerializer(_format_tfc),
    WithJsonSchema({"type": "string", "examples": ["mtu", "1000 B", "0 B"]}),
]  # fmt: skip
Volume = Annotated[Size, Field(ge=0)]
Packets = Annotated[int, Field(ge=0)]
Interval = Annotated[Duration, Field(ge=0), AfterValidator(_not_too_often)]


Vips = Annotated[Many[Address], Field(max_length=MAX_ADDRESSES)]


_OF_SHUNTS = ("mode", "local_ts", "remote_ts", "start", "start_action", "priority")


def _flags(flags: tuple[str, ...]) -> tuple[str, ...]:
    found = FLAGS if "all" in flags else tuple(flag for flag in FLAGS if flag in flags)
    if {LOCAL_PORT, REMOTE_PORT} & {*found} and PROTOCOL not in found:
        raise ValueError("a port means nothing without its protocol: add `protocol`")
    return found


Flag = Literal["all", "local_addr", "remote_addr", "protocol", "local_port", "remote_port"]
Populated = Annotated[Many[Flag], AfterValidator(_flags)]

_FROM_INNER_HEADERS = ("copy_dscp", "copy_ecn", "dscp_map", "flow_label")
_OF_OUTER_HEADERS = (*_FROM_INNER_HEADERS, "outer_dscp", "outer_ttl")


class _Child(Model):
    mode: Literal["tunnel", "transport", "iptfs", "pass", "drop"] = "tunnel"
    """`iptfs` is tunnel mode with aggregation and fragmentation (RFC 9347), if the peer wants that, too.
    pass and drop: a policy that lets packets by, or discards them, and that is not negotiated."""
    local_ts: Selectors = ()
    """Empty is `dynamic`: the address that the IKE SA uses."""
    remote_ts: Selectors = ()
    esp_proposals: Annotated[Many[EspProposalText], Field(max_length=MAX_PROPOSALS)] = ("aes128gcm16",)
    ah_proposals: Annotated[Many[AhProposalText], Field(max_length=MAX_PROPOSALS)] = ()
    """AH instead of ESP; without `esp_proposals`."""
    replay_window: Annotated[int, Field(ge=32, le=4096)] = 32
    copy_df: bool = True
    """Whether the outer IPv4 header gets the DF bit of the inner packet (RFC 4301 8.1)."""
    df: Literal["clear", "set"] = "clear"
    """What it gets where `copy_df` is false, as Linux and strongSwan do not let anybody choose."""
    fragment: Literal["after", "before"] = "after"
    """What is cut where a packet that may be fragmented is too long for the path: the outer one, after
    encapsulation, as Linux does it for policies; or the inner one, before, which RFC 4301 calls red-side and
    Cisco pre-fragmentation (`crypto ipsec fragmentation before-encryption`)."""
    icmp: bool = True
    """Whether ICMP errors about its traffic travel in it whatever address they come from (RFC 4301 6.2)."""
    icmp_check: bool = False
    """Whether those from addresses that the selectors cover must quote a packet of its, too."""
    mss_clamp: MssClamp = 0
    """The largest MSS that SYNs of TCP keep on their way through it, in both directions (RFC 4459 3.2):
    `auto` is what the path takes without fragments."""
    tfc_padding: TfcPadding = 0
    """What inner packets are padded to, so that their sizes say little (RFC 4303 2.7): octets, or `mtu` for
    all that the path takes. Tunnel mode alone, and only if the peer takes padding; `0 B`: none."""
    close_action: Literal["none", "trap", "start"] = "none"
    """What follows when the peer closes it: a packet may ask for it again, or it is set up at once."""
    dpd_action: Literal["clear", "trap", "restart"] = "clear"
    """The same when the peer does not answer any more."""
    rekey_time: Interval = 3600 * NS_PER_S
    """When a successor is asked for; 0 s: never."""
    life_time: Interval | None = None
    """When it ends if it has none; by default 10 % later than `rekey_time`. 0 s: never."""
    rand_time: Interval | None = None
    """How much earlier than `rekey_time` it may be, by chance; by default what `life_time` is later."""

    rekey_bytes: Volume = 0
    """How much either SA of the pair carries before a successor is asked for; 0 B: any amount."""
    life_bytes: Volume | None = None
    rand_bytes: Volume | None = None
    rekey_packets: Packets = 0
    """As `rekey_bytes`, in inner packets."""
    life_packets: Packets | None = None
    rand_packets: Packets | None = None

    ipcomp: bool = False
    """Whether to compress before protecting, if the peer wants it as well (RFC 3173)."""

    per_cpu_sas: Literal["no", "yes", "encap"] = "no"
    """Whether each of the node's `cpus` gets an SA of its own, beside one for all (RFC 9611), as soon as a
    packet of it asks, unless the start action is none. encap: each with a UDP source port of its own."""

    shared_nat: Literal["tunnel", "refuse", "newest", "track"] = "tunnel"
    """What the responder gives a second client behind one NAT that wants the same in transport mode (RFC 3948
    5.2): tunnel mode, nothing (as libreswan), all answers, the first one's too (as strongSwan and the Linux
    kernel by themselves), or the answers to what it asked (as strongSwan's connmark)."""
    copy_dscp: Literal["out", "in", "yes", "no"] = "out"
    """Which way the DSCP is copied between inner and outer header in tunnel mode."""
    copy_ecn: bool = True
    """Whether the outer header shows the inner ECN field; at the exit RFC 6040 figure 4 holds either way."""
    dscp_map: DscpMap = Field(default_factory=FrozenDict)
    """Inner DSCPs that are others outside (RFC 4301 5.1.2); strongSwan has no such setting."""
    outer_dscp: CodePoint | None = None
    """The outer DSCP of all others. None: as `copy_dscp` says. strongSwan has no such setting."""
    outer_ttl: Annotated[int, Field(ge=1, le=255)] = 64
    """The outer TTL or hop limit; strongSwan has no such setting."""
    flow_label: Literal["hash", "copy", "none"] = "hash"
    """An outer IPv6 header's: one for each inner flow (RFC 6438), the inner one, or 0; not in strongSwan."""

    iptfs: IptfsSettings = IptfsSettings()
    """For `mode: iptfs`."""

    @model_validator(mode="after")
    def _aggregates_what_it_can(self) -> Self:
        if self.mode != "iptfs":
            if self.iptfs != IptfsSettings():
                raise ValueError("the settings in `iptfs` are for `mode: iptfs`")
        elif self.ipcomp or self.tfc_padding:
            raise ValueError("mode: iptfs cannot be combined with ipcomp or tfc_padding, as in strongSwan")
        elif self.ah_proposals:
            raise ValueError("mode: iptfs needs ESP: AGGFRAG payloads travel in nothing else (RFC 9347 1)")
        return self

    @model_validator(mode="after")
    def _has_what_its_keys_are_for(self) -> Self:
        fields = type(self).model_fields
        idle, why = {
            "transport": (_OF_OUTER_HEADERS, "in transport mode there is no outer header"),
            "iptfs": (
                (*_FROM_INNER_HEADERS, "fragment"),
                "an outer packet of mode iptfs is of many inner ones (RFC 9347 2.2.5)",
            ),
        }.get(self.mode, ((), ""))
        for key in idle:
            if getattr(self, key) != fields[key].get_default(call_default_factory=True):
                raise ValueError(f"{key} is for tunnel mode: {why}")
        if self.mode in ("tunnel", "iptfs") and self.shared_nat != "tunnel":
            raise ValueError(
                "shared_nat is for transport mode: in tunnel mode inner addresses tell clients apart"
            )
        return self

    @model_validator(mode="after")
    def _tells_clients_apart_by_one_pair(self) -> Self:
        if self.shared_nat == "track" and self.per_cpu_sas != "no":
            raise ValueError("shared_nat: track needs per_cpu_sas: no, as it follows a single pair of SAs")
        return self

    @model_validator(mode="after")
    def _handles_what_there_is(self) -> Self:
        if self.df == "set" and self.copy_df:
            raise ValueError("df: set needs copy_df: false; with copy_df the inner packet decides")
        if self.mode == "transport":
            for key in ("df", "fragment", "mss_clamp"):
                if key in self.model_fields_set and getattr(self, key) not in ("clear", "after", 0):
                    raise ValueError(f"{key} is for tunnel mode: in transport mode there is no outer packet")
        if self.tfc_padding and self.mode == "transport":
            raise ValueError("tfc_padding is for tunnel mode: in transport mode nothing tells it from data")
        if self.tfc_padding and self.ah_proposals:
            raise ValueError("tfc_padding is of ESP: AH hides nothing")
        if self.tfc_padding and self.ipcomp:
            raise ValueError("tfc_padding and ipcomp exclude each other: compression would take it away")
        if self.icmp_check and not self.icmp:
            raise ValueError("icmp_check needs icmp: true")
        return self

    priority: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Where its policies stand among all others of the host, the lowest first. 0: before 100,000 for pass,
    before 200,000 for what is protected, and after 300,000 for drop."""

    non_first_fragments_also: bool = False
    """Whether its SAs carry later fragments, which show no ports, of what its selectors name by port, if the
    peer wants it as well (RFC 4301 7.3, RFC 7296 1.3.1). strongSwan has no such setting."""
    populate_from_packet: Annotated[
        Many[Literal["all", "local_addr", "remote_addr", "protocol", "local_port", "remote_port"]],
        AfterValidator(_flags),
    ] = ()
    """What an SA has from the packet that asks for it, and not from the policy (RFC 4301 4.4.1.2): each flow
    gets an SA of its own with `all`. strongSwan has no such setting."""

    @model_validator(mode="after")
    def _carries_fragments(self) -> Self:
        if self.non_first_fragments_also and self.mode == "transport":
            raise ValueError("non_first_fragments_also is for tunnel mode: transport mode takes no fragments")
        return self

    @model_validator(mode="after")
    def _has_a_packet(self) -> Self:
        if self.populate_from_packet:
            if {"start", "at once"} & {getattr(self, key, "") for key in ("start", "start_action")}:
                raise ValueError("populate_from_packet waits for packets: write `trap` for when it starts")
            for key in ("close_action", "dpd_action"):
                if getattr(self, key) in ("start", "restart"):
                    raise ValueError(f"{key}: with populate_from_packet a packet starts it: write trap")
        return self

    @property
    def is_shunt(self) -> bool:
        """Whether it only bypasses or discards."""
        return self.mode in ("pass", "drop")

    @model_validator(mode="after")
    def _is_just_a_policy(self) -> Self:
        if self.is_shunt:
            for name, field in type(self).model_fields.items():
                if name not in _OF_SHUNTS and getattr(self, name) != field.get_default(
                    call_default_factory=True
                ):
                    raise ValueError(f"{name} means nothing with `mode: {self.mode}`, which makes no SA")
        return self

    @model_validator(mode="after")
    def _ends_after_rekeying(self) -> Self:
        for unit in ("time", "bytes", "packets"):
            soft, hard = getattr(self, f"rekey_{unit}"), getattr(self, f"life_{unit}")
            if hard and hard < soft:
                raise ValueError(f"life_{unit} must not be less than rekey_{unit}")
        return self

    @model_validator(mode="after")
    def _is_protected_by_one_protocol(self) -> Self:
        if self.ah_proposals and "esp_proposals" not in self.model_fields_set:
            object.__setattr__(self, "esp_proposals", ())  # the default is no choice
        if self.ah_proposals and self.esp_proposals:
            raise ValueError("either ESP or AH protects a Child SA: leave esp_proposals or ah_proposals out")
        if self.ah_proposals and self.per_cpu_sas == "encap":
            raise ValueError("per_cpu_sas: encap is for ESP: AH cannot travel in UDP, so write yes")
        if not self.ah_proposals and not self.esp_proposals:
            raise ValueError("has no proposal: esp_proposals names one, such as aes128gcm16")
        return self


def _check_encap(encap: bool, children: Mapping[str, _Child]) -> None:
    for name, child in children.items():
        if encap and child.ah_proposals:
            raise ValueError(f"encap is for ESP: AH, which {name!r} has, cannot travel in UDP (RFC 3948 1)")


class TunnelChild(_Child):
    """A Child SA of a tunnel, `local_ts` and `remote_ts` as the initiator sees them."""

    start: Literal["at once", "trap", "none"] = "at once"
    """When the initiator sets it up: at the start, for the first packet that needs it, or never by itself."""

    @model_validator(mode="after")
    def _is_in_force(self) -> Self:
        if self.is_shunt and self.start == "none":
            raise ValueError(f"with `start: none` a policy of `mode: {self.mode}` would never be in force")
        return self


class ConnectionChild(_Child):
    """`connections.<conn>.children.<child>` of swanctl.conf."""

    start_action: Literal["none", "trap", "start"] = "none"

    @model_validator(mode="after")
    def _is_in_force(self) -> Self:
        if self.is_shunt and self.start_action == "none":
            text = f"write `start_action: trap`: a policy of `mode: {self.mode}` is in force only with it"
            raise ValueError(text)
        return self


def _routability(given: object) -> object:
    """`true` and `false`, which say when as well."""
    return ("before" if given else "none") if isinstance(given, bool) else given


Routability = Annotated[
    Literal["before", "after", "none"],
    BeforeValidator(_routability, json_schema_input_type=Literal["before", "after", "none"] | bool),
]


class _IkeSettings(Model):
    proposals: Annotated[Many[IkeProposalText], Field(min_length=1, max_length=MAX_PROPOSALS)] = (
        "aes128gcm16-prfsha256-x25519",
    )
    mobike: bool = True
    encap: bool = False
    """Pretend to be behind a NAT, so that ESP travels in UDP."""
    dpd_delay: Interval = 0
    """Idle time after which the peer's liveness is checked; 0 s: never. Behind a NAT, with MOBIKE, an
    initiator checks its mapping as well after that time without an IKE message."""
    keep_alive: Interval = 20 * NS_PER_S
    """Interval of NAT keepalives; 0 s: none. In strongSwan this is `charon.keep_alive`."""
    keepalive_policy: Literal["fixed", "adaptive"] = "fixed"
    """`adaptive` begins with `keep_alive`, tries longer idle times with MOBIKE's NAT detection, and stays
    below the one after which the NAT has forgotten; strongSwan has no such setting."""
    keepalive_max: Interval = 110 * NS_PER_S
    """No longer interval is tried."""
    radio_tail: Annotated[Duration, Field(ge=0)] = 10 * NS_PER_S
    """How long a radio stays awake after a packet; a keepalive after a longer pause counts as a wake-up."""
    retransmit: Literal["strongswan", "libreswan", "iked"] = "strongswan"
    """Whose timing unanswered requests are repeated with."""
    unique: Literal["no", "never", "keep", "replace"] = "no"
    """What becomes of an older IKE SA with the same peer: see swanctl.conf."""
    childless: Literal["never", "allow", "prefer", "force"] = "allow"
    """Whether IKE_AUTH does without a Child SA, which then follows (RFC 6023)."""
    keyingtries: Annotated[int, Field(ge=0, le=1000)] = 1
    """How often an unanswered connection is tried; 0: for ever."""
    window: Annotated[int, Field(ge=1, le=64)] = 1
    """How many requests of the peer's are taken at once (RFC 7296 2.3); strongSwan has no such setting."""
    reauth_time: Interval = 0
    """When the peers authenticate again, by a new IKE SA; 0 s: never."""
    make_before_break: bool = False
    """Whether the old IKE SA goes only when the new one has all Child SAs."""
    rekey_time: Interval = 4 * 3600 * NS_PER_S
    """When a successor of the IKE SA is asked for; 0 s: never."""
    over_time: Interval | None = None
    """How much later it ends if it has none; by default 10 % of `rekey_time`."""
    rand_time: Interval | None = None
    """How much earlier than `rekey_time` it may be, by chance; by default as `over_time`."""
    fragmentation: Literal["yes", "accept", "force", "no"] = "yes"
    """Whether large IKE messages travel in fragments (RFC 7383); accept: only the peer's."""
    fragment_size: Annotated[Size, AfterValidator(_not_too_small)] = 1280
    """The largest IP packet that carries a fragment; 0 B: 576 B of IPv4, 1280 B of IPv6."""
    ppk: Secret | None = None
    """A secret that goes into the keys beside the key exchange (RFC 8784)."""
    ppk_id: OwnIdentityText | None = None
    """What the two sides call it."""
    ppk_required: bool = False
    """Whether to refuse a peer that does not use it."""
    dscp: CodePoint = 0
    """Of IKE's own packets; swanctl.conf writes it in binary."""
    return_routability: Routability = "before"
    """When a new address of the peer must answer: before traffic goes there, or after (RFC 4555 3.7)."""
    nat_traversal: bool = True
    """Whether NATs are looked for and crossed; if not, MOBIKE refuses them (RFC 4555 3.9)."""

    @model_validator(mode="after")
    def _forces_what_is_on(self) -> Self:
        if self.encap and not self.nat_traversal:
            raise ValueError("encap is a part of NAT traversal: leave it out, or `nat_traversal: false`")
        return self

    follow_redirects: bool = False
    """Whether the initiator goes to another gateway if its own sends it there (RFC 5685). In strongSwan this
    is `charon.follow_redirects`, which is on by default."""
    redirect_to: Address | None = None
    """Where the responder sends those who call it, if they can be sent; None: it serves them."""
    redirect_when: Literal["init", "auth"] = "auth"
    """At once, without a state or a proof, or when both have proved who they are."""
    resumption: bool = False
    """Whether an IKE SA that was lost is taken up again by a ticket, without a key exchange and without
    another authentication (RFC 5723). strongSwan has no such setting."""
    qcd: bool = False
    """Whether each end gives the other a token that proves later that it has restarted, so that nobody waits
    for a peer that knows nothing any more (RFC 6290). strongSwan has no such setting."""

    @model_validator(mode="after")
    def _has_a_whole_ppk(self) -> Self:
        if (self.ppk is None) is not (self.ppk_id is None):
            raise ValueError("ppk and ppk_id need each other")
        if self.ppk_required and self.ppk is None:
            raise ValueError("ppk_required needs a ppk and its ppk_id")
        return self


class TunnelSide(Model):
    """What one end of a tunnel believes, where it differs from the other."""

    psk: Secret | None = None
    method: AuthText | None = None
    """How this end proves who it is, and the other end expects it to."""
    eap_id: IdentityText | None = None
    """As which name the initiator authenticates by EAP; `%any`: the responder asks for it."""
    password: Secret | None = None
    local_id: OwnIdentityText | None = None
    remote_id: IdentityText | None = None


class TunnelSecond(Model):
    """The second round of the initiator's authentication, of a user after her machine (RFC 4739)."""

    method: PasswordAuthText = "eap-mschapv2"
    id: OwnIdentityText
    """Who the initiator is there, in IKE and in EAP."""
    password: Secret


class TunnelAuth(Model):
    """One secret for both ends; `local_id` and `remote_id` are the initiator's, mirrored at the responder."""

    psk: Secret | None = None
    method: AuthText = "psk"
    """How both ends prove who they are: psk, null, pubkey with `pki`, or eap-mschapv2 and the like."""
    eap_id: OwnIdentityText | None = None
    """As which name the initiator authenticates by EAP. None: `local_id`."""
    password: Secret | None = None
    local_id: OwnIdentityText | None = None
    remote_id: OwnIdentityText | None = None
    second: TunnelSecond | None = None
    """What the initiator proves besides."""
    initiator: TunnelSide = TunnelSide()
    responder: TunnelSide = TunnelSide()


class Tunnel(_IkeSettings):
    """Both ends of one IKE SA in one place; `expand` makes a connection of each end from it."""

    initiator: Name
    responder: Name
    auth: TunnelAuth
    vips: Vips = ()
    """Virtual IPs that the initiator asks for; 0.0.0.0 and :: ask for any."""
    pools: Many[Name] = ()
    """Where the responder leases them from: names of its `pools`."""
    children: Annotated[Table[TunnelChild], Field(min_length=1)]

    @model_validator(mode="after")
    def _can_encapsulate(self) -> Self:
        _check_encap(self.encap, self.children)
        return self


class SecondLocal(Model):
    """What an initiator proves besides, in a second round (RFC 4739)."""

    auth: PasswordAuthText = "eap-mschapv2"
    id: OwnIdentityText | None = None
    """Who we are in this round. None: our address."""
    eap_id: OwnIdentityText | None = None
    """As whom we authenticate by EAP. None: as `id`."""

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if self.id is None and self.eap_id is None:
            raise ValueError("has no name: write `id` or `eap_id`")
        return self


class SecondRemote(Model):
    """What an initiator must prove besides, in a second round (RFC 4739)."""

    auth: PasswordAuthText = "eap-mschapv2"
    id: IdentityText | None = None
    """Who the peer says that it is in this round. None: anybody."""
    eap_id: IdentityText | None = None
    """Who authenticates by EAP. None: as the peer says in this round; `%any`: it is asked for its name."""


class LocalSide(Model):
    """How we prove who we are. A file's name stands for the PEM text in it."""

    auth: AuthText = "psk"
    eap_id: OwnIdentityText | None = None
    """As whom we authenticate by EAP. None: as `local_id`."""
    certs: Many[str] = ()
    """Our certificate, then those of the CAs above it, but for the root. None: the key is a raw one."""
    key: str | None = None
    """The private key; None with `pki` in a scenario, which makes one."""
    send_cert: Literal["always", "ifasked", "never"] = "ifasked"
    second: SecondLocal | None = None
    """What we prove besides, when we initiate."""


class RemoteSide(Model):
    """What we take as a proof of the peer. A file's name stands for the PEM text in it."""

    auth: AuthText = "psk"
    eap_id: IdentityText | None = None
    """Who authenticates by EAP. None: whoever the peer is in IKE; `%any`: it is asked for its name."""
    cacerts: Many[str] = ()
    """CAs that are trusted."""
    certs: Many[str] = ()
    """Certificates that are trusted without a CA."""
    pubkeys: Many[str] = ()
    crls: Many[str] = ()
    revocation: Literal["strict", "ifuri", "relaxed"] = "relaxed"
    send_certreq: bool = True
    second: SecondRemote | None = None
    """What the peer must prove besides, when it initiates."""


class Connection(_IkeSettings):
    """`connections.<conn>` of swanctl.conf, with the secret that belongs to it."""

    local_addrs: Many[Address] = ()
    """Empty: whatever address leads to the peer."""
    remote_addrs: Many[Address] = ()
    """Where to find the peer; empty: it must come to us."""
    remote_port: Annotated[int, Field(ge=1, le=65535)] = 500
    """Where it does NAT traversal; 500: its ports are ours, which are 500 and 4500 by default."""
    local_id: OwnIdentityText | None = None
    """None: the subject of our certificate, or our address."""
    vips: Vips = ()
    """Virtual IPs to ask the peer for; 0.0.0.0 and :: ask for any."""
    pools: Many[Name] = ()
    """Where virtual IPs for the peer are leased from: names in `pools`."""
    remote_id: IdentityText | None = None
    """None: anybody who proves it; `*.example.org`, `*@example.org`, `O=Example, CN=*`: all of these."""
    psk: Secret | None = None
    """For the sides that authenticate by it."""
    eap_secrets: Passwords = Field(default_factory=FrozenDict)
    """The passwords by the names of those who authenticate by EAP."""
    local: LocalSide = LocalSide()
    remote: RemoteSide = RemoteSide()
    children: Annotated[Table[ConnectionChild], Field(min_length=1)]

    @property
    def negotiated(self) -> dict[str, ConnectionChild]:
        """The children that are Child SAs."""
        return {name: child for name, child in self.children.items() if not child.is_shunt}

    @property
    def shunts(self) -> dict[str, ConnectionChild]:
        """The children that only bypass or discard."""
        return {name: child for name, child in self.children.items() if child.is_shunt}

    @model_validator(mode="after")
    def _can_encapsulate(self) -> Self:
        _check_encap(self.encap, self.children)
        return self

    @model_validator(mode="after")
    def _has_its_secret(self) -> Self:
        if not self.negotiated:
            return self
        if self.psk is None and "psk" in (self.local.auth, self.remote.auth):
            raise ValueError("has no psk: write one, or `auth: pubkey` for both `local` and `remote`")
        if self.ppk is not None and any(side.auth.startswith("eap") for side in (self.local, self.remote)):
            raise ValueError("a ppk together with EAP is not supported")
        return self

    @model_validator(mode="after")
    def _can_do_a_second_round(self) -> Self:
        own, wanted = self.local.second, self.remote.second
        if own is None and wanted is None:
            return self
        if own is not None and not self.remote_addrs:
            raise ValueError("local.second is for an initiator, which needs remote_addrs")
        if wanted is not None and self.remote_addrs:
            raise ValueError("remote.second is for those who call us: leave remote_addrs out")
        if any(side.auth in METHODS for side in (self.local, self.remote)):
            raise ValueError("a second round of authentication is not supported besides EAP in the first")
        if self.ppk is not None:
            raise ValueError("a ppk together with a second round by EAP is not supported")
        name = None if own is None else own.eap_id or own.id
        if not self.eap_secrets or (name is not None and name not in self.eap_secrets):
            raise ValueError(f"eap_secrets has no password for {name or 'the second round'}")
        return self

    @model_validator(mode="after")
    def _can_do_eap(self) -> Self:
        text = eap_problem(self.local.auth, self.remote.auth)
        if text:
            raise ValueError(text)
        for side in (self.local, self.remote):
            if side.eap_id is not None and side.auth not in METHODS:
                raise ValueError("eap_id is for a side that authenticates by EAP")
            if side.auth in PASSWORD_METHODS and not self.eap_secrets:
                raise ValueError("has no eap_secrets: write `eap_secrets: {carol: her password}`")
        own = self.local.eap_id or self.local_id
        calls = self.local.auth in PASSWORD_METHODS and self.remote.auth not in METHODS
        if calls and own is not None and own not in self.eap_secrets:
            raise ValueError(f"eap_secrets has no password for {own}")
        return self
