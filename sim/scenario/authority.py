"""`pki` of a scenario: certificates for the connections that authenticate by public key and name none.

    CN=root [<- CN=sub] <- CN=<node>        and CN=stranger, whom nobody trusts, for a lab's `untrusted`

A certificate confirms its node's name, addresses and the identities of its connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sim.ike.constants import IdType
from sim.ike.credentials import Method, parse_auth, uses_tls
from sim.ike.identity import Identity
from sim.scenario.errors import Path, ScenarioError
from sim.scenario.issue import (
    ALTERNATIVES,
    DAY,
    Issued,
    Span,
    check_identity,
    crl,
    intermediate,
    issue,
    new_key,
    pem_crl,
    root,
)
from sim.scenario.schema import Connection, Pki, PkiNode, Scenario
from sim.units import NS_PER_S

Streams = Callable[[str], Callable[[int], bytes]]
"""A source of octets by its name."""

PKI_SEED = 1
"""Peers and exported files have the certificates of a run with this seed."""
_CA_YEARS = 10
_PLAIN_NODE = PkiNode()
_TRUSTED = ("cacerts", "certs", "pubkeys")


def with_pki(scenario: Scenario, streams: Streams) -> Scenario:
    """The scenario with the certificates that its `pki` makes; one without `pki` is returned as it is.

    Tunnels must have been expanded. ScenarioError for an identity that no certificate can confirm.
    """
    if scenario.pki is None:
        return scenario
    _check_identities(scenario)
    authority = _Authority(scenario, scenario.pki, streams)
    plain = scenario.plain()
    for node, connections in plain["connections"].items():
        for connection in connections.values():
            _fill(connection, authority, node)
    return scenario.rewritten(plain, {})


def _check_identities(scenario: Scenario) -> None:
    problems = []
    for path, text in _confirmed(scenario):
        try:
            check_identity(text)
        except ValueError as error:
            problems.append(scenario.problem(path, f"no certificate can confirm {text!r}: {error}"))
    if problems:
        raise ScenarioError(dict.fromkeys(problems))


def _confirmed(scenario: Scenario) -> Iterator[tuple[Path, str]]:
    """The names of all who get a certificate, and where they stand."""
    for node, connections in scenario.connections.items():
        if not any(map(_signs, connections.values())):
            continue
        yield ("nodes", node), f"CN={node}"
        for name, connection in connections.items():
            place: Path = ("connections", node, name)
            if connection.local_id is not None:
                yield (*place, "local_id"), connection.local_id
            if connection.local.eap_id is not None:
                yield (*place, "local", "eap_id"), connection.local.eap_id


def _fill(connection: dict[str, Any], authority: _Authority, node: str) -> None:
    local, remote = connection["local"], connection["remote"]
    tls = uses_tls(local["auth"]) or uses_tls(remote["auth"])
    if (tls or _by_key(local)) and "key" not in local:
        own = authority.of(node)
        local.update(certs=[own.chain_pem], key=own.key_pem)
    if (tls or _by_key(remote)) and not any(remote[key] for key in _TRUSTED):
        remote.update(cacerts=[authority.root.cert_pem], crls=[*remote["crls"], *authority.crls])


def _by_key(side: dict[str, Any]) -> bool:
    return parse_auth(side["auth"])[0] is Method.PUBKEY


class _Authority:
    """Everything is issued at once, so that the list of revoked certificates is complete."""

    def __init__(self, scenario: Scenario, pki: Pki, streams: Streams) -> None:
        self._scenario, self._pki, self._streams = scenario, pki, streams
        self._span = Span(scenario.date - DAY, scenario.date + _CA_YEARS * 365 * DAY)
        self.root = self._root("root")
        self._issuer = self.root
        if pki.intermediate:
            key = self._key("sub", pki.key)
            self._issuer = intermediate(self.root, self._subject("sub"), key, self._span)
        users = [node for node, own in scenario.connections.items() if any(map(_signs, own.values()))]
        self._issued = {node: self._issue(node) for node in users}
        self.crls = self._crls()

    def of(self, node: str) -> Issued:
        return self._issued[node]

    def _crls(self) -> list[str]:
        revoked = [
            issued.cert for node, issued in self._issued.items() if self._node(node).fault == "revoked"
        ]
        return [pem_crl(crl(self._issuer, revoked, self._span))] if revoked else []

    def _issue(self, node: str) -> Issued:
        settings = self._node(node)
        key = self._key(node, settings.key or self._pki.key)
        issuer = self._root("stranger") if settings.fault == "untrusted" else self._issuer
        own = [identity for identity in self._identities(node) if settings.fault != "other name"]
        subjects = [str(identity) for identity in own if identity.type == IdType.DER_ASN1_DN]
        names = [str(identity) for identity in own if identity.type in ALTERNATIVES]
        name = node if settings.fault != "other name" else f"not-{node}"
        subject = subjects[0] if subjects else self._subject(name)
        return issue(issuer, subject, key, self._validity(settings), names=names or [name])

    def _validity(self, settings: PkiNode) -> Span:
        date, seconds = self._scenario.date, settings.lifetime // NS_PER_S
        if settings.fault == "expired":
            return Span(date - 365 * DAY, date - DAY)
        if settings.fault == "not yet valid":
            return Span(date + 365 * DAY, date + 365 * DAY + seconds)
        return Span(date - DAY, date + seconds)

    def _identities(self, node: str) -> Iterator[Identity]:
        own = self._scenario.connections[node].values()
        texts = [text for connection in own for text in (connection.local_id, connection.local.eap_id)]
        texts += [node]
        texts += [
            address.partition("/")[0]
            for addresses in self._scenario.nodes[node].interfaces.values()
            for address in addresses
        ]
        found = (Identity.parse(text) for text in texts if text is not None)
        return (identity for identity in dict.fromkeys(found) if identity is not None)

    def _root(self, name: str) -> Issued:
        return root(self._subject(name), self._key(name, self._pki.key), self._span)

    def _key(self, name: str, kind: str) -> Any:
        return new_key(kind, self._streams(f"pki:{name}"))

    def _subject(self, name: str) -> str:
        return f"O=ipsec-sim, CN={name}"

    def _node(self, node: str) -> PkiNode:
        return self._pki.nodes.get(node, _PLAIN_NODE)


def _signs(connection: Connection) -> bool:
    local, remote = connection.local.auth, connection.remote.auth
    return parse_auth(local)[0] is Method.PUBKEY or uses_tls(local) or uses_tls(remote)
