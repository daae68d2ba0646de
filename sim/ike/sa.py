"""An IKE SA: its state, keys, addresses, Child SAs, and what is reported of them (RFC 7296 2).

Messages are `conversation`'s, procedures `tasks`'. State changes through `_enter` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.crypto.cipher import cipher
from sim.ike import transport_nat
from sim.ike.alternatives import Alternatives
from sim.ike.bound import bind
from sim.ike.candidates import may_use
from sim.ike.certs import NOT_ASKED
from sim.ike.channel import Channel
from sim.ike.child import ChildSa
from sim.ike.config import ChildConfig, ConnectionConfig, StartAction
from sim.ike.configuration import Configuration, release
from sim.ike.constants import ExchangeType, NotifyType
from sim.ike.conversation import Conversation
from sim.ike.credentials import Method
from sim.ike.events import IkeSaDown, Reason
from sim.ike.exchanges import NEXT_STATES, SERVED_IN, State
from sim.ike.followups import FollowUps
from sim.ike.intermediate import IntAuth
from sim.ike.keymat import IkeKeys, ike_keys, rekey_skeyseed
from sim.ike.lifetimes import Lifetimes
from sim.ike.message import NO_SPI
from sim.ike.mobility import reconsider, start_update
from sim.ike.path import Path, first_path
from sim.ike.path_test import waits
from sim.ike.payloads import NotifyPayload
from sim.ike.proposals import IkeSuite, Proposal, format_proposal
from sim.ike.recovery import action_after
from sim.ike.reports import child_down, child_retired, child_up, ike_up, keys_derived, path_changed
from sim.ike.requests import Requests
from sim.ike.resumption import drop_ticket, take_ticket
from sim.ike.tasks.another_auth import initiate_another
from sim.ike.tasks.auth import Establish, InitiateAuth
from sim.ike.tasks.auth_lifetime import HeedLifetime
from sim.ike.tasks.base import Inbound, Job, Task
from sim.ike.tasks.child_initiate import CreateWanted, InitiateChild
from sim.ike.tasks.child_rekey import RekeyChild
from sim.ike.tasks.child_terms import PacketSelectors, is_inner_host
from sim.ike.tasks.childless import wants_childless
from sim.ike.tasks.configure import RequestConfiguration
from sim.ike.tasks.confirm_path import ConfirmPath
from sim.ike.tasks.crash_detection import PassToken, renew_token
from sim.ike.tasks.delete import DeleteIke
from sim.ike.tasks.eap import InitiateEap
from sim.ike.tasks.intermediate import InitiateIntermediate
from sim.ike.tasks.mobike import SetUpMobike
from sim.ike.tasks.no_nats import wait_for_set_up
from sim.ike.tasks.redirect import FollowInAuth
from sim.ike.tasks.resume import InitiateResume, InitiateResumedAuth, begin_anew
from sim.ike.tasks.sa_init import InitiateSaInit
from sim.ike.tasks.ticket import RequestTicket, ask_for_ticket
from sim.ike.view import view_of
from sim.ike.watch import Watch
from sim.ike.window import heed_window
from sim.units import format_duration
from sim.wire.address import Sock, format_sock
from sim.wire.esp import Mode

if TYPE_CHECKING:
    from sim.crypto.kex import KeyExchange
    from sim.ike.channel import Encoded
    from sim.ike.context import Context
    from sim.ike.errors import PeerError, RefusedError
    from sim.ike.identity import Identity
    from sim.ike.tasks.ike_rekey import RekeyIke, Rival

Wanted = tuple[ChildConfig, PacketSelectors | None]
"""A Child SA to create, and the packet that asked for it."""

Retired = tuple[ChildSa, Reason, str]
"""A Child SA that was replaced and only receives, and why."""


_NO_HASHES: frozenset[int] = frozenset()


class IkeSa:
    """A responder's `connection` is provisional until the peer is authenticated; `candidates` are all.

    `began` is that this side initiated the first of the IKE SAs of which each replaced the one before,
    `followed_by` the number of the next IKE SA that began after the peers had authenticated each other.
    """

    __slots__ = (
        "_afterwards",
        "_wait",
        "additional",
        "alternatives",
        "announced",
        "announced_by",
        "announced_from",
        "asked",
        "began",
        "breaks",
        "candidates",
        "channel",
        "children",
        "chosen",
        "configuration",
        "connection",
        "conversation",
        "counted",
        "cp_problem",
        "created_at",
        "ctx",
        "established_at",
        "followed_by",
        "followups",
        "fragmentation",
        "heir",
        "ike_id",
        "init_digest",
        "init_i",
        "init_r",
        "initiator",
        "int_auth",
        "keys",
        "last_in_at",
        "last_out_at",
        "lifetimes",
        "local_id",
        "mobike",
        "nat_refusals",
        "nonce_i",
        "nonce_r",
        "offered",
        "path",
        "peer_addresses",
        "peer_hashes",
        "peer_is_childless",
        "peer_takes_more",
        "ppk",
        "predecessor",
        "proposal",
        "reason",
        "received",
        "refusal",
        "rekeying_ike",
        "remote_id",
        "requests",
        "retired",
        "retransmits",
        "rival",
        "seen_as",
        "sent",
        "spi_i",
        "spi_r",
        "standby",
        "started_from",
        "state",
        "successor",
        "suite",
        "text",
        "tries",
        "updated_by",
        "use_ppk",
        "wanted",
        "watch",
        "window",
    )

    chosen: Proposal
    suite: IkeSuite
    keys: IkeKeys

    def __init__(
        self,
        ctx: Context,
        candidates: tuple[ConnectionConfig, ...],
        initiator: bool,
        spi: bytes,
        path: Path,
        now: int,
    ) -> None:
        self.ctx = ctx
        self.ike_id = ctx.new_ike_id()
        self.candidates = candidates
        self.connection = candidates[0]
        self.initiator = self.began = initiator
        self.spi_i = spi
        self.spi_r = NO_SPI
        self.path = path
        self.state = State.CONNECTING if initiator else State.HALF_OPEN
        self.channel = Channel(self)
        self.requests = Requests(self, self.channel)
        self.conversation = Conversation(self, self.channel)
        self.watch = Watch(self)
        self.alternatives = Alternatives()
        self.children: dict[int, ChildSa] = {}
        self.proposal = ""
        self.offered: tuple[Proposal, ...] = ()
        self.nonce_i = self.nonce_r = self.init_i = self.init_r = b""
        self.peer_hashes = _NO_HASHES
        self.asked = NOT_ASKED
        self.local_id: Identity | None = None
        self.remote_id: Identity | None = None
        self.mobike = self.fragmentation = self.use_ppk = self.ppk = False
        self.int_auth: IntAuth | None = None
        self.additional: tuple[KeyExchange, ...] = ()
        self.followups = FollowUps(self)
        self.peer_addresses: tuple[bytes, ...] = ()
        self.announced: tuple[bytes, ...] = ()
        self.announced_from = b""
        self.announced_by = self.updated_by = -1
        self.seen_as: bytes | None = None
        self.wanted: list[Wanted] = []
        self.retired: dict[int, Retired] = {}
        self.lifetimes = Lifetimes(self)
        self.rekeying_ike: RekeyIke | None = None
        self.followed_by = 0
        self.heir: IkeSa | None = None
        self.predecessor: IkeSa | None = None
        self.rival: Rival | None = None
        self.standby = False
        self.tries = self.window = 1
        self.nat_refusals = self._wait = 0
        self.peer_is_childless = self.peer_takes_more = False
        self.configuration: Configuration | None = None
        self.cp_problem: PeerError | None = None
        self.successor = self.breaks = 0
        self._afterwards: list[Wanted] = []
        self.started_from = path.remote[0]
        self.counted = False
        self.init_digest = b""
        self.created_at = now
        self.established_at = self.last_in_at = self.last_out_at = -1
        self.sent = self.received = self.retransmits = 0
        self.reason, self.text = Reason.NONE, ""
        self.refusal: tuple[Reason, str] | None = None
        ctx.sas[self.ike_id] = self

    @property
    def signed_later(self) -> bytes:
        """What AUTH covers beside IKE_SA_INIT and the identity (RFC 9242 3.3.1)."""
        return b"" if self.int_auth is None else self.int_auth.octets()

    @property
    def own_spi(self) -> bytes:
        return self.spi_i if self.initiator else self.spi_r

    @property
    def lacks_vips(self) -> bool:
        """Whether we are to ask for virtual IPs, and have none yet."""
        return bool(self.connection.vips) and self.initiator and self.configuration is None

    def has_vip(self, address: bytes) -> bool:
        configuration = self.configuration
        return configuration is not None and configuration.ours and address in configuration.vips

    # -- coming up ---------------------------------------------------------------------------------------

    def derive(self, chosen: Proposal, suite: IkeSuite, keys: IkeKeys) -> None:
        """Take the keys of the first exchange into use."""
        self.chosen = chosen
        self.suite, self.keys, self.proposal = suite, keys, format_proposal(chosen)
        rand = self.ctx.rand
        ours = (keys.sk_ei, keys.sk_ai) if self.initiator else (keys.sk_er, keys.sk_ar)
        theirs = (keys.sk_er, keys.sk_ar) if self.initiator else (keys.sk_ei, keys.sk_ai)
        self.channel.protect(
            cipher(suite.encryption, suite.integrity, *ours, rand, keep=False),
            cipher(suite.encryption, suite.integrity, *theirs, rand, keep=False),
        )
        self.ctx.emit(keys_derived(self))

    def strengthen(self, shared: bytes) -> None:
        """Take the secret of an additional key exchange into all keys, from now on (RFC 9370 2.2.2)."""
        prf, nonces = self.suite.prf, (self.nonce_i, self.nonce_r)
        seed = rekey_skeyseed(prf, self.keys.sk_d, shared, *nonces)
        self.derive(self.chosen, self.suite, ike_keys(self.suite, seed, *nonces, self.spi_i, self.spi_r))

    def serves(self, exchange: int) -> bool:
        """Whether a request of this kind is in its place; IKE_AUTH waits for all key exchanges."""
        if self.state is State.HALF_OPEN and (exchange == ExchangeType.IKE_AUTH) is bool(self.additional):
            return False
        return exchange in SERVED_IN.get(self.state, ())

    def confirm(self, now: int) -> None:
        """The keys of IKE_SA_INIT are there: go on to further key exchanges, or to IKE_AUTH."""
        if self.additional:
            self.requests.submit(
                Job(ExchangeType.IKE_INTERMEDIATE, [InitiateIntermediate()]), now, first=True
            )
        else:
            self.authenticate(now)

    def authenticate(self, now: int) -> None:
        """Go on to IKE_AUTH, with the first of the Child SAs that are wanted."""
        eap = self.connection.local.method is Method.EAP
        first = self.wanted.pop(0) if self.wanted and not wants_childless(self) else None
        proofs: list[Task] = [InitiateEap() if eap else InitiateAuth(), *initiate_another(self)]
        if self.alternatives.resumed is not None:
            proofs = [InitiateResumedAuth()]
        tasks: list[Task] = [
            *proofs,
            FollowInAuth(first),
            SetUpMobike(),
            Establish(),
            HeedLifetime(),
            PassToken(),
            RequestTicket(),
        ]
        if self.connection.vips:
            tasks.append(RequestConfiguration())
        if first is not None:
            tasks.append(InitiateChild(ExchangeType.IKE_AUTH, *first))
        tasks += [ConfirmPath(self.path), CreateWanted()]
        self.requests.submit(Job(ExchangeType.IKE_AUTH, tasks), now, first=True)

    def forget_beginnings(self) -> None:
        """What IKE_AUTH alone needed: the octets that it signs, and the nonces."""
        self.init_i = self.init_r = self.nonce_i = self.nonce_r = b""
        self.int_auth = None
        self.offered, self.peer_hashes, self.asked = (), _NO_HASHES, NOT_ASKED
        self.candidates = (self.connection,)

    def create_wanted(self, now: int) -> None:
        """Create the Child SAs that are still wanted, each in an exchange of its own."""
        exchange = ExchangeType.CREATE_CHILD_SA
        while self.wanted and self.state is State.ESTABLISHED:
            tasks: list[Task] = [InitiateChild(exchange, *self.wanted.pop(0))]
            if self.lacks_vips:
                tasks.insert(0, RequestConfiguration())
            self.requests.submit(Job(exchange, tasks), now)

    def establish(self, now: int) -> None:
        """Both sides are authenticated."""
        self._enter(State.ESTABLISHED)
        self.created_at = now
        self.followed_by = self.ctx.next_ike_id
        self.established_at = self.last_in_at = now
        self.reason, self.text = Reason.NONE, ""
        self.ctx.index(self)
        self._count_out()
        self.ctx.timers.cancel((self.ike_id, "half-open"))
        self.ctx.emit(ike_up(self))
        self.watch.start(now)
        self.lifetimes.start_ike(now)

    def has_child(self, config: ChildConfig, packet: PacketSelectors | None) -> bool:
        """Whether this Child SA is up, and is for this packet as well, or is asked for (RFC 7296 2.9)."""
        return (
            any(
                child.config is config and not (child.deleting or child.is_bound) and child.covers(packet)
                for child in self.children.values()
            )
            or any(wanted is config for wanted, _ in self.wanted)
            or any(task.config is config for task in self._asked_for() if not task.further)
        )

    def add_child(self, child: ChildSa, now: int, replaces: ChildSa | None = None) -> None:
        """Report a new Child SA, ready to receive at once (RFC 7296 2.8)."""
        bind(child, self.path)
        self.children[child.spi_in] = self.ctx.children[child.spi_in] = child
        for host in _inner_hosts(child):
            self.ctx.inner_hosts[host] = child
        transport_nat.inherit(child, replaces)
        transport_nat.note(child)
        self.ctx.emit(child_up(self, child, 0 if replaces is None else replaces.spi_in))
        self.lifetimes.start_child(child, now)
        if replaces is not None:
            self.lifetimes.rekeyed()

    def heard(self, received: Inbound, now: int) -> None:
        """The peer sent an authentic, new message; follow its address where that is allowed."""
        self.last_in_at = now
        heed_window(self, received.message)
        path = self.path
        if self.state is State.HALF_OPEN:
            # The port moves, and MOBIKE counts from the addresses of the first IKE_AUTH (RFC 4555 3.3).
            if not self.conversation.keeps_path:
                path.local, path.remote = received.dst, received.src
        elif received.src != path.remote and self.follows_peer:
            path.move(path.local, received.src)
            self.moved(now)

    @property
    def follows_peer(self) -> bool:
        """Whether an authentic IKE message moves the peer (RFC 7296 2.23; not with MOBIKE, RFC 4555 3.8)."""
        path = self.path
        return self.state is State.ESTABLISHED and not self.mobike and path.natt and not path.nat_local

    # -- changing address --------------------------------------------------------------------------------

    def moved(self, now: int) -> None:
        """The path of the Child SAs changed: report it, and keep the mapping alive if there is one."""
        self.ctx.emit(path_changed(self))
        self.watch.start(now)

    def reconsider(self, now: int) -> None:
        """Addresses changed, here or there: see whether this SA must move."""
        reconsider(self, now)

    def move_to(self, local: Sock, remote: Sock, now: int) -> None:
        """Change addresses as MOBIKE's initiator, and tell the responder."""
        start_update(self, local, remote, now)

    def start_over(self, local: bytes, now: int, reason: Reason, text: str) -> None:
        """Set the connection up afresh from an address, with all Child SAs that this IKE SA was for."""
        wanted = self.all_wanted()
        path = first_path(self.ctx.config, self.connection, local, self.path.remote[0])
        initiate(self.ctx, self.connection, path, wanted, now)
        if self.state is State.ESTABLISHED:
            self.end_politely(reason, text, now)
        else:
            self.end(reason, text, now)

    def go_to(self, path: Path, wanted: list[Wanted], now: int) -> IkeSa:
        """Set the connection up with the gateway that the present one sends us to."""
        return initiate(self.ctx, self.connection, path, wanted, now, sent_by=self.path.remote[0])

    def float_port(self) -> None:
        """Leave IKE's port for a NAT, or for one that MOBIKE may meet (RFC 7296 2.23, RFC 4555 3.3)."""
        path, config = self.path, self.ctx.config
        if path.natt and (path.encap or self.connection.mobike) and path.local[1] == config.ike_port:
            path.local = (path.local[0], config.natt_port)
            path.remote = (path.remote[0], config.natt_port)

    # -- replacing it ------------------------------------------------------------------------------------

    def make_successor(self, initiator: bool, spis: tuple[bytes, bytes], now: int) -> IkeSa:
        """An IKE SA between the same two, at the same addresses, whose message IDs start at 0 again."""
        new = IkeSa(self.ctx, (self.connection,), initiator, spis[0], self.path, now)
        new.spi_r = spis[1]
        new.local_id, new.remote_id = self.local_id, self.remote_id
        new.began, new.mobike, new.peer_addresses = self.began, self.mobike, self.peer_addresses
        new.fragmentation, new.ppk = self.fragmentation, self.ppk
        new.announced, new.announced_from = self.announced, self.announced_from
        new.seen_as = self.seen_as
        new.lifetimes.inherit(self.lifetimes)
        new.alternatives.inherit(self.alternatives)
        new.watch.inherit(self.watch)
        new.followed_by = self.followed_by
        self.ctx.by_spi[new.own_spi] = new
        return new

    def stand_by(self, now: int) -> None:
        """It has keys, and waits for the word that it replaces another one."""
        self.standby = True
        self._enter(State.ESTABLISHED)
        self.established_at = self.last_in_at = now
        text = "nothing came of the rekeying that made it"
        at = now + self.ctx.config.half_open_timeout
        self.ctx.timers.arm((self.ike_id, "standby"), at, lambda due: self.end(Reason.REDUNDANT, text, due))

    def take_over(self, now: int) -> None:
        """It is the connection's IKE SA from now on."""
        self.standby = False
        self.ctx.timers.cancel((self.ike_id, "standby"))
        self.ctx.index(self)
        self.watch.start(now)
        self.lifetimes.start_ike(now)
        renew_token(self, now)
        ask_for_ticket(self, now)

    def hand_over(self, now: int) -> None:
        """Another IKE SA has taken over; a last request of either side is still to come."""
        self._enter(State.REKEYED)
        self.reason, self.text = Reason.REKEYED, "rekeyed"
        self.ctx.unindex(self)
        self.watch.stop()
        self.lifetimes.stop_ike()
        at = now + self.ctx.config.half_open_timeout
        self.ctx.timers.arm((self.ike_id, "standby"), at, lambda due: self.end(self.reason, self.text, due))

    def reauthenticate(self, text: str, now: int) -> None:
        """If we can call, make a new IKE SA with all Child SAs of this one (2.8.3); `text` says why."""
        if self.state is not State.ESTABLISHED or self.standby or not self.connection.remote_addrs:
            return
        if not self.connection.make_before_break:
            self._afterwards = self.all_wanted()
            self.end_politely(Reason.REAUTHENTICATED, text, now)
        elif self.ctx.sas.get(self.successor) is None:
            new = connect(self.ctx, self.connection, self.all_wanted(), now, fresh=True)
            if new is not None:
                self.successor, new.breaks = new.ike_id, self.ike_id

    def settled(self, now: int) -> None:
        """A Child SA that we asked for is settled; after the last one, what this IKE SA replaces goes."""
        if self.breaks and not self.wanted and not self.requests.tasks(InitiateChild):
            old = self.ctx.sas.get(self.breaks)
            self.breaks = 0
            if old is not None:
                again = Reason.REAUTHENTICATED, "its peers have authenticated each other again"
                old.end_politely(*(self.alternatives.breaks_why or again), now)

    def all_wanted(self) -> list[Wanted]:
        """All Child SAs that this IKE SA has, or was to have."""
        wanted: list[Wanted] = [
            (c.config, _packet_of(c)) for c in self.children.values() if not (c.replaced or c.is_bound)
        ]
        wanted += [
            (task.config, task.packet)
            for task in self._asked_for()
            if not (task.further or isinstance(task, RekeyChild))
        ]
        return wanted + list(self.wanted)

    def _asked_for(self) -> list[InitiateChild]:
        return self.requests.tasks(InitiateChild)

    # -- going down --------------------------------------------------------------------------------------

    def remove_child(self, child: ChildSa, reason: Reason, text: str) -> None:
        if self._forget_child(child):
            self.ctx.release_spi(child.spi_in)
            self._report_child_down(child, reason, text)

    def give_up_child(self, child: ChildSa, reason: Reason, text: str) -> None:
        """Use a Child SA no more in either direction; its SPI stays ours until the peer knows."""
        self._report_child_down(child, reason, text)
        child.expired = True

    def _report_child_down(self, child: ChildSa, reason: Reason, text: str) -> None:
        if not child.expired:
            self.ctx.emit(child_down(self, child, reason, text))

    def retire_child(self, child: ChildSa, reason: Reason, text: str, now: int) -> None:
        """A Child SA that was replaced receives for a while: packets may overtake each other."""
        delay = self.ctx.config.delete_rekeyed_delay
        if not child.replaced or child.expired or not delay:
            self.remove_child(child, reason, text)
        elif self._forget_child(child):
            self.retired[child.spi_in] = (child, reason, text)
            self.silence(child)
            self.ctx.timers.arm(
                ("retired", child.spi_in), now + delay, lambda due: child.ike.bury(child.spi_in)
            )

    def silence(self, child: ChildSa) -> None:
        """A Child SA that was replaced is sent on no more."""
        if not (child.silent or child.expired):
            child.silent = True
            self.ctx.emit(child_retired(self, child))

    def bury(self, spi_in: int) -> None:
        """The time of a retired Child SA is over."""
        child, reason, text = self.retired.pop(spi_in)
        self.ctx.timers.cancel(("retired", spi_in))
        self.ctx.release_spi(spi_in)
        self.ctx.emit(child_down(self, child, reason, text))

    def _forget_child(self, child: ChildSa) -> bool:
        if self.children.pop(child.spi_in, None) is None:
            return False
        del self.ctx.children[child.spi_in]
        self.lifetimes.stop_child(child)
        transport_nat.forget(child)
        for host in _inner_hosts(child):
            if self.ctx.inner_hosts.get(host) is child:
                del self.ctx.inner_hosts[host]
        return True

    def end(self, reason: Reason, text: str, now: int) -> None:
        """The IKE SA and its Child SAs are gone, at both ends; only repeated requests are still answered."""
        if self.state is State.ESTABLISHED:
            self._afterwards += [
                wanted for wanted in self.all_wanted() if action_after(wanted[0], reason) is StartAction.START
            ]
        self._report_down(reason, text)
        self._close(now)

    def end_politely(self, reason: Reason, text: str, now: int, *notifies: NotifyPayload) -> None:
        """End it here, and tell the peer."""
        if self.state in (State.DELETING, State.CLOSED):
            return
        self._report_down(reason, text)
        self.requests.abandon_tasks()
        self._enter(State.DELETING)
        self.watch.stop()
        self.requests.submit(Job(ExchangeType.INFORMATIONAL, [DeleteIke(notifies)]), now)

    def misunderstood(self, error: PeerError, now: int) -> None:
        """We answered a request with an error; some of them are fatal (RFC 7296 2.21.2, 2.21.3)."""
        if self.state is State.HALF_OPEN or error.notify == NotifyType.INVALID_SYNTAX:
            self.end(error.reason, error.text, now)

    def disappointed(self, error: PeerError, now: int) -> None:
        """The peer's response is not acceptable: tell it in an exchange of its own (RFC 7296 2.21.2)."""
        if self.state is State.DELETING:
            self.end(error.reason, error.text, now)
        else:
            self.end_politely(error.reason, error.text, now, error.payload())

    def timed_out(self, request: Encoded, tested: int, now: int) -> None:
        """The peer did not answer a request, nor by `tested` other paths; RFC 7296 2.4 takes it for dead."""
        delays = waits(self)
        text = (
            f"{format_sock(self.path.remote)} did not answer {request.payloads} within "
            f"{format_duration(sum(delays))}, sent {len(delays)} times"
        )
        if tested:
            text += f", and by {tested} other path{'s' if tested > 1 else ''}"
        if self.requests.tasks(InitiateResume):
            self.requests.abandon()
            begin_anew(self)
            self.requests.pump(now)
            return
        if self.state is State.CONNECTING and self.connection.keyingtries != self.tries:
            self._afterwards = self.all_wanted()
        if self.reason is Reason.NONE:
            self.end(Reason.TIMEOUT, text, now)
        else:
            self.end(self.reason, self.text, now)

    def refused(self, job: Job, error: RefusedError) -> None:
        """The peer does not want us; what an attacker may have caused is tried again (RFC 4555 3.9)."""
        wait = wait_for_set_up(self, error) if self.state is State.CONNECTING else None
        if wait is not None:
            asked = [(task.config, task.packet) for task in job.tasks if isinstance(task, InitiateChild)]
            self._afterwards, self._wait = [*asked, *self.wanted], wait

    def doubt(self, reason: Reason, text: str) -> None:
        """Remember what an unauthenticated error says; it counts once patience ends (RFC 7296 2.21.1)."""
        self.reason, self.text = reason, text

    def _report_down(self, reason: Reason, text: str) -> None:
        if self.state in (State.DELETING, State.CLOSED):
            return
        if self.standby:
            reason = Reason.REDUNDANT
        elif self.state is State.REKEYED:
            reason, text = self.reason, self.text
        self.reason, self.text = reason, text
        self.ctx.unindex(self)
        drop_ticket(self, reason)
        for child in list(self.children.values()):
            self.remove_child(child, reason, text)
        for spi_in in list(self.retired):
            self.bury(spi_in)
        release(self)
        self.ctx.emit(IkeSaDown(self.ike_id, self.connection.name, self.initiator, reason, text))

    def _close(self, now: int) -> None:
        """Leave every index but that of the SPI: repeated requests are answered for a while longer."""
        if self.state is State.CLOSED:
            return
        self._enter(State.CLOSED)
        ctx = self.ctx
        ctx.sas.pop(self.ike_id, None)
        self.predecessor = None
        if self.reason not in (Reason.REKEYED, Reason.REDUNDANT):
            ctx.closed[self.connection.name] = view_of(self)
        self.watch.stop()
        self.lifetimes.stop_ike()
        self.requests.abandon()
        self.channel.close()
        self.followups.close()
        ctx.timers.cancel((self.ike_id, "start"))
        ctx.timers.cancel((self.ike_id, "standby"))
        ctx.timers.cancel((self.ike_id, "patience"))
        ctx.timers.cancel((self.ike_id, "redirected"))
        ctx.timers.cancel((self.ike_id, "half-open"))
        if self.conversation.answered_protected:
            ctx.timers.arm((self.ike_id, "linger"), now + ctx.config.half_open_timeout, self._forget)
        else:
            self._forget(now)
        self._go_on_elsewhere(now)

    def _go_on_elsewhere(self, now: int) -> None:
        """Set the connection up afresh if that is to follow; a packet may have begun to do so already."""
        wanted, self._afterwards = self._afterwards, []
        if not wanted or not self.connection.remote_addrs:
            return
        new = self.ctx.connected(self.connection.name)
        if new is not None:
            new.wanted.extend((child, packet) for child, packet in wanted if not new.has_child(child, packet))
            new.create_wanted(now)
            return
        new = connect(self.ctx, self.connection, wanted, now, self._wait)
        if new is not None and self._wait:
            new.tries, new.nat_refusals = self.tries, self.nat_refusals + 1
        elif new is not None and self.established_at < 0:
            new.tries = self.tries + 1

    def _forget(self, now: int) -> None:
        self.ctx.by_spi.pop(self.own_spi, None)
        self.ctx.by_init.pop(self.init_digest, None)
        self._count_out()

    def _count_out(self) -> None:
        """No longer one of the half-open SAs that are limited; a failed one counts until it is forgotten."""
        if self.counted:
            self.counted = False
            self.ctx.count_half_open(self.started_from, -1)

    def _enter(self, state: State) -> None:
        assert state in NEXT_STATES[self.state], f"{self.state} to {state}"
        self.state = state


