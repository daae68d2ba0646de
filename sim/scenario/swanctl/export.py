"""swanctl.conf and strongswan.conf of each endpoint of a scenario, for a real strongSwan in its place.

Keys are written wherever strongSwan's default differs from what this stack does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from sim.ike.config import IKE_PORT
from sim.ike.credentials import Method, parse_auth, uses_tls
from sim.ike.identity import Identity
from sim.net.engine import Simulation
from sim.scenario.authority import PKI_SEED, with_pki
from sim.scenario.errors import Path, Problem, ScenarioError
from sim.scenario.expand import expand
from sim.scenario.schema import Connection, ConnectionChild, Scenario
from sim.scenario.schema_iptfs import IptfsSettings
from sim.scenario.schema_pools import Pool
from sim.scenario.schema_tunnels import LocalSide, RemoteSide, SecondLocal, SecondRemote
from sim.scenario.selectors import format_selectors
from sim.scenario.swanctl import iptfs
from sim.scenario.swanctl.certificates import own_files
from sim.scenario.swanctl.daemon import TIMING
from sim.scenario.swanctl.identities import read_identity, their_text
from sim.scenario.swanctl.proposals import their_proposal
from sim.scenario.swanctl.secrets import AmbiguousError, SharedSecret, choose
from sim.scenario.swanctl.tokens import Place
from sim.units import NS_PER_S, format_duration, format_size
from sim.wire.handling import TO_MTU
from sim.wire.selector import ICMP, Selector

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_LIST = ", "
_TYPE_AND_CODE = re.compile(r"(\d+)\((\d+)\)")
_SAID = "strongSwan says this name where it is asked for one, and else who it is in IKE"
_LINUX_SIZES = {
    "df": "Linux clears DF where it does not copy it",
    "fragment": "Linux cuts what is too long after its encapsulation",
    "icmp_check": "Linux looks at what an ICMP error quotes only where no selector covers the error",
    "mss_clamp": "clamp the MSS with a rule of nftables (`tcp option maxseg size set`): strongSwan does not",
}
Lines = Iterator[str]


@dataclass(frozen=True, slots=True)
class Export:
    """`files` by their names below a folder; `notes` say what strongSwan will do otherwise."""

    files: dict[str, str]
    notes: tuple[Problem, ...]


def export(scenario: Scenario) -> Export:
    """The files of every node that has connections.

    ScenarioError when strongSwan could not tell which secret belongs to which connection.
    """
    expanded = with_pki(expand(scenario), Simulation(PKI_SEED).rand)
    files: dict[str, str] = {}
    notes: list[Problem] = []
    for node, connections in expanded.connections.items():
        if not connections:
            continue
        writer = _Writer(expanded, node, connections)
        files |= {f"{node}/{name}": text for name, text in writer.certificates().items()}
        files[f"{node}/swanctl.conf"] = "\n".join(writer.swanctl()) + "\n"
        files[f"{node}/strongswan.conf"] = "\n".join(writer.strongswan()) + "\n"
        notes += writer.notes
    if not files:
        raise ScenarioError(
            [scenario.problem((), "has no tunnels and no connections, so there is nothing to export")]
        )
    for index, fault in enumerate(expanded.faults):
        text = f"strongSwan does nothing wrong on purpose: `{fault.do}` is left out"
        notes.append(expanded.problem(("faults", index), text))
    return Export(files, tuple(dict.fromkeys(notes)))


class _Writer:
    """The two files of one node."""

    def __init__(self, scenario: Scenario, node: str, connections: Mapping[str, Connection]) -> None:
        self._scenario = scenario
        self._node = node
        self._connections = connections
        self.notes: list[Problem] = []

    def swanctl(self) -> Lines:
        yield f"# {_comment(self._scenario.name)}: {self._node}; load it by `swanctl --load-all --file FILE`"
        yield "connections {"
        for name, connection in self._connections.items():
            yield from _indented(self._connection(name, connection))
        yield "}"
        pools = self._scenario.pools.get(self._node)
        if pools:
            yield "pools {"
            yield from _indented(line for name, pool in pools.items() for line in _section(name, _pool(pool)))
            yield "}"
        yield "secrets {"
        yield from _indented(self._secrets())
        yield "}"

    def strongswan(self) -> Lines:
        """The daemon has one value for all connections: the first's."""
        first = next(iter(self._connections.values()))
        yield f"# {_comment(self._scenario.name)}: {self._node}; include this file in strongswan.conf"
        yield "charon {"
        yield f"    keep_alive = {self._seconds(('keep_alive',), first.keep_alive)}"
        yield f"    make_before_break = {_yes(first.make_before_break)}"
        yield f"    follow_redirects = {_yes(first.follow_redirects)}"
        yield f"    fragment_size = {first.fragment_size}"
        if first.retransmit in TIMING:
            timeout, base, tries = TIMING[first.retransmit]
            yield f"    retransmit_timeout = {timeout}"
            yield f"    retransmit_base = {base}"
            yield f"    retransmit_tries = {tries}"
        if (settings := self._first_iptfs) is not None:
            yield from _indented(iptfs.write(settings))
        yield "}"
        own = {
            name: list(self._own(name, connection, first)) for name, connection in self._connections.items()
        }
        if any(own.values()):
            yield "# strongSwan has no such settings of one connection; ipsec-sim reads them back from here"
            yield "ipsec-sim {"
            for name, lines in own.items():
                yield from _indented(_section(name, iter(lines))) if lines else ()
            yield "}"

    @property
    def _first_iptfs(self) -> IptfsSettings | None:
        """The daemon has one set of these for all Child SAs: the first's."""
        children = (
            child for connection in self._connections.values() for child in connection.children.values()
        )
        return next((child.iptfs for child in children if child.mode == "iptfs"), None)

    def _own_iptfs(self, name: str, connection: Connection) -> Lines:
        for label, child in connection.children.items():
            if child.mode == "iptfs" and not iptfs.as_daemon(child.iptfs, self._first_iptfs):
                yield from _section(label, iptfs.write_own(child.iptfs))
                text = "strongSwan has one set of these for all children, and sends at no rate of its own"
                self._note((name, "children", label, "iptfs"), text)

    def _own(self, name: str, connection: Connection, first: Connection) -> Lines:
        if connection.keep_alive != first.keep_alive or connection.keep_alive % NS_PER_S:
            yield f"keep_alive = {format_duration(connection.keep_alive)}"
        if connection.keep_alive != first.keep_alive:
            self._note(
                (name, "keep_alive"), "strongSwan has one interval for all connections, that of the first"
            )
        if connection.fragment_size != first.fragment_size:
            yield f"fragment_size = {format_size(connection.fragment_size)}"
            self._note(
                (name, "fragment_size"), "strongSwan has one size for all connections, that of the first"
            )
        if connection.retransmit != first.retransmit or connection.retransmit not in TIMING:
            yield f"retransmit = {connection.retransmit}"
            self._note(
                (name, "retransmit"), "strongSwan cannot repeat the requests of this connection like that"
            )
        if lines := list(self._own_iptfs(name, connection)):
            yield from _section("iptfs", iter(lines))
        if connection.window > 1:
            yield f"window = {connection.window}"
            self._note((name, "window"), "strongSwan takes one request at a time")
        if connection.make_before_break != first.make_before_break:
            yield f"make_before_break = {_yes(connection.make_before_break)}"
            self._note(
                (name, "make_before_break"),
                "strongSwan has one setting for all connections, that of the first",
            )
        if connection.follow_redirects != first.follow_redirects:
            yield f"follow_redirects = {_yes(connection.follow_redirects)}"
            text = "strongSwan has one setting for all connections, that of the first"
            self._note((name, "follow_redirects"), text)
        if connection.redirect_to is not None:
            yield f"redirect_to = {connection.redirect_to}"
            self._note((name, "redirect_to"), "strongSwan redirects by `swanctl --redirect` alone")
        if connection.redirect_when != "auth":
            yield f"redirect_when = {connection.redirect_when}"
        if connection.keepalive_policy != "fixed":
            yield f"keepalive_policy = {connection.keepalive_policy}"
            self._note((name, "keepalive_policy"), "strongSwan sends keepalives at a fixed interval")
        for key in ("keepalive_max", "radio_tail"):
            if getattr(connection, key) != type(connection).model_fields[key].default:
                yield f"{key} = {format_duration(getattr(connection, key))}"
        if connection.resumption:
            yield "resumption = yes"
            self._note((name, "resumption"), "strongSwan neither makes nor uses tickets")
        if connection.qcd:
            yield "qcd = yes"
            self._note((name, "qcd"), "strongSwan neither gives nor takes tokens of crash detection")
        if not connection.nat_traversal:
            yield "nat_traversal = no"
            text = "strongSwan always does NAT traversal, and never forbids NATs"
            self._note((name, "nat_traversal"), text)
        if connection.return_routability != "before":
            yield f"return_routability = {connection.return_routability}"
        if connection.return_routability != "none" and connection.mobike:
            text = "strongSwan takes a new address of its peer without a test"
            self._note((name, "return_routability"), text)

    def _connection(self, name: str, connection: Connection) -> Lines:
        return _section(name, self._settings(name, connection))

    def _settings(self, name: str, connection: Connection) -> Lines:
        if not connection.negotiated:
            children = (
                _section(child, self._child(name, child, c)) for child, c in connection.shunts.items()
            )
            yield from _section("children", (line for lines in children for line in lines))
            return
        yield "version = 2"
        if connection.local_addrs:
            yield f"local_addrs = {_LIST.join(connection.local_addrs)}"
        if connection.remote_addrs:
            yield f"remote_addrs = {_LIST.join(connection.remote_addrs)}"
        if connection.vips:
            yield f"vips = {_LIST.join(connection.vips)}"
        if connection.pools:
            yield f"pools = {_LIST.join(connection.pools)}"
        if connection.remote_port != IKE_PORT:  # strongSwan marks messages where neither port is 500
            yield from (f"remote_port = {connection.remote_port}", "local_port = 4500")
        yield f"proposals = {_LIST.join(map(their_proposal, connection.proposals))}"
        if any("-ke" in text or "mlkem" in text for text in connection.proposals):
            self._note((name, "proposals"), "strongSwan has additional key exchanges and ML-KEM since 6.0")
        yield f"mobike = {_yes(connection.mobike)}"
        yield f"encap = {_yes(connection.encap)}"
        if connection.dscp:
            yield f"dscp = {connection.dscp:06b}"
        yield f"dpd_delay = {self._seconds((name, 'dpd_delay'), connection.dpd_delay)}"
        yield f"fragmentation = {connection.fragmentation}"
        if connection.ppk_id is not None:
            yield f"ppk_id = {_quoted(their_text(connection.ppk_id))}"
            yield f"ppk_required = {_yes(connection.ppk_required)}"
        yield f"unique = {connection.unique}"
        yield f"childless = {connection.childless}"
        yield f"keyingtries = {connection.keyingtries}"
        remote_key = _is_pubkey(connection.remote.auth) or uses_tls(connection.remote.auth)
        yield f"send_certreq = {_yes(remote_key and connection.remote.send_certreq)}"
        if connection.local.key is not None:
            yield f"send_cert = {connection.local.send_cert}"
        yield from self._times((name,), connection, ("reauth_time", "rekey_time", "over_time", "rand_time"))
        local, remote = self._local(name, connection.local), self._remote(name, connection.remote)
        yield from _section("local", chain(local, self._id((name, "local_id"), connection.local_id)))
        yield from _section("remote", chain(remote, self._id((name, "remote_id"), connection.remote_id)))
        for side, second in (("local", connection.local.second), ("remote", connection.remote.second)):
            if second is not None:
                yield from _section(f"{side}-2", self._second((name, side, "second"), second))
        children = (
            _section(child, self._child(name, child, conf)) for child, conf in connection.children.items()
        )
        yield from _section("children", (line for lines in children for line in lines))

    def _local(self, name: str, side: LocalSide) -> Lines:
        yield self._method((name, "local", "auth"), side.auth)
        yield from self._eap_id((name, "local", "eap_id"), side.eap_id)
        if side.eap_id is not None:
            self._note((name, "local", "eap_id"), _SAID)
        if side.key is not None:
            kind = "certs" if side.certs else "pubkeys"
            yield f"{kind} = {name}.pem"

    def _remote(self, name: str, side: RemoteSide) -> Lines:
        if side.auth == "eap":
            text = "strongSwan asks for one method of EAP: write such as eap-mschapv2"
            raise ScenarioError([self._problem((name, "remote", "auth"), text)])
        yield self._method((name, "remote", "auth"), side.auth)
        yield from self._eap_id((name, "remote", "eap_id"), side.eap_id)
        if not _is_pubkey(side.auth) and not uses_tls(side.auth):
            return
        for kind in ("cacerts", "certs", "pubkeys"):
            texts = getattr(side, kind)
            if texts:
                yield f"{kind} = {_LIST.join(_peer_file(name, n) for n in range(len(texts)))}"
        yield f"revocation = {side.revocation}"

    def _second(self, path: Path, second: SecondLocal | SecondRemote) -> Lines:
        yield f"auth = {second.auth}"
        yield from self._eap_id((*path, "eap_id"), second.eap_id)
        if second.eap_id is not None and isinstance(second, SecondLocal):
            self._note((*path, "eap_id"), _SAID)
        yield from self._id((*path, "id"), second.id)

    def _method(self, path: Path, auth: str) -> str:
        if auth == "null":
            raise ScenarioError([self._problem(path, "strongSwan knows no NULL authentication")])
        return f"auth = {auth}"

    def certificates(self) -> dict[str, str]:
        """Certificates and keys by their names below the node's folder, as swanctl(8) looks for them."""
        files: dict[str, str] = {}
        crls: dict[str, None] = {}
        for name, connection in self._connections.items():
            local, remote = connection.local, connection.remote
            if local.key is not None:
                files |= own_files(name, local.certs, local.key)
            for kind, folder in (("cacerts", "x509ca"), ("certs", "x509"), ("pubkeys", "pubkey")):
                texts = getattr(remote, kind)
                files |= {f"{folder}/{_peer_file(name, n)}": text for n, text in enumerate(texts)}
            crls |= dict.fromkeys(remote.crls)
        return files | {f"x509crl/crl-{n}.pem": text for n, text in enumerate(crls)}

    def _eap_id(self, path: Path, identity: str | None) -> Lines:
        return (f"eap_{line}" for line in self._id(path, identity))

    def _id(self, path: Path, identity: str | None) -> Lines:
        if identity is None:
            return
        try:
            yield f"id = {_quoted(their_text(identity))}"
        except ValueError as error:
            raise ScenarioError([self._problem(path, str(error))]) from None

    def _tell_sizes(self, path: Path, child: ConnectionChild) -> None:
        """What strongSwan leaves to the kernel, and Linux does otherwise."""
        for key, text in _LINUX_SIZES.items():
            if getattr(child, key) != ConnectionChild.model_fields[key].default:
                self._note((*path, key), text)

    def _times(self, path: Path, settings: Connection | ConnectionChild, names: tuple[str, ...]) -> Lines:
        for key in names:
            duration = getattr(settings, key)
            if duration is not None:
                yield f"{key} = {self._seconds((*path, key), duration)}"

    def _child(self, name: str, label: str, child: ConnectionChild) -> Lines:
        yield f"mode = {child.mode}"
        yield f"local_ts = {self._selectors((name, 'children', label, 'local_ts'), child.local_ts)}"
        yield f"remote_ts = {self._selectors((name, 'children', label, 'remote_ts'), child.remote_ts)}"
        if child.priority:
            yield f"priority = {child.priority}"
        if child.non_first_fragments_also:
            text = "strongSwan does not agree on later fragments (RFC 4301 7.3)"
            self._note((name, "children", label, "non_first_fragments_also"), text)
        if child.populate_from_packet:
            text = "strongSwan takes no selectors from packets: its SA is for all that they are for"
            self._note((name, "children", label, "populate_from_packet"), text)
        if child.is_shunt:
            yield f"start_action = {child.start_action}"
            return
        for key in ("esp_proposals", "ah_proposals"):
            if proposals := getattr(child, key):
                yield f"{key} = {_LIST.join(map(their_proposal, proposals))}"
        if any("iiv" in text.lower() for text in child.esp_proposals):
            self._note(
                (name, "children", label, "esp_proposals"), "strongSwan has no implicit IVs (RFC 8750)"
            )
        yield f"replay_window = {child.replay_window}"
        yield f"copy_df = {_yes(child.copy_df)}"
        yield f"ipcomp = {_yes(child.ipcomp)}"
        if child.per_cpu_sas != "no":  # strongSwan before 6.0 does not know it
            yield f"per_cpu_sas = {child.per_cpu_sas}"
        yield from self._outer((name, "children", label), child)
        if not child.icmp:
            yield "icmp = no"
        self._tell_sizes((name, "children", label), child)
        yield f"start_action = {child.start_action}"
        yield f"close_action = {child.close_action}"
        yield f"dpd_action = {child.dpd_action}"
        yield from self._times((name, "children", label), child, ("rekey_time", "life_time", "rand_time"))
        for unit in ("bytes", "packets"):
            for limit in ("rekey", "life", "rand"):
                number = getattr(child, f"{limit}_{unit}")
                if number:
                    yield f"{limit}_{unit} = {number}"

    def _outer(self, path: Path, child: ConnectionChild) -> Lines:
        """The fields of outer headers; the defaults are the same and stay away."""
        if child.tfc_padding:
            yield f"tfc_padding = {'mtu' if child.tfc_padding == TO_MTU else child.tfc_padding}"
        if child.copy_dscp != "out":
            yield f"copy_dscp = {child.copy_dscp}"
        if not child.copy_ecn:
            yield "copy_ecn = no"
        default = ConnectionChild()
        for key in ("dscp_map", "outer_dscp", "outer_ttl", "flow_label"):
            if getattr(child, key) != getattr(default, key):
                self._note((*path, key), "strongSwan has no such setting: its SA does without")
        if child.shared_nat not in (default.shared_nat, "newest"):
            self._note((*path, "shared_nat"), "strongSwan lets the newest of two clients behind one NAT win")

    def _selectors(self, path: Path, selectors: tuple[Selector, ...]) -> str:
        """strongSwan takes numbers below 256 for types of ICMP, so it has no words for some codes."""
        for selector in selectors:
            low, high = selector.ports
            odd = 0 < low < 256 or 0 < high < 256
            if selector.protocol in ICMP and odd:
                raise ScenarioError([self._problem(path, f"strongSwan has no words for {selector}")])
        return _LIST.join(_TYPE_AND_CODE.sub(_number, text) for text in format_selectors(selectors))

    def _secrets(self) -> Lines:
        """Each secret belongs to the peer, and to us too where only that tells two secrets apart."""
        yield from self._passwords()
        written = []
        for name, connection in self._connections.items():
            if connection.psk is None:
                continue
            owners = self._owners(connection)
            written.append(SharedSecret(name, connection.psk, _identities(owners), Place(self._node, 1)))
            ids = [f"id-{n} = {_quoted(owner)}" for n, owner in enumerate(owners, 1)]
            yield from _section(f"ike-{name}", iter([*ids, f"secret = {_secret(connection.psk)}"]))
        self._check(written)
        yield from self._ppks()

    def _ppks(self) -> Lines:
        """strongSwan finds a PPK by its name alone."""
        written: dict[str, bytes] = {}
        for name, connection in self._connections.items():
            if connection.ppk is None or connection.ppk_id is None:
                continue
            if written.setdefault(connection.ppk_id, connection.ppk) != connection.ppk:
                text = f"another connection has another PPK with the name {connection.ppk_id}"
                raise ScenarioError([self._problem((name, "ppk_id"), text)])
            lines = [f"id = {_quoted(their_text(connection.ppk_id))}", f"secret = {_secret(connection.ppk)}"]
            yield from _section(f"ppk-{name}", iter(lines))

    def _passwords(self) -> Lines:
        """By the user's name, for all connections: strongSwan looks for no more."""
        users: dict[str, bytes] = {}
        for name, connection in self._connections.items():
            for user, secret in connection.eap_secrets.items():
                if users.setdefault(user, secret) != secret:
                    text = f"strongSwan has one password for {user}, and another connection has another one"
                    raise ScenarioError([self._problem((name, "eap_secrets"), text)])
        for number, (user, secret) in enumerate(users.items(), 1):
            lines = [f"id = {_quoted(their_text(user))}", f"secret = {_secret(secret)}"]
            yield from _section(f"eap-{number}", iter(lines))

    def _owners(self, connection: Connection) -> list[str]:
        peer, me = connection.remote_id, connection.local_id
        rivals = [c for c in self._connections.values() if c.remote_id == peer and c.psk != connection.psk]
        own = [their_text(me)] if me and (peer is None or rivals) else []
        return [*own, *([their_text(peer)] if peer else [])]

    def _check(self, written: list[SharedSecret]) -> None:
        """What strongSwan would take must be what each connection has."""
        named = {peer for c in self._connections.values() if (peer := _identity(c.remote_id))}
        for name, connection in self._connections.items():
            if connection.psk is None:
                continue
            me = _identity(connection.local_id)
            if me is None and len(connection.local_addrs) == 1:
                me = Identity.parse(connection.local_addrs[0])
            try:
                taken = choose(written, me, _identity(connection.remote_id), named)
            except AmbiguousError:
                taken = None
            if taken is None or taken.value != connection.psk:
                text = "strongSwan could not tell whose secret this is: the connections need other identities"
                raise ScenarioError([self._problem((name, "psk"), text)])

    def _seconds(self, path: Path, duration: int) -> str:
        seconds = -(-duration // NS_PER_S)
        if duration % NS_PER_S:
            path = path if len(path) > 1 else (next(iter(self._connections)), *path)
            self._note(path, f"strongSwan counts whole seconds: {seconds} s are written")
        return f"{seconds}s"

    def _note(self, path: Path, text: str) -> None:
        self.notes.append(self._problem(path, text))

    def _problem(self, path: Path, text: str) -> Problem:
        return self._scenario.problem(("connections", self._node, *path), text)


def _pool(pool: Pool) -> Lines:
    yield f"addrs = {pool.addrs}"
    told = {"dns": pool.dns, "nbns": pool.nbns, "dhcp": pool.dhcp, "subnet": pool.subnet}
    if pool.netmask is not None:
        told["netmask"] = (pool.netmask,)
    yield from (f"{key} = {_LIST.join(values)}" for key, values in told.items() if values)


def _section(name: str, lines: Lines) -> Lines:
    """`include {` would ask for a file."""
    yield f"{name}{{" if name == "include" else f"{name} {{"
    yield from _indented(lines)
    yield "}"


def _indented(lines: Lines) -> Lines:
    return (f"    {line}" for line in lines)


def _is_pubkey(auth: str) -> bool:
    return parse_auth(auth)[0] is Method.PUBKEY


def _peer_file(name: str, number: int) -> str:
    return f"{name}-peer-{number}.pem"


def _number(match: re.Match[str]) -> str:
    return str(int(match[1]) << 8 | int(match[2]))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def _secret(value: bytes) -> str:
    """As text if it is one that strongSwan reads as it stands, else in hexadecimal."""
    text = value.decode("utf-8", "replace")
    plain = text.isprintable() and text.encode() == value and text[:2].lower() not in ("0x", "0s")
    return _quoted(text) if plain else "0x" + value.hex()


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _identity(text: str | None) -> Identity | None:
    return None if text is None else Identity.parse(text)


def _identities(owners: list[str]) -> tuple[Identity | None, ...]:
    return tuple(map(read_identity, owners)) or (None,)
