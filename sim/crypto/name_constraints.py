"""The names that a CA may issue certificates for (RFC 5280 4.2.1.10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from sim.crypto.certificate import Certificate
from sim.wire.buffer import WireError
from sim.wire.dn import attributes, dn_text


def forbidden_name(constraints: x509.NameConstraints, cert: Certificate) -> str | None:
    """The first of the certificate's names that the constraints forbid; None if they allow all.

    A constraint on a kind of name that is not understood forbids every name of that kind.
    """
    permitted, excluded = constraints.permitted_subtrees or (), constraints.excluded_subtrees or ()
    for name in _names(cert):
        kind = type(name)
        allowed = [tree for tree in permitted if type(tree) is kind]
        denied = [tree for tree in excluded if type(tree) is kind]
        within = _WITHIN.get(kind, _never)
        unknown = kind not in _WITHIN and bool(allowed or denied)
        outside = bool(allowed) and not any(within(name.value, tree.value) for tree in allowed)
        if unknown or outside or any(within(name.value, tree.value) for tree in denied):
            return _text(name)
    return None


def _names(cert: Certificate) -> Iterator[x509.GeneralName]:
    """The subject, if it is not empty, mail addresses in it, and all alternative names."""
    subject = cert.x509.subject
    if list(subject):
        yield x509.DirectoryName(subject)
    for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        yield x509.RFC822Name(str(attribute.value))
    alternatives = cert.extension(x509.SubjectAlternativeName)
    yield from alternatives if alternatives is not None else ()


def _dns(name: str, tree: str) -> bool:
    name, tree = name.lower().rstrip("."), tree.lower()
    return not tree or name == tree or name.endswith("." + tree.removeprefix("."))


def _mail(name: str, tree: str) -> bool:
    if "@" in tree:
        (user, _, host), (own_user, _, own_host) = tree.rpartition("@"), name.rpartition("@")
        return user == own_user and host.lower() == own_host.lower()
    return _host(name.rpartition("@")[2], tree)


def _uri(name: str, tree: str) -> bool:
    return _host(urlsplit(name).hostname or "", tree)


def _host(host: str, tree: str) -> bool:
    """A host, or with a leading period everything below it."""
    host, tree = host.lower(), tree.lower()
    return host.endswith(tree) and host != tree if tree.startswith(".") else host == tree


def _address(name: Any, tree: IPv4Network | IPv6Network) -> bool:
    return name in tree


def _directory(name: x509.Name, tree: x509.Name) -> bool:
    try:
        ours, theirs = attributes(name.public_bytes()), attributes(tree.public_bytes())
    except WireError:
        return False
    return ours[: len(theirs)] == theirs


def _never(name: Any, tree: Any) -> bool:
    return False


_WITHIN: dict[type, Callable[[Any, Any], bool]] = {
    x509.DNSName: _dns,
    x509.RFC822Name: _mail,
    x509.UniformResourceIdentifier: _uri,
    x509.IPAddress: _address,
    x509.DirectoryName: _directory,
}


def _text(name: x509.GeneralName) -> str:
    value = name.value
    return dn_text(value.public_bytes()) if isinstance(value, x509.Name) else str(value)
