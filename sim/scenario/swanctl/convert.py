"""From the sections of swanctl.conf(5) to connections, with strongSwan's meaning and defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from typing import Any, TypeVar

from pydantic import ValidationError

from sim.ike.constants import ProtocolId
from sim.ike.credentials import Method, parse_auth, uses_tls
from sim.ike.eap.names import METHODS, PASSWORD_METHODS
from sim.ike.identity import Identity
from sim.ike.proposals import parse_proposal
from sim.ike.status import weak_algorithms
from sim.scenario.errors import Problem, ScenarioError
from sim.scenario.explain import text_of
from sim.scenario.schema_pools import Pool
from sim.scenario.schema_tunnels import Connection, ConnectionChild
from sim.scenario.schema_types import NAME_PATTERN, FrozenDict, format_secret
from sim.scenario.swanctl import keys, values
from sim.scenario.swanctl.certificates import Folders
from sim.scenario.swanctl.daemon import DaemonSettings
from sim.scenario.swanctl.eap import passwords
from sim.scenario.swanctl.identities import our_text, read_identity
from sim.scenario.swanctl.keys import Rule, Use, check_keys, suggest
from sim.scenario.swanctl.proposals import our_proposals
from sim.scenario.swanctl.secrets import AmbiguousError, SharedSecret, choose, parse_shared
from sim.scenario.swanctl.syntax import Tree, View
from sim.units import format_duration, format_size

T = TypeVar("T")
D = TypeVar("D")
_TOP = ("connections", "secrets", "pools", "authorities")
_SECRETS = {
    "eap": "",
    "xauth": "XAuth is of IKEv1",
    "ntlm": "hashes of passwords are not supported: write the password in a section eap<suffix>",
    "ike": "",
    "ppk": "",
    **dict.fromkeys(
        ("private", "rsa", "ecdsa", "bliss", "pkcs8", "pkcs12", "token"),
        "private keys are read from their folders, and must need no password",
    ),
}
_DPD_ACTION = {"none": "clear", "trap": "trap", "start": "restart"}
_AUTH_SECTION = re.compile(r"(local|remote)", re.IGNORECASE)
_CERT_SECTION = re.compile(r"(ca)?cert", re.IGNORECASE)


class Importer:
    """Collects everything that is wrong, and everything that is ignored, before it says so."""

    def __init__(self, tree: Tree, daemon: DaemonSettings, folders: Folders) -> None:
        self._tree = tree
        self._folders = folders
        self._daemon = daemon
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.pools: dict[str, Pool] = {}
        self._known_pools: frozenset[str] = frozenset()
        self._secrets: list[SharedSecret] = []
        self._passwords: list[SharedSecret] = []
        self._ppks: list[SharedSecret] = []

    def connections(self) -> dict[str, Connection]:
        """All connections by name; ScenarioError with everything that stands in the way."""
        self._check_top()
        shared = [secret for view in self._parts("secrets") if (secret := self._secret(view))]
        self._secrets = [secret for secret in shared if secret.name.startswith("ike")]
        self._passwords = [secret for secret in shared if secret.name.startswith("eap")]
        self._ppks = [secret for secret in shared if secret.name.startswith("ppk")]
        for view in self._parts("authorities"):
            self._check(view, keys.AUTHORITY, sections=False)
        pools = {view.path[-1]: self._pool(view) for view in self._parts("pools")}
        self.pools = {name: pool for name, pool in pools.items() if pool is not None}
        self._known_pools = frozenset(pools)
        views = self._parts("connections")
        plain = {view.path[-1]: self._plain(view) for view in views}
        named = {identity for each in plain.values() if (identity := _identity(each["remote_id"]))}
        found = {view.path[-1]: self._finish(view, plain[view.path[-1]], named) for view in views}
        if self.problems:
            raise ScenarioError(dict.fromkeys(self.problems))
        return {name: connection for name, connection in found.items() if connection is not None}

    # Sections besides connections

    def _check_top(self) -> None:
        root = self._tree.root
        used = {name.split(".")[0] for _, name, _ in self._tree.references()}
        for key, setting in root.settings.items():
            self.problems.append(setting.at.problem(key, "a setting outside of all sections has no meaning"))
        for name, section in root.sections.items():
            if name not in (*_TOP, *used):
                self.problems.append(section.at.problem(name, f"unknown section; {suggest(name, _TOP)}"))
        for section, name, at in self._tree.references():
            if self._tree.section(*name.split(".")) is None:
                self.problems.append(at.problem(section.name, f"refers to `{name}`, which is no section"))

    def _parts(self, top: str) -> list[View]:
        whole = self._tree.section(top)
        if whole is None:
            return []
        for key, setting in whole.settings.items():
            self.problems.append(
                setting.at.problem(f"{top}.{key}", "has no meaning here: a section must follow")
            )
        views = (self._tree.section(top, name) for name in whole.sections)
        return [view for view in views if view is not None]

    def _secret(self, view: View) -> SharedSecret | None:
        name = view.path[-1]
        kind = next((kind for kind in _SECRETS if name.startswith(kind)), None)
        if kind is None:
            self._refuse(view, f"unknown kind of secret; {suggest(name, _SECRETS)}")
            return None
        if _SECRETS[kind]:
            self.warnings.append(view.at.problem(view.key, f"ignored: {_SECRETS[kind]}"))
            return None
        ids = [key for key in view.settings if key.startswith("id")]
        self._check(view, dict.fromkeys(("secret", *ids), Rule(Use.USED)), sections=False)
        if "secret" not in view.settings:
            self._refuse(view, "has no `secret`")
            return None
        value = self._value(view, "secret", parse_shared, b"")
        owners = tuple(self._value(view, key, read_identity, None) for key in ids) or (None,)
        return SharedSecret(name, value, owners, view.settings["secret"].at)

    def _pool(self, view: View) -> Pool | None:
        self._check(view, keys.POOL, sections=False)
        if "addrs" not in view.settings:
            self._refuse(view, "has no `addrs`")
            return None
        servers = {
            key: self._value(view, key, values.parse_servers, ())
            for key in ("dns", "nbns", "dhcp", "netmask")
        }
        plain = {
            **servers,
            "addrs": self._value(view, "addrs", str, ""),
            "netmask": next(iter(servers["netmask"]), None),
            "subnet": tuple(self._value(view, "subnet", values.parse_list, [])),
        }
        return self._model(Pool, view, plain)

    def _pool_names(self, view: View) -> tuple[str, ...]:
        names = tuple(self._value(view, "pools", values.parse_list, []))
        for name in names:
            if name not in self._known_pools:
                text = f"there is no pool `{name}`; {suggest(name, self._known_pools)}"
                self.problems.append(view.settings["pools"].at.problem(f"{view.key}.pools", text))
        return names

    # Connections

    def _plain(self, view: View) -> dict[str, Any]:
        """The settings of a connection; its secret is found when all identities are known."""
        self._check(view, keys.CONNECTION, sections=None)
        children: list[View] = []
        sides: dict[str, list[View]] = {"local": [], "remote": []}
        for name in view.sections:
            part = self._tree.section(*view.path, name)
            assert part is not None
            side = _AUTH_SECTION.match(name)
            if side is not None:
                sides[side[1].lower()].append(part)
            elif name.lower() == "children":
                children += [
                    child for each in part.sections if (child := self._tree.section(*part.path, each))
                ]
                self._check(part, {}, sections=None)
            else:
                self._refuse(part, f"unknown section; {suggest(name, ('local', 'remote', 'children'))}")
        if not children:
            self._refuse(view, "has no children, so nothing would be protected")
        return {
            "local_addrs": self._value(view, "local_addrs", values.parse_addresses, ()),
            "remote_addrs": self._value(view, "remote_addrs", values.parse_addresses, ()),
            "vips": self._value(view, "vips", values.parse_vips, ()),
            "pools": self._pool_names(view),
            "remote_port": self._value(view, "remote_port", values.parse_number, 500),
            **self._sides(view, sides, needed=not all(map(_is_shunt, children))),
            "proposals": self._proposals(view, "proposals", ProtocolId.IKE),
            "mobike": self._value(view, "mobike", values.parse_bool, True),
            "encap": self._value(view, "encap", values.parse_bool, False),
            "fragmentation": self._value(view, "fragmentation", values.parse_fragmentation, "yes"),
            "fragment_size": format_size(self._daemon.fragment_size(view.path[-1])),
            "dpd_delay": format_duration(self._value(view, "dpd_delay", values.parse_time, 0)),
            "unique": self._value(view, "unique", values.one_of("no", "never", "keep", "replace"), "no"),
            "childless": self._value(
                view, "childless", values.one_of("allow", "prefer", "force", "never"), "allow"
            ),
            "keyingtries": self._value(view, "keyingtries", values.parse_tries, 1),
            "window": self._daemon.window(view.path[-1]),
            "dscp": self._value(view, "dscp", values.parse_dscp, 0),
            "make_before_break": self._daemon.make_before_break(view.path[-1]),
            **self._ppk(view),
            **self._times(view, ("rekey_time", "over_time", "rand_time", "reauth_time")),
            "keep_alive": format_duration(self._daemon.keep_alive(view.path[-1])),
            "retransmit": self._daemon.retransmit(view.path[-1]),
            "follow_redirects": self._daemon.follow_redirects(view.path[-1]),
            "redirect_to": self._daemon.redirect_to(view.path[-1]),
            "redirect_when": self._daemon.redirect_when(view.path[-1]),
            **self._daemon.keepalives(view.path[-1]),
            "resumption": self._daemon.resumption(view.path[-1]),
            "qcd": self._daemon.qcd(view.path[-1]),
            "return_routability": self._daemon.return_routability(view.path[-1]),
            "nat_traversal": self._daemon.nat_traversal(view.path[-1]),
            "children": FrozenDict({child.path[-1]: self._child(child) for child in children}),
        }

    def _sides(self, connection: View, found: dict[str, list[View]], *, needed: bool) -> dict[str, Any]:
        """Who both sides are, and how they prove it."""
        rounds = {
            name: self._rounds(connection, name, views) if views or needed else []
            for name, views in found.items()
        }
        parts = {name: views[0] if views else None for name, views in rounds.items()}
        second = {name: self._second(views) for name, views in rounds.items()}
        ids: dict[str, str | None] = {
            name: self._value(part, "id", our_text, None) if part else None for name, part in parts.items()
        }
        local, remote = parts["local"], parts["remote"]
        return {
            "local_id": ids["local"],
            "remote_id": ids["remote"],
            "local": self._local(connection, local, ids["local"]) | second["local"] if local else {},
            "remote": self._remote(connection, remote) | second["remote"] if remote else {},
        }

    def _rounds(self, connection: View, name: str, found: list[View]) -> list[View]:
        """The sections of one side, one for each round of authentication, in their order."""
        if not found:
            self._refuse(connection, f"has no `{name}` section: write `{name} {{ auth = psk }}`")
        for view in found:
            self._check(view, keys.AUTH, sections=None)
            self._check_parts(view)
        ordered = sorted(found, key=lambda view: self._value(view, "round", values.parse_number, 0))
        for view in ordered[2:]:
            self._refuse(view, "a third round of authentication is not supported")
        return ordered

    def _check_parts(self, view: View) -> None:
        for part in view.sections:
            section = self._tree.section(*view.path, part)
            assert section is not None
            if not _CERT_SECTION.match(part):
                self._refuse(section, "unknown section")
                continue
            self._check(section, keys.CERT, sections=False)

    def _second(self, rounds: list[View]) -> dict[str, Any]:
        """What is proved in the second round, if there is one."""
        if len(rounds) < 2:
            return {}
        view = rounds[1]
        auth = self._value(view, "auth", _auth, "pubkey")
        if auth not in PASSWORD_METHODS:
            text = (
                f"a second round of authentication is by {_list(PASSWORD_METHODS)}, {auth} is not supported"
            )
            self._refuse(view, text)
            return {}
        name = self._value(view, "id", our_text, None)
        return {"second": self._without(view, auth) | self._eap(view, auth) | ({"id": name} if name else {})}

    def _local(self, connection: View, view: View, identity: str | None) -> dict[str, Any]:
        auth = self._value(view, "auth", _auth, "pubkey")
        send_cert = self._value(connection, "send_cert", values.parse_send_cert, "ifasked")
        eap = self._eap(view, auth)
        files = self._files(view, "cert", "certs")
        if not _may_sign(auth) or (auth == "eap" and not files):
            if "send_cert" in connection.settings:
                at, text = connection.settings["send_cert"].at, f"ignored: auth = {auth} sends none"
                self.warnings.append(at.problem(f"{connection.key}.send_cert", text))
            return self._without(view, auth) | eap
        pubkeys = self._value(view, "pubkeys", values.parse_list, [])
        try:
            certs, key = self._folders.own(files, pubkeys, _identity(identity))
        except ValueError as error:
            self._refuse(view, str(error))
            return {}
        if len(files) + len(pubkeys) > 1:
            self._warn(view, "only the first certificate or key is used")
        return {"auth": auth, "certs": certs, "key": key, "send_cert": send_cert} | eap

    def _eap(self, view: View, auth: str) -> dict[str, str]:
        """As whom somebody authenticates by EAP, where that is not who it is in IKE."""
        name = self._value(view, "eap_id", our_text, None)
        if name is not None and auth not in METHODS:
            text = f"ignored: with auth = {auth} nobody needs it"
            self.warnings.append(view.settings["eap_id"].at.problem(f"{view.key}.eap_id", text))
            return {}
        return {} if name is None else {"eap_id": name}

    def _remote(self, connection: View, view: View) -> dict[str, Any]:
        auth = self._value(view, "auth", _auth, "pubkey")
        eap = self._eap(view, auth)
        if not _may_sign(auth):
            return self._without(view, auth) | eap
        cas, certs = self._files(view, "cacert", "cacerts"), self._files(view, "cert", "certs")
        pubkeys = self._value(view, "pubkeys", values.parse_list, [])
        folders = self._folders
        try:
            trusted = {
                "cacerts": folders.texts("x509ca", cas, "CERTIFICATE"),
                "certs": folders.texts("x509", certs, "CERTIFICATE"),
                "pubkeys": folders.texts("pubkey", pubkeys, "PUBLIC KEY"),
            }
            if not any(trusted.values()):
                trusted["cacerts"] = folders.all("x509ca", "CERTIFICATE")
            crls = folders.all("x509crl", "X509 CRL")
        except ValueError as error:
            self._refuse(view, str(error))
            return {}
        if not any(trusted.values()) and auth != "eap":
            self._refuse(view, "nobody is trusted: there is no CA in x509ca/, and no certificate is named")
        return {
            "auth": auth,
            **eap,
            **trusted,
            "crls": crls,
            "revocation": self._value(view, "revocation", values.parse_revocation, "relaxed"),
            "send_certreq": self._value(connection, "send_certreq", values.parse_bool, True),
        }

    def _without(self, view: View, auth: str) -> dict[str, Any]:
        for key in ("certs", "cacerts", "pubkeys", *view.sections):
            if key in (*view.settings, *view.sections):
                text = f"ignored: with auth = {auth} nobody needs it"
                self.warnings.append(view.at.problem(f"{view.key}.{key}", text))
        return {"auth": auth}

    def _files(self, view: View, section: str, key: str) -> list[str]:
        """Names in a list, and in sections that name one each."""
        names = list(self._value(view, key, values.parse_list, []))
        for part in view.sections:
            if re.fullmatch(rf"{section}(?!.*cert).*", part, re.IGNORECASE):
                inner = self._tree.section(*view.path, part)
                setting = inner.settings.get("file") if inner else None
                names += [setting.value] if setting is not None and setting.value else []
        return names

    def _shunt(self, view: View, mode: str) -> ConnectionChild | None:
        """A policy that makes no SA, so that most settings mean nothing in it."""
        plain = {
            "mode": mode,
            "local_ts": self._value(view, "local_ts", values.parse_selectors, ()),
            "remote_ts": self._value(view, "remote_ts", values.parse_selectors, ()),
            "priority": self._value(view, "priority", values.parse_number, 0),
            "start_action": self._value(view, "start_action", values.parse_action, "none"),
        }
        for key in view.settings:
            if key not in plain:
                at, text = view.settings[key].at, f"ignored: mode = {mode} makes no SA"
                self.warnings.append(at.problem(f"{view.key}.{key}", text))
        return self._model(ConnectionChild, view, plain)

    def _child(self, view: View) -> ConnectionChild | None:
        self._check(view, keys.CHILD, sections=False)
        mode = self._value(view, "mode", values.parse_mode, "tunnel")
        if mode in ("pass", "drop"):
            return self._shunt(view, mode)
        plain = {
            "mode": mode,
            "local_ts": self._value(view, "local_ts", values.parse_selectors, ()),
            "remote_ts": self._value(view, "remote_ts", values.parse_selectors, ()),
            **self._child_proposals(view),
            "replay_window": self._value(view, "replay_window", values.parse_number, 32),
            "copy_df": self._value(view, "copy_df", values.parse_bool, True),
            "ipcomp": self._value(view, "ipcomp", values.parse_bool, False),
            "per_cpu_sas": self._value(view, "per_cpu_sas", values.parse_per_cpu_sas, "no"),
            "tfc_padding": self._value(view, "tfc_padding", values.parse_tfc_padding, "0 B"),
            **self._outer(view, mode),
            **({"iptfs": self._daemon.iptfs_of(view.path[-3], view.path[-1])} if mode == "iptfs" else {}),
            "icmp": self._value(view, "icmp", values.parse_bool, True),
            "close_action": self._value(view, "close_action", values.parse_action, "none"),
            "dpd_action": _DPD_ACTION[self._value(view, "dpd_action", values.parse_action, "none")],
            **self._times(view, ("rekey_time", "life_time", "rand_time")),
            **self._volumes(view),
            "start_action": self._value(view, "start_action", values.parse_action, "none"),
            "priority": self._value(view, "priority", values.parse_number, 0),
        }
        return self._model(ConnectionChild, view, plain)

    def _outer(self, view: View, mode: str) -> dict[str, object]:
        """What means something in tunnel mode only; strongSwan reads it all the same."""
        found = {
            "copy_dscp": self._value(view, "copy_dscp", values.one_of("out", "in", "yes", "no"), "out"),
            "copy_ecn": self._value(view, "copy_ecn", values.parse_bool, True),
        }
        return found if mode == "tunnel" else {}

    def _child_proposals(self, view: View) -> dict[str, tuple[str, ...]]:
        """Those for ESP are the default, but not beside some for AH."""
        found = {}
        if view.settings.get("ah_proposals") is not None:
            found["ah_proposals"] = self._proposals(view, "ah_proposals", ProtocolId.AH)
        if not found or view.settings.get("esp_proposals") is not None:
            found["esp_proposals"] = self._proposals(view, "esp_proposals", ProtocolId.ESP)
        return found

    def _finish(self, view: View, settings: dict[str, Any], named: Set[Identity]) -> Connection | None:
        children = settings["children"].values()
        if None not in children and all(child.is_shunt for child in children):
            own = {"children": settings["children"], "remote_addrs": settings["remote_addrs"]}
            return self._model(Connection, view, own)
        shared = "psk" in (settings["local"].get("auth"), settings["remote"].get("auth"))
        psk = self._psk(view, settings, named) if shared else None
        if (shared and psk is None) or None in settings["children"].values():
            return None
        if not settings["local"] or not settings["remote"]:
            return None
        for child, model in settings["children"].items():
            if model.start_action != "none" and not model.is_shunt and not settings["remote_addrs"]:
                part = self._tree.section(*view.path, "children", child) or view
                self._refuse(
                    part, "start_action: the connection has no `remote_addrs`, so there is nobody to call"
                )
        try:
            settings = settings | {"eap_secrets": passwords(self._passwords, settings)}
        except ValueError as error:
            self._refuse(view, str(error))
            return None
        return self._model(
            Connection, view, settings if psk is None else settings | {"psk": format_secret(psk)}
        )

    def _psk(self, view: View, settings: dict[str, Any], named: Set[Identity]) -> bytes | None:
        me, peer = _identity(settings["local_id"]), _identity(settings["remote_id"])
        if me is None and len(settings["local_addrs"]) == 1:
            me = Identity.parse(settings["local_addrs"][0])
        try:
            secret = choose(self._secrets, me, peer, named)
        except AmbiguousError as error:
            self._refuse(view, str(error))
            return None
        if secret is None:
            self._refuse(
                view, f"no secret in `secrets` is for {settings['local_id'] or 'its address'} and its peer"
            )
            return None
        if peer is None and me is not None and not {me, None} & set(secret.owners):
            text = f"{view.path[-1]} lets in whoever knows this secret, whatever the peer calls itself"
            self.warnings.append(secret.at.problem(f"secrets.{secret.name}", text))
        return secret.value

    def _ppk(self, view: View) -> dict[str, Any]:
        """The connection's PPK. Where nobody names one, responders take the only one that there is."""
        required = self._value(view, "ppk_required", values.parse_bool, False)
        name = self._value(view, "ppk_id", our_text, None)
        named = [secret for secret in self._ppks if _is_for(secret, _identity(name))]
        nameless = not any("ppk_id" in other.settings for other in self._parts("connections"))
        if nameless and "remote_addrs" not in view.settings and len(self._ppks) == 1:
            named = self._ppks
            name = next((str(owner) for owner in named[0].owners if owner), None)
        if name is not None and named:
            return {"ppk": format_secret(named[-1].value), "ppk_id": name, "ppk_required": required}
        if name is not None or required:
            self._refuse(view, f"there is no PPK {name or ''} in `secrets`".replace("  ", " "))
        return {}

    # Helpers

    def _times(self, view: View, names: tuple[str, ...]) -> dict[str, str]:
        """Those of the durations that are given; the others keep their defaults, which are the same."""
        found = {name: self._value(view, name, values.parse_time, None) for name in names}
        return {name: format_duration(time) for name, time in found.items() if time is not None}

    def _volumes(self, view: View) -> dict[str, Any]:
        """The limits in octets and packets that are given."""
        found: dict[str, Any] = {}
        for name in ("rekey", "life", "rand"):
            octets = self._value(view, f"{name}_bytes", values.parse_octets, None)
            packets = self._value(view, f"{name}_packets", values.parse_number, None)
            found |= {f"{name}_bytes": None if octets is None else format_size(octets)}
            found |= {f"{name}_packets": packets}
        return {key: value for key, value in found.items() if value is not None}

    def _proposals(self, view: View, key: str, protocol: ProtocolId) -> tuple[str, ...]:
        found: list[str] = []
        missing: list[str] = []

        def read(text: str) -> tuple[str, ...]:
            for item in values.parse_list(text):
                proposals, told = our_proposals(item, protocol)
                found.extend(proposals)
                missing.extend(() if proposals else told)
                at = view.settings[key].at
                weak = [s for p in proposals for s in weak_algorithms(parse_proposal(p, protocol))]
                self.warnings += [at.problem(f"{view.key}.{key}", sentence) for sentence in told + weak]
            if values.parse_list(text) and not found:
                raise ValueError(f"nothing is supported yet: {'; '.join(missing)}")
            return tuple(found)

        given = self._value(view, key, read, ())
        return given or our_proposals("default", protocol)[0]

    def _value(self, view: View, key: str, parse: Callable[[str], T], default: D) -> T | D:
        setting = view.settings.get(key)
        if setting is None or setting.value is None:
            return default
        try:
            return parse(setting.value)
        except ValueError as error:
            self.problems.append(setting.at.problem(f"{view.key}.{key}", str(error)))
            return default

    def _check(self, view: View, rules: dict[str, Rule], *, sections: bool | None) -> None:
        for use, problem in check_keys(view, rules):
            (self.problems if use is Use.REFUSED else self.warnings).append(problem)
        if sections is False:
            for name in view.sections:
                part = self._tree.section(*view.path, name)
                self._refuse(part or view, "unknown section")

    def _model(self, model: type[T], view: View, plain: dict[str, Any]) -> T | None:
        """The model of these values; what it does not like stands where its key stands."""
        if re.fullmatch(NAME_PATTERN, view.path[-1]) is None:
            self._refuse(view, f"{view.path[-1]!r} is no name here: use letters, digits, _ and -")
        try:
            return model(**plain)
        except ValidationError as error:
            for details in error.errors():
                key = str(details["loc"][0]) if details["loc"] else ""
                at = view.settings[key].at if key in view.settings else view.at
                self.problems.append(at.problem(f"{view.key}.{key}", text_of(details)))
            return None

    def _warn(self, view: View, text: str) -> None:
        self.warnings.append(view.at.problem(view.key, text))

    def _refuse(self, view: View, text: str) -> None:
        self.problems.append(view.at.problem(view.key, text))


def _is_shunt(child: View) -> bool:
    mode = child.settings.get("mode")
    return mode is not None and (mode.value or "").lower() in ("pass", "drop")


def _list(methods: Set[str]) -> str:
    return " or ".join(sorted(methods))


def _auth(text: str) -> str:
    """Words of strongSwan are those of ours, but some methods are not supported."""
    word = text.lower()
    if word.startswith(("xauth", "any")):
        raise ValueError(f"{text!r} is not supported: write psk, pubkey, a kind of key, or an EAP method")
    parse_auth(word)
    return word


def _is_for(secret: SharedSecret, name: Identity | None) -> bool:
    return name is not None and any(owner is None or owner == name for owner in secret.owners)


def _may_sign(auth: str) -> bool:
    return parse_auth(auth)[0] is Method.PUBKEY or uses_tls(auth)


def _identity(text: str | None) -> Identity | None:
    return None if text is None else Identity.parse(text)