def _packet_of(child: ChildSa) -> PacketSelectors | None:
    """What stands for the packet that asked for a Child SA, where its selectors are that packet's."""
    return (child.local_ts[0], child.remote_ts[0]) if child.config.populate else None


def connect(
    ctx: Context,
    config: ConnectionConfig,
    wanted: Iterable[Wanted],
    now: int,
    wait: int = 0,
    *,
    fresh: bool = False,
) -> IkeSa | None:
    """Begin an IKE SA, after `wait`, from the address that fits, or wait for one; `fresh` without ticket."""
    path = path_to(config, ctx)
    if path is None:
        ctx.waiting.update({(config.name, child.name): packet for child, packet in wanted})
        return None
    return initiate(ctx, config, path, wanted, now, wait=wait, fresh=fresh)


def path_to(config: ConnectionConfig, ctx: Context) -> Path | None:
    """The first pair of addresses of which ours leads to the peer's, or None."""
    for remote in config.remote_addrs:
        for local in ctx.towards(remote):
            if may_use(ctx, config, local, remote):
                return first_path(ctx.config, config, local, remote)
    return None


def initiate(
    ctx: Context,
    config: ConnectionConfig,
    path: Path,
    wanted: Iterable[Wanted],
    now: int,
    *,
    wait: int = 0,
    sent_by: bytes = b"",
    fresh: bool = False,
) -> IkeSa:
    """Begin an IKE SA, for Child SAs with the selectors of the packets that asked for them.

    It sets out after `wait`. `sent_by` is the gateway that has redirected us to this one. A ticket of its is
    used unless the proof shall be `fresh`.
    """
    sa = IkeSa(ctx, (config,), True, ctx.new_ike_spi(), path, now)
    sa.alternatives.redirected_from = sent_by
    ctx.by_spi[sa.spi_i] = sa
    ctx.index(sa)
    sa.wanted.extend(wanted)
    if wait:
        ctx.timers.arm((sa.ike_id, "start"), now + wait, lambda due: _set_out(sa, due, fresh=fresh))
    else:
        _set_out(sa, now, fresh=fresh)
    return sa


def _set_out(sa: IkeSa, now: int, *, fresh: bool) -> None:
    """By the ticket for this gateway, if there is one that may be used."""
    held = None if fresh else take_ticket(sa.ctx, sa.connection, sa.path.remote[0], now)
    if held is None:
        sa.requests.submit(Job(ExchangeType.IKE_SA_INIT, [InitiateSaInit(sa)]), now)
    else:
        sa.requests.submit(Job(ExchangeType.IKE_SESSION_RESUME, [InitiateResume(sa, held)]), now)


def _inner_hosts(child: ChildSa) -> list[bytes]:
    """The addresses that this peer alone may use inside the tunnel because it named them itself.

    Where the configuration allows more, these are the private ones of a host behind a NAT: others may have
    the same behind theirs (RFC 3948 5.1).
    """
    if child.initiator:
        return []
    if not child.config.remote_ts:
        return [selector.start for selector in child.remote_ts]
    natted = child.mode is Mode.TUNNEL and child.ike.path.nat_remote
    return [selector.start for selector in child.remote_ts if natted and is_inner_host(selector)]
