"""A small certification authority for tests; keys come from numbers, so that they are always the same."""

from __future__ import annotations

import random
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sim.crypto.certificate import Certificate
from sim.scenario.issue import DAY, Issued, Key, Span, intermediate, issue, new_key, root

NOW = 1_767_225_600
"""2026-01-01, in seconds since 1970."""
ALWAYS = Span(NOW - 365 * DAY, NOW + 365 * DAY)

Extensions = Iterable[tuple[x509.ExtensionType, bool]]


def key(seed: str, kind: str = "ecdsa-p256") -> Key:
    return new_key(kind, random.Random(seed).randbytes)


def make_root(
    name: str = "CN=root", *, kind: str = "ecdsa-p256", span: Span = ALWAYS, **more: Extensions
) -> Issued:
    return root(name, key(name, kind), span, **more)


def make_ca(
    above: Issued,
    name: str = "CN=sub",
    *,
    span: Span = ALWAYS,
    path_length: int | None = None,
    extensions: Extensions = (),
) -> Issued:
    return intermediate(above, name, key(name), span, path_length=path_length, extensions=extensions)


def make_leaf(
    above: Issued,
    name: str = "CN=moon",
    *,
    names: Iterable[str] = ("moon.example.org",),
    kind: str = "ecdsa-p256",
    span: Span = ALWAYS,
    extensions: Extensions | None = None,
) -> Issued:
    return issue(above, name, key(name, kind), span, names=names, extensions=extensions)


def read(issued: Issued) -> Certificate:
    return Certificate(issued.cert.public_bytes(Encoding.DER))


def chain(issued: Issued) -> tuple[Certificate, ...]:
    """The CAs that are sent along."""
    return tuple(Certificate(cert.public_bytes(Encoding.DER)) for cert in issued.chain)
